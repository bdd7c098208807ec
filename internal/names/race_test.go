package names

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// pipeDialer has servers in memory, so that their times can be virtual.
type pipeDialer map[string]*pipeServer

// pipeServer answers a query after delay; with rcode; never if delay is 0.
type pipeServer struct {
	delay   time.Duration
	rcode   int
	records []string
	refused bool // no such port
	loses   int  // how many queries get lost first
	asked   []time.Duration
	begin   time.Time
	mu      sync.Mutex // of asked
}

func (d pipeDialer) DialContext(_ context.Context, network, addr string) (net.Conn, error) {
	s := d[addr]
	s.mu.Lock()
	s.asked = append(s.asked, time.Since(s.begin))
	lost := len(s.asked) <= s.loses
	s.mu.Unlock()
	if s.refused {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		b := make([]byte, 4096)
		n, err := theirs.Read(b)
		if err != nil {
			return
		}
		if s.delay > 0 && !lost {
			time.Sleep(s.delay)
			var m dns.Msg
			if err := m.Unpack(b[:n]); err != nil {
				panic(err)
			}
			r := replyTo(&m, s.records...)
			r.Rcode = s.rcode
			packed, err := r.Pack()
			if err != nil {
				panic(err)
			}
			theirs.Write(packed) // fails if nobody waits any more
		}
		io.Copy(io.Discard, theirs)
	}()
	return ours, nil
}

// asked returns when each server was asked, as "a:0s,150ms b:1s".
func (d pipeDialer) asked(list string) string {
	var out []string
	for _, name := range strings.Fields(list) {
		s := fmt.Sprint(d[name].asked)
		out = append(out, name+":"+strings.ReplaceAll(strings.Trim(s, "[]"), " ", ","))
	}
	return strings.Join(out, " ")
}

func testSet(list string) *upstreams {
	s := &upstreams{id: 1}
	for _, name := range strings.Fields(list) {
		addr, reserve := strings.CutSuffix(name, "?")
		s.list = append(s.list, &upstream{addr: addr, reserve: reserve})
	}
	return s
}

