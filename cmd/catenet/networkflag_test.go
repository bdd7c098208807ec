package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
)

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseNetwork(t *testing.T) {
	full := catenet.EndpointSpec{
		Network: "front", IPv4: netip.MustParseAddr("10.0.0.5"), IPv6: netip.MustParseAddr("fd00::5"), MAC: "02:42:0a:00:00:05",
		Aliases: []string{"a", "b"}, Interface: "lan0", GwPriority: -2, Options: map[string]string{"k": "v=w"},
		Links: []catenet.Link{{Container: "db", Alias: "store"}, {Container: "web", Alias: "web"}},
	}
	for in, want := range map[string]catenet.EndpointSpec{
		"front":                {Network: "front"},
		"name=front":           {Network: "front"},
		"front:ip=10.0.0.5":    {Network: "front", IPv4: full.IPv4},
		"ip6=fd00::5,name=net": {Network: "net", IPv6: full.IPv6},
		"front:ip=10.0.0.5,ip6=fd00::5,mac=02:42:0A:00:00:05,alias=a,alias=b,link=db:store,link=web,interface_name=lan0,gw-priority=-2,driver-opt=k=v=w":              full,
		"name=front,ip=10.0.0.5,ip6=fd00::5,mac-address=02-42-0a-00-00-05,alias=a,alias=b,link=db:store,link=web,interface-name=lan0,gw_priority=-2,driver_opt=k=v=w": full,
	} {
		got, err := parseNetwork(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if d := cmp.Diff(want, got, sameAddr); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
	for _, in := range []string{
		"", ":", "front:", ":ip=10.0.0.1", "front,ip=10.0.0.1", "ip=10.0.0.1", "front:ip", "front:ip=", "front:ip=10.0.0.1,",
		"front:name=back", "name=a,name=b", "front:ip=fd00::1", "front:ip6=10.0.0.1", "front:ip6=fe80::1%eth0", "front:mac=02:42", "front:mac=03:42:0a:00:00:05",
		"front:alias=a b", "front:link=", "front:link=a:b:c", "front:link=a:x,link=b:x", "front:ip=10.0.0.5,ip=10.0.0.6", "front:interface_name=a,interface-name=b", "front:interface_name=a/b", "front:gw-priority=high", "front:driver-opt=k", "front:driver-opt==v", "a/b", "../x", "-x", "front:link-local-ip=169.254.0.1",
	} {
		if ep, err := parseNetwork(in); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" && err.Error() == "" {
			t.Errorf("%q was read as %+v, %v", in, ep, err)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"front", "front:ip=10.0.0.5,ip6=fd00::5,alias=a", "name=front,driver-opt=k=v", "a:b=c", "=,:", "name=,=", "a:link=b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ep, err := parseNetwork(s)
		if err != nil {
			if !catenet.IsInvalid(err) {
				t.Fatalf("%q: %v is no invalid error", s, err)
			}
			return
		}
		// Whatever is let through holds what the daemon will hold it to.
		if err := catenet.ValidateRef("network", ep.Network); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if ep.IPv4.IsValid() && !ep.IPv4.Is4() || ep.IPv6.IsValid() && !ep.IPv6.Is6() || ep.IPv6.Zone() != "" {
			t.Fatalf("%q: %+v", s, ep)
		}
		if err := catenet.ValidateLinks(ep.Links); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		for _, a := range ep.Aliases {
			if err := catenet.ValidateName("alias", a); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}
