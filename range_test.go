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

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "10.0.0.1-10.0.0.1": "10.0.0.1", "10.0.0.5-10.0.1.4": "10.0.0.5-10.0.1.4",
		"10.0.0.64/26": "10.0.0.64-10.0.0.127", "10.0.0.70/26": "10.0.0.64-10.0.0.127", "10.0.0.7/32": "10.0.0.7",
		"fd00::10-fd00::ff": "fd00::10-fd00::ff", "fd00::/120": "fd00::-fd00::ff", "fd00::/0": "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"": "", "10.0.0.2-10.0.0.1": "", "10.0.0.1-": "", "10.0.0.1-fd00::1": "", "fe80::1%eth0": "", "10.0.0.0/33": "", "a-b": "",
	} {
		r, err := ParseRange(in)
		if want == "" && (!IsInvalid(err) || HintOf(err) == "") || want != "" && (err != nil || r.String() != want) {
			t.Errorf("%q: %s, %v, want %q", in, r, err, want)
		}
	}
	r := Range{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.7")}
	for a, want := range map[string]bool{"10.0.0.4": false, "10.0.0.5": true, "10.0.0.7": true, "10.0.0.8": false, "::ffff:10.0.0.6": false, "fd00::1": false} {
		if got := r.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s in %s: %v", a, r, got)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::/64", "::ffff:1.2.3.4-::ffff:1.2.3.5", "fe80::1%a-fe80::2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			if !IsInvalid(err) || HintOf(err) == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again != r || !r.Contains(r.First) || !r.Contains(r.Last) {
			t.Fatalf("%q is written %s, and read as %s, %v", s, r, again, err)
		}
	})
}
