package catenet

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParsePort(t *testing.T) {
	ip := netip.MustParseAddr
	for in, want := range map[string][]PortSpec{
		"80":                        {{Proto: TCP, Port: 80}},
		"80/udp":                    {{Proto: UDP, Port: 80}},
		"80/SCTP":                   {{Proto: SCTP, Port: 80}},
		":80":                       {{Proto: TCP, Port: 80}},
		"8080:80":                   {{Proto: TCP, HostPort: 8080, HostPortEnd: 8080, Port: 80}},
		"8080-8089:80":              {{Proto: TCP, HostPort: 8080, HostPortEnd: 8089, Port: 80}},
		"80-81":                     {{Proto: TCP, Port: 80}, {Proto: TCP, Port: 81}},
		"8080-8081:80-81/udp":       {{Proto: UDP, HostPort: 8080, HostPortEnd: 8080, Port: 80}, {Proto: UDP, HostPort: 8081, HostPortEnd: 8081, Port: 81}},
		"127.0.0.1:8080:80":         {{Proto: TCP, HostIP: ip("127.0.0.1"), HostPort: 8080, HostPortEnd: 8080, Port: 80}},
		"127.0.0.1::80":             {{Proto: TCP, HostIP: ip("127.0.0.1"), Port: 80}},
		"[::1]:8080:80":             {{Proto: TCP, HostIP: ip("::1"), HostPort: 8080, HostPortEnd: 8080, Port: 80}},
		"[fd00::1]::80/udp":         {{Proto: UDP, HostIP: ip("fd00::1"), Port: 80}},
		"[192.0.2.1]:1:2":           {{Proto: TCP, HostIP: ip("192.0.2.1"), HostPort: 1, HostPortEnd: 1, Port: 2}},
		"[::ffff:192.0.2.1]:1:2":    {{Proto: TCP, HostIP: ip("192.0.2.1"), HostPort: 1, HostPortEnd: 1, Port: 2}},
		"0.0.0.0:1:65535":           {{Proto: TCP, HostIP: ip("0.0.0.0"), HostPort: 1, HostPortEnd: 1, Port: 65535}},
		"::80":                      {{Proto: TCP, Port: 80}},
		":8080:80":                  {{Proto: TCP, HostPort: 8080, HostPortEnd: 8080, Port: 80}},
		"65535-65535:65535-65535":   {{Proto: TCP, HostPort: 65535, HostPortEnd: 65535, Port: 65535}},
		"65534-65535:1-2":           {{Proto: TCP, HostPort: 65534, HostPortEnd: 65534, Port: 1}, {Proto: TCP, HostPort: 65535, HostPortEnd: 65535, Port: 2}},
		"127.0.0.1:80-81:80-81/tcp": {{Proto: TCP, HostIP: ip("127.0.0.1"), HostPort: 80, HostPortEnd: 80, Port: 80}, {Proto: TCP, HostIP: ip("127.0.0.1"), HostPort: 81, HostPortEnd: 81, Port: 81}},
	} {
		got, err := ParsePort(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	if got, err := ParsePort("1-65535:1-65535"); err != nil || len(got) != 65535 || got[65534].Port != 65535 {
		t.Errorf("all ports: %d, %v", len(got), err)
	}
}

func TestParsePortRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"": `"" is no port`, "0": "is no port", "65536": "is no port", "-1": "is no port", "+80": "is no port", "080x": "is no port", "80 ": "is no port", //nolint:gocritic // the space is the point
		"80/icmp": "unknown protocol", "80/": "unknown protocol", "/tcp": "is no port",
		"81-80": "ends before it begins", "80-": "is no port", "0-5": "is no port",
		"8080:": "is no port", "8080-8081:80-82": "has 2 ports and the container range 3", "8080:80-81": "has 1 ports and the container range 2",
		"::1:8080:80": "in brackets", "[::1]8080:80": "separated by ':'", "[::1:8080:80": "", "host:8080:80": `"host" is no IP address`, "1.2.3:1:2": "no IP address",
		"[fe80::1%eth0]:1:2": "no IP address", "1.2.3.4:1:2:3": "", "[::1]": "", "[::1]:80": "separated by ':'", "[]:1:2": "", "]:1:2": "",
	} {
		got, err := ParsePort(in)
		if !IsInvalid(err) || !strings.Contains(err.Error(), want) || HintOf(err) == "" {
			t.Errorf("%q: %+v, %v; want %q", in, got, err, want)
		}
	}
}

func TestPortBindingString(t *testing.T) {
	b := PortBinding{Proto: UDP, HostIP: netip.MustParseAddr("::"), HostPort: 8080, Port: 80}
	if b.String() != "80/udp -> [::]:8080" {
		t.Error(b)
	}
	b.HostPort, b.Routed = 0, true
	if b.String() != "80/udp -> [::]:" {
		t.Error(b)
	}
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "8080:80/udp", "127.0.0.1:8080-8081:80-81", "[::1]::80", "1-65535", "[::1]", "]:[:", ":::", "[]:1:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		specs, err := ParsePort(s)
		if err != nil {
			if !IsInvalid(err) || HintOf(err) == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if len(specs) == 0 || len(specs) > 65535 {
			t.Fatalf("%q: %d ports", s, len(specs))
		}
		for i, p := range specs {
			if again, err := ParsePort(p.String()); err != nil || len(again) != 1 || again[0] != p {
				t.Fatalf("%q: %+v is written %q, and read as %+v, %v", s, p, p, again, err)
			}
			if p.Port == 0 || p.HostPortEnd < p.HostPort || p.Proto.Number() == 0 || p.HostIP.Zone() != "" || p.HostIP.Is4In6() {
				t.Fatalf("%q: %+v", s, p)
			}
			if p.HostPort == 0 != (p.HostPortEnd == 0) || i > 0 && p.Port != specs[i-1].Port+1 {
				t.Fatalf("%q: %+v", s, specs)
			}
		}
	})
}
