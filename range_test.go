package catenet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidateRange(t *testing.T) {
	for p, want := range map[string]string{
		"10.0.0.0/8": "", "192.168.0.0/16": "", "1.0.0.0/8": "", "223.255.255.0/24": "", "fd00::/8": "", "2001:db8::/32": "",
		"0.0.0.0/0": "0.0.0.0/8", "127.1.0.0/16": "loopback", "169.254.7.0/24": "link-local", "239.0.0.0/8": "multicast", "255.255.255.255/32": "broadcast",
		"::/0": "::/127", "::/64": "loopback", "::ffff:10.0.0.0/104": "IPv4-mapped", "fe80::/64": "link-local", "ff02::/16": "multicast",
	} {
		err := ValidateRange("subnet", netip.MustParsePrefix(p))
		if want == "" && err != nil || want != "" && (!IsInvalid(err) || !strings.Contains(err.Error(), want) || HintOf(err) == "") {
			t.Errorf("%s: %v, want %q", p, err, want)
		}
	}
}
