package bridge

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestAround(t *testing.T) {
	for _, c := range []struct{ addr, gateway, want string }{
		{"10.51.0.7/24", "10.51.0.1", "10.51.0.1/32; 10.51.0.0/25 via 10.51.0.1; 10.51.0.128/25 via 10.51.0.1"},
		{"10.51.7.7/16", "10.51.200.1", "10.51.200.1/32; 10.51.0.0/17 via 10.51.200.1; 10.51.128.0/17 via 10.51.200.1"},
		{"10.51.0.3/31", "10.51.0.2", "10.51.0.2/32; 10.51.0.3/32 via 10.51.0.2"},
		{"fd00:51::9/64", "fd00:51::1", "fd00:51::1/128; fd00:51::/65 via fd00:51::1; fd00:51:0:0:8000::/65 via fd00:51::1"},
		{"10.51.0.7/32", "10.51.0.1", ""},
		{"10.51.0.7/24", "", ""},
		{"", "10.51.0.1", ""},
	} {
		prefix, _ := netip.ParsePrefix(c.addr)
		gateway, _ := netip.ParseAddr(c.gateway)
		var got []string
		for _, r := range around(prefix, gateway) {
			s := r.Dst.String()
			if r.Gateway.IsValid() {
				s += fmt.Sprint(" via ", r.Gateway)
			}
			got = append(got, s)
		}
		if got := strings.Join(got, "; "); got != c.want {
			t.Errorf("%s by %s: %s, want %s", c.addr, c.gateway, got, c.want)
		}
	}
}
