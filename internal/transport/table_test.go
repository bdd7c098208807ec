package transport

import (
	"net/netip"
	"testing"

	"github.com/catenet/catenet"
)

func TestTable(t *testing.T) {
	var table Table
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	if _, ok := table.find(a("10.5.2.1")); ok || table.knows(second.Addr()) {
		t.Error("an empty one knows somebody")
	}
	find := func(addr string, want netip.AddrPort) {
		t.Helper()
		if got, _ := table.find(a(addr)); got != want {
			t.Errorf("%s is at %v, not %v", addr, got, want)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(table.Set(Peer{p("10.5.0.0/16"), second}))
	check(table.Change([]Peer{{p("10.5.3.0/24"), third}}, nil))
	find("10.5.3.1", third)
	find("10.5.4.1", second)
	check(table.Change([]Peer{{p("10.5.3.0/24"), second}}, nil)) // it has moved
	find("10.5.3.1", second)
	if table.knows(third.Addr()) {
		t.Error("who has moved is known where it was")
	}
	check(table.Change(nil, []netip.Prefix{p("10.5.3.0/24"), p("10.9.0.0/16")}))
	find("10.5.3.1", second)
	check(table.Set(Peer{p("10.6.0.0/16"), third}))
	find("10.5.3.1", netip.AddrPort{})
	find("10.6.3.1", third)
	for _, wrong := range []Peer{
		{p("10.5.3.1/24"), second},
		{p("fd00::/64"), second},
		{netip.Prefix{}, second},
		{p("224.0.0.0/24"), second},
		{p("10.5.3.0/24"), netip.AddrPort{}},
		{p("10.5.3.0/24"), netip.MustParseAddrPort("[fd00::1]:8285")},
		{p("10.5.3.0/24"), netip.MustParseAddrPort("192.0.2.1:0")},
		{p("10.5.3.0/24"), netip.MustParseAddrPort("0.0.0.0:8285")},
	} {
		if err := table.Change([]Peer{{p("10.7.0.0/16"), second}, wrong}, []netip.Prefix{p("10.6.0.0/16")}); !catenet.IsInvalid(err) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	find("10.6.3.1", third)
	find("10.7.3.1", netip.AddrPort{})
}