func testQuery(t testing.TB, name string, qtype uint16) *query {
	t.Helper()
	packed, err := question(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := new(query)
	if q.parse(packed) != standard {
		t.Fatalf("%s is not standard", name)
	}
	return q
}

// TestRaceTimes: to the millisecond, in virtual time.
func TestRaceTimes(t *testing.T) {
	const ms = time.Millisecond
	quick := func() *pipeServer { return &pipeServer{delay: 10 * ms, records: []string{"@ 60 IN A 192.0.2.1"}} }
	slow := func() *pipeServer { return &pipeServer{delay: 400 * ms, records: []string{"@ 60 IN A 192.0.2.2"}} }
	for name, tc := range map[string]struct {
		list    string
		servers map[string]*pipeServer
		took    time.Duration
		rcode   int // -1: no answer
		asked   string
		order   string // afterwards
	}{
		"quick":            {"a b", map[string]*pipeServer{"a": quick(), "b": quick()}, 10 * ms, 0, "a:0s b:", "a b"},
		"slow first":       {"a b", map[string]*pipeServer{"a": slow(), "b": quick()}, 160 * ms, 0, "a:0s b:150ms", "b a"},
		"slow alone":       {"a", map[string]*pipeServer{"a": slow()}, 400 * ms, 0, "a:0s", "a"},
		"slow wins":        {"a b", map[string]*pipeServer{"a": {delay: 200 * ms, records: quick().records}, "b": slow()}, 200 * ms, 0, "a:0s b:150ms", "a b"},
		"refused first":    {"a b", map[string]*pipeServer{"a": {refused: true}, "b": quick()}, 10 * ms, 0, "a:0s b:0s", "b a"},
		"servfail first":   {"a b", map[string]*pipeServer{"a": {delay: 20 * ms, rcode: 2}, "b": quick()}, 30 * ms, 0, "a:0s b:20ms", "a b"},
		"servfail all":     {"a b", map[string]*pipeServer{"a": {delay: 20 * ms, rcode: 2}, "b": {delay: 20 * ms, rcode: 5}}, 40 * ms, 5, "a:0s b:20ms", "a b"},
		"lost datagram":    {"a", map[string]*pipeServer{"a": {delay: 10 * ms, loses: 1, records: quick().records}}, 1010 * ms, 0, "a:0s,1s", "a"},
		"all silent":       {"a b", map[string]*pipeServer{"a": {}, "b": {}}, patience, -1, "a:0s,1.15s,2.3s b:150ms,1.3s,2.45s", "a b"},
		"all dead":         {"a b", map[string]*pipeServer{"a": {refused: true}, "b": {refused: true}}, 0, -1, "a:0s b:0s", "a b"},
		"no, at once":      {"a b", map[string]*pipeServer{"a": {delay: 10 * ms, rcode: 3}, "b": quick()}, 10 * ms, 3, "a:0s b:", "a b"},
		"no, slowly":       {"a b", map[string]*pipeServer{"a": {delay: 300 * ms, rcode: 3}, "b": {delay: 10 * ms, rcode: 3}}, 300 * ms, 3, "a:0s b:150ms", "a b"},
		"quicker no":       {"a b", map[string]*pipeServer{"a": slow(), "b": {delay: 10 * ms, rcode: 3}}, 400 * ms, 0, "a:0s b:150ms", "a b"},
		"no after silence": {"a b", map[string]*pipeServer{"a": {}, "b": {delay: 10 * ms, rcode: 3}}, doubt, 3, "a:0s b:150ms", "b a"},
		"no after refusal": {"a b", map[string]*pipeServer{"a": {refused: true}, "b": {delay: 10 * ms, rcode: 3}}, 10 * ms, 3, "a:0s b:0s", "b a"},
		"no, then refusal": {"a b", map[string]*pipeServer{"a": {delay: 300 * ms, rcode: 5}, "b": {delay: 10 * ms, rcode: 3}}, 300 * ms, 3, "a:0s b:150ms", "a b"},
		"no of the second": {"a b c", map[string]*pipeServer{"a": {}, "b": {delay: 200 * ms, rcode: 3}, "c": {delay: 10 * ms, rcode: 3}}, doubt, 3, "a:0s b:150ms c:300ms", "b c a"},
		"no after lost":    {"a b?", map[string]*pipeServer{"a": {refused: true}, "b": {delay: 10 * ms, rcode: 3}}, 10 * ms, 3, "a:0s b:0s", "b a"},
		"reserve unasked":  {"a b?", map[string]*pipeServer{"a": slow(), "b": quick()}, 400 * ms, 0, "a:0s b:", "a b"},
		"reserve needed":   {"a b?", map[string]*pipeServer{"a": {refused: true}, "b": quick()}, 10 * ms, 0, "a:0s b:0s", "b a"},
		"reserve silent":   {"a b?", map[string]*pipeServer{"a": {}, "b": quick()}, 1310 * ms, 0, "a:0s,1.15s b:1.3s", "b a"},
		"one dead, silent": {"a b", map[string]*pipeServer{"a": {}, "b": {refused: true}}, patience, -1, "a:0s,1.15s,2.3s b:150ms", "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pipeDialer{}
				for addr, s := range tc.servers {
					s.begin = time.Now()
					d[addr] = s
				}
				f := newForwarder(quiet(), d, newCache())
				set := testSet(tc.list)
				begin := time.Now()
				r := f.fetch(t.Context(), set, testQuery(t, "example.com", dns.TypeA))
				took := time.Since(begin)
				rcode := -1
				if r != nil {
					rcode = int(r.rcode)
				}
				if took != tc.took || rcode != tc.rcode {
					t.Errorf("code %d after %v, want %d after %v", rcode, took, tc.rcode, tc.took)
				}
				f.flying.Wait()
				if got := d.asked(strings.ReplaceAll(tc.list, "?", "")); got != tc.asked {
					t.Errorf("asked %s, want %s", got, tc.asked)
				}
				var order []string
				for _, u := range set.order(time.Now()) {
					order = append(order, u.addr)
				}
				if got := strings.Join(order, " "); got != tc.order {
					t.Errorf("asked next: %s, want %s", got, tc.order)
				}
				time.Sleep(demotion)
				if got := set.order(time.Now())[0].addr; got != "a" {
					t.Errorf("the first server is not asked first again, but %s", got)
				}
			})
		})
	}
}

