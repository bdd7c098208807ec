package names

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/catenet/catenet"
)

// Record is one endpoint as others of its network find it.
type Record struct {
	EndpointID string
	NetworkID  string
	Name       string   // of the container; what PTR answers, with the network's behind
	Aliases    []string // more names, shared with other endpoints or not
	IDs        []string // short ID of the sandbox
	IPv4, IPv6 netip.Addr
}

// host is one endpoint in a table. It is never changed.
type host struct {
	v4, v6 netip.Addr
	ptr    string   // its first name, as in query.name
	keys   []string // all of its names, as in query.name
}

// table holds the names of one network. A change takes the lock for as long
// as that change's own names need; the lists in it are replaced, never
// written, so that a reader may go on with what it has found.
type table struct {
	mu    sync.RWMutex
	names map[string][]*host
	addrs map[netip.Addr]*host
}

func newTable() *table {
	return &table{names: map[string][]*host{}, addrs: map[netip.Addr]*host{}}
}

// get returns the endpoints that go by a name.
func (t *table) get(name []byte) []*host {
	t.mu.RLock()
	hosts := t.names[string(name)]
	t.mu.RUnlock()
	return hosts
}

// byAddr returns the endpoint that has an address, or nil.
func (t *table) byAddr(a netip.Addr) *host {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.addrs[a]
}

// swap takes one endpoint out and puts another in, in one step; either may
// be nil.
func (t *table) swap(old, new *host) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old != nil {
		for _, k := range old.keys {
			rest := slices.DeleteFunc(slices.Clone(t.names[k]), func(h *host) bool { return h == old })
			if len(rest) == 0 {
				delete(t.names, k)
			} else {
				t.names[k] = rest
			}
		}
		for _, a := range []netip.Addr{old.v4, old.v6} {
			if t.addrs[a] == old {
				delete(t.addrs, a)
			}
		}
	}
	if new != nil {
		for _, k := range new.keys {
			t.names[k] = append(slices.Clip(t.names[k]), new)
		}
		for _, a := range []netip.Addr{new.v4, new.v6} {
			if a.IsValid() {
				t.addrs[a] = new
			}
		}
	}
}

// newHost translates a record. The names that are no domain name (one with
// two dots in a row) come back in bad: nobody could ask for them.
func newHost(r Record) (h *host, bad []string) {
	h = &host{v4: r.IPv4.Unmap(), v6: r.IPv6}
	have := make(map[string]bool)
	for _, s := range slices.Concat([]string{r.Name}, r.Aliases, r.IDs) {
		k := encodeName(s)
		switch {
		case k == "" && s != "":
			bad = append(bad, s)
		case k != "" && !have[k]:
			have[k] = true
			h.keys = append(h.keys, k)
		}
	}
	if len(h.keys) > 0 {
		h.ptr = h.keys[0]
	}
	return h, bad
}

// Host is a name with an address, of --add-host or a link.
type Host struct {
	Name string
	Addr netip.Addr // zero, for lookups alone: there is nobody of that name
}

// ExtraHosts reads entries of --add-host. HostGateway stands for each of
// gateways that is valid: the host as the container sees it.
func ExtraHosts(entries []catenet.HostEntry, gateways ...netip.Addr) ([]Host, error) {
	var hosts []Host
	for _, e := range entries {
		if encodeName(e.Name) == "" || !oneWord(e.Name) {
			return nil, catenet.Invalidf("%q cannot be the name of a host", e.Name).
				WithHint("an extra host is written NAME:ADDRESS, like db:192.0.2.7 or host.internal:%s", catenet.HostGateway)
		}
		if e.Addr != catenet.HostGateway {
			a, err := netip.ParseAddr(e.Addr)
			if err != nil {
				return nil, catenet.Invalidf("the extra host %q has the address %q, which is none", e.Name, e.Addr).
					WithHint("an address is like 192.0.2.7 or 2001:db8::7, or the word %s", catenet.HostGateway)
			}
			hosts = append(hosts, Host{e.Name, a.Unmap()})
			continue
		}
		for _, a := range gateways {
			if a.IsValid() {
				hosts = append(hosts, Host{e.Name, a})
			}
		}
	}
	return hosts, nil
}
