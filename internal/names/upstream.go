package names

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Dialer opens sockets towards upstream servers. A net.Dialer is one, and the
// default: it opens them in the daemon's own namespace. For "udp" each call
// must give a socket with a fresh random port, connected, so that only
// datagrams of that address come in.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// demotion is how long a server that failed or was outrun is asked after the
// others.
const demotion = 10 * time.Second

// upstream is one server.
type upstream struct {
	addr string // with the port
	// dialer reaches it; nil: as all others.
	dialer Dialer
	// reserve: not raced, only asked when those before it have failed.
	reserve bool
	demoted moment // until when
	dumb    moment // until when its silence is foreseen
}

// moment is a point in time that many may set and ask for: by the monotonic
// clock, so that nobody who sets the host's clock moves it. At first it is past.
type moment struct{ at atomic.Pointer[time.Time] }

func (m *moment) set(t time.Time)          { m.at.Store(&t) }
func (m *moment) ahead(now time.Time) bool { t := m.at.Load(); return t != nil && now.Before(*t) }
func (m *moment) unset() (was bool)        { return m.at.Swap(nil) != nil }

func (u *upstream) demote(now time.Time) { u.demoted.set(now.Add(demotion)) }
func (u *upstream) promote() {
	if u.demoted.unset() {
		u.dumb.unset()
	}
}

// upstreams is a list of servers that give one view of the world. Sandboxes
// with the same list share it, and with it the cache's entries.
type upstreams struct {
	id   uint64 // in the keys of the cache
	key  string
	list []*upstream
	refs int // guarded by Names.mu
	// fickle: what they say now they may not say a moment later.
	fickle bool
}

// order returns the servers as they are to be asked now: as configured, but
// those that lately failed or were slow last.
func (s *upstreams) order(now time.Time) []*upstream {
	list := slices.Clone(s.list)
	slices.SortStableFunc(list, func(a, b *upstream) int {
		return rank(a, now) - rank(b, now)
	})
	return list
}

func rank(u *upstream, now time.Time) int {
	if u.demoted.ahead(now) {
		return 1
	}
	return 0
}

// silence notes that u was waited for in vain.
func (u *upstream) silence(now time.Time) { u.dumb.set(now.Add(demotion)) }

// silent reports whether u was waited for in vain of late.
func (u *upstream) silent(now time.Time) bool { return u.dumb.ahead(now) }

// appendKey makes the key of a question to these servers: what the answer may
// depend on, and nothing else.
func (s *upstreams) appendKey(b []byte, q *query) []byte {
	flags := q.flags[0]&flagRD | q.flags[1]&(flagAD|flagCD)
	if q.do {
		flags |= 0x80
	}
	b = binary.BigEndian.AppendUint64(b, s.id)
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	return append(append(b, flags), q.name()...)
}

// servers names the upstreams of a set, in order.
func servers(addrs, reserve []netip.Addr) []*upstream {
	var list []*upstream
	for _, a := range slices.Concat(addrs, reserve) {
		at := netip.AddrPortFrom(a.Unmap(), 53).String()
		if !slices.ContainsFunc(list, func(u *upstream) bool { return u.addr == at }) {
			list = append(list, &upstream{addr: at, reserve: len(list) >= len(addrs)})
		}
	}
	return list
}

// acquire returns the shared set of these servers. n.mu is held.
func (n *Names) acquire(list []*upstream) *upstreams {
	var b strings.Builder
	for _, u := range list {
		b.WriteString(u.addr)
		if u.reserve {
			b.WriteByte('?')
		}
		b.WriteByte(' ')
	}
	s := n.sets[b.String()]
	if s == nil {
		n.lastSet++
		s = &upstreams{id: n.lastSet, key: b.String(), list: list}
		n.sets[s.key] = s
	}
	s.refs++
	return s
}

// acquireBehind returns the set of who else answers in a sandbox. n.mu is held.
func (n *Names) acquireBehind(id string, d Dialer) *upstreams {
	s := n.acquire([]*upstream{{addr: "beside us in " + id, dialer: d}})
	if !s.fickle { // it is new, and nobody else has it
		s.fickle = true
	}
	return s
}

// release gives a set back. n.mu is held.
func (n *Names) release(s *upstreams) {
	if s == nil {
		return
	}
	if s.refs--; s.refs == 0 {
		delete(n.sets, s.key)
	}
}
