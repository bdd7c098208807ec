package catenet

import (
	"strings"
	"testing"
)

func TestParseRoute(t *testing.T) {
	for in, want := range map[string]string{
		"10.9.0.0/16,10.8.0.2": "10.9.0.0/16,10.8.0.2", "fd09::/64,fd08::2,7": "fd09::/64,fd08::2,7", "10.9.0.0/16,10.8.0.2,2147483647": "10.9.0.0/16,10.8.0.2,2147483647",
		"10.9.0.0/16": "", "10.9.0.0,10.8.0.2": "", "10.9.0.0/16,x": "", "10.9.0.0/16,10.8.0.2,0": "", "10.9.0.0/16,10.8.0.2,-1": "", "10.9.0.0/16,10.8.0.2,1,2": "",
		"10.9.0.0/16,10.8.0.2,2147483648": "", "": "",
		"10.9.0.1/16,10.8.0.2": "host bits", "10.9.0.0/16,fd00::2": "family", "0.0.0.0/0,10.8.0.2": "default", "10.9.0.0/16,0.0.0.0": "no gateway",
		"fd09::/64,fe80::1%eth0": "no gateway", "::ffff:10.9.0.0/112,fd00::1": "IPv4 written as IPv6",
	} {
		r, err := ParseRoute(in)
		if err == nil {
			err = r.Validate()
		}
		if strings.Contains(want, ",") {
			if err != nil || r.String() != want {
				t.Errorf("%q: %s, %v", in, r, err)
			}
		} else if !IsInvalid(err) || HintOf(err) == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{"10.9.0.0/16,10.8.0.2", "fd09::/64,fd08::2,7", ",,", "::ffff:1.2.3.4/128,::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRoute(s)
		if err != nil {
			if !IsInvalid(err) || HintOf(err) == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if again, err := ParseRoute(r.String()); err != nil || again != r {
			t.Fatalf("%q is written %s, and read as %s, %v", s, r, again, err)
		}
	})
}