// TestLifetimes: how long an answer is kept, and which TTL it is given out
// with.
func TestLifetimes(t *testing.T) {
	soa := "example. 100 IN SOA ns.example. root.example. 1 2 3 4 30"
	for name, tc := range map[string]struct {
		records []string
		rcode   int
		kept    int // seconds
	}{
		"address":            {[]string{"@ 60 IN A 192.0.2.1"}, 0, 60},
		"least of two":       {[]string{"@ 60 IN CNAME b.", "b. 7 IN A 192.0.2.1"}, 0, 7},
		"zero":               {[]string{"@ 0 IN A 192.0.2.1"}, 0, 0},
		"long":               {[]string{"@ 86400 IN A 192.0.2.1"}, 0, maxTTL},
		"negative number":    {[]string{"@ 4294967295 IN A 192.0.2.1"}, 0, 0},
		"NXDOMAIN":           {[]string{soa}, dns.RcodeNameError, 30},
		"no data":            {[]string{soa}, 0, 30},
		"SOA's own TTL":      {[]string{"example. 10 IN SOA ns.example. root.example. 1 2 3 4 30"}, 0, 10},
		"long no":            {[]string{"example. 86400 IN SOA ns.example. root.example. 1 2 3 4 86400"}, 3, maxNegativeTTL},
		"NXDOMAIN, no SOA":   {nil, dns.RcodeNameError, 0},
		"no data, no SOA":    {nil, 0, 0},
		"alias to nothing":   {[]string{"@ 5 IN CNAME b.", soa}, 0, 5},
		"alias, no SOA":      {[]string{"@ 5 IN CNAME b."}, 0, 0},
		"failure":            {[]string{soa}, dns.RcodeServerFailure, 0},
		"SOA beside answers": {[]string{"@ 60 IN A 192.0.2.1", soa}, 0, 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pipeDialer{"a": {delay: time.Millisecond, rcode: tc.rcode, records: tc.records}}
				f := newForwarder(quiet(), d, newCache())
				set, q := testSet("a"), testQuery(t, "example.com", dns.TypeA)
				if f.fetch(t.Context(), set, q) == nil {
					t.Fatal("no answer")
				}
				key := set.appendKey(nil, q)
				if tc.kept == 0 {
					if f.cache.get(key, time.Now()) != nil {
						t.Fatal("it was kept")
					}
					return
				}
				time.Sleep(time.Duration(tc.kept)*time.Second - time.Second - time.Millisecond)
				r := f.cache.get(key, time.Now())
				if r == nil {
					t.Fatal("it was not kept long enough")
				}
				checkTTLs(t, r, q, uint32(tc.kept-2))
				time.Sleep(time.Second + time.Millisecond)
				if f.cache.get(key, time.Now()) != nil {
					t.Error("it was kept too long")
				}
			})
		})
	}
}

// checkTTLs writes r for a client and holds its TTLs against those that came
// from upstream, age seconds ago.
func checkTTLs(t *testing.T, r *reply, q *query, age uint32) {
	t.Helper()
	packed, err := question("example.com", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var was, is dns.Msg
	if err := was.Unpack(r.msg); err != nil {
		t.Fatal(err)
	}
	if err := is.Unpack(r.write(q, packed, maxMessage, time.Now())); err != nil {
		t.Fatal(err)
	}
	for i, rr := range append(was.Answer, was.Ns...) {
		want := rr.Header().Ttl - min(age, rr.Header().Ttl)
		if got := append(is.Answer, is.Ns...)[i].Header().Ttl; got != want {
			t.Errorf("%v after %d s has TTL %d, want %d", rr, age, got, want)
		}
	}
}

// TestNoIsBelievedInTheOrderOfTheList: a first server that is slow, as one
// behind a VPN, and so asked last, knows a name that the second, a public one,
// does not.
func TestNoIsBelievedInTheOrderOfTheList(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		d := pipeDialer{"a": {delay: 400 * ms, records: []string{"@ 60 IN A 192.0.2.1"}}, "b": {delay: 10 * ms, rcode: dns.RcodeNameError,
			records: []string{"example. 100 IN SOA ns.example. root.example. 1 2 3 4 30"}}}
		f := newForwarder(quiet(), d, newCache())
		set := testSet("a b")
		fetch := func(name string, rcode byte, took time.Duration) {
			t.Helper()
			begin := time.Now()
			r := f.fetch(t.Context(), set, testQuery(t, name, dns.TypeA))
			if time.Since(begin) != took || r.rcode != rcode {
				t.Errorf("%s: code %d after %v, want %d after %v", name, r.rcode, time.Since(begin), rcode, took)
			}
			f.flying.Wait()
		}
		set.list[0].demote(time.Now())
		fetch("one.example", rcodeOK, 410*ms)
		// Gone, it is waited for once; and what the second says meanwhile is
		// soon asked again.
		d["a"] = &pipeServer{}
		fetch("two.example", rcodeNXDomain, doubt)
		fetch("three.example", rcodeNXDomain, 10*ms)
		time.Sleep(demotion)
		d["a"] = &pipeServer{delay: 20 * ms, records: []string{"@ 60 IN A 192.0.2.1"}}
		fetch("two.example", rcodeOK, 20*ms)
	})
}
