package catenet

import (
	"net/netip"
	"testing"
)

func TestMACFor(t *testing.T) {
	for addr, want := range map[string]string{
		"172.17.0.2":        "02:42:ac:11:00:02", // as Docker's
		"::ffff:172.17.0.2": "02:42:ac:11:00:02",
		"fd00::2":           "02:46:00:00:00:02",
		"fd00:9::2":         "02:46:00:00:00:02", // the subnet does not count
		"fd00::1:2:3:4":     "02:46:00:02:00:06",
	} {
		if got := MACFor(netip.MustParseAddr(addr)); got != want {
			t.Errorf("MACFor(%s) = %s, want %s", addr, got, want)
		}
	}
}
