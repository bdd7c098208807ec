package flannel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func TestConfigDefaults(t *testing.T) {
	for text, want := range map[string]string{
		`{"Network":"10.5.0.0/16"}`:                          "10.5.0.0/16 24 10.5.1.0 10.5.255.0 {udp 8285 0 0 false false false}",
		`{"network":"10.5.3.4/16","BACKEND":{"type":"UDP"}}`: "10.5.0.0/16 24 10.5.1.0 10.5.255.0 {udp 8285 0 0 false false false}",
		`{"Network":"10.5.0.0/22"}`:                          "10.5.0.0/22 24 10.5.1.0 10.5.3.0 {udp 8285 0 0 false false false}",
		`{"Network":"10.5.0.0/23"}`:                          "10.5.0.0/23 25 10.5.0.128 10.5.1.128 {udp 8285 0 0 false false false}",
		`{"Network":"10.5.0.0/28"}`:                          "10.5.0.0/28 30 10.5.0.4 10.5.0.12 {udp 8285 0 0 false false false}",
		`{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","Backend":{"Type":"udp","Port":7890}}`:         "10.0.0.0/8 20 10.10.0.0 10.99.0.0 {udp 7890 0 0 false false false}",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"VXLAN"}}`:                                                                                 "10.5.0.0/16 24 10.5.1.0 10.5.255.0 {vxlan 0 1 0 false false false}",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":42,"Port":4789,"MTU":9000,"GBP":true,"Learning":true,"DirectRouting":true}}`: "10.5.0.0/16 24 10.5.1.0 10.5.255.0 {vxlan 4789 42 9000 true true true}",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw","VNI":7},"Unheard":[1]}`:                                                         "10.5.0.0/16 24 10.5.1.0 10.5.255.0 {host-gw 0 0 0 false false false}",
		`{"Network":"223.255.0.0/16"}`: "223.255.0.0/16 24 223.255.1.0 223.255.255.0 {udp 8285 0 0 false false false}",
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprint(c.Network, c.SubnetLen, c.SubnetMin, c.SubnetMax, c.Backend); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	for network, want := range map[string]string{
		"fc00::/48":  "fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::",
		"fc00::/62":  "fc00::/62 64 fc00:0:0:1:: fc00:0:0:3::",
		"fc00::/63":  "fc00::/63 65 fc00:0:0:0:8000:: fc00:0:0:1:8000::",
		"fc00::/124": "fc00::/124 126 fc00::4 fc00::c",
	} {
		c, err := ParseConfig([]byte(fmt.Sprintf(`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":%q}`, network)))
		if got := fmt.Sprint(c.IPv6Network, c.IPv6SubnetLen, c.IPv6SubnetMin, c.IPv6SubnetMax); err != nil || strings.ReplaceAll(got, "fc00::8000:0:0:0", "fc00:0:0:0:8000::") != want {
			t.Errorf("%s is %s (%v), want %s", network, got, err, want)
		}
	}
	if c, err := ParseConfig([]byte(`{"Network":"10.5.0.0/16","IPv6Network":"fc00::/48","EnableNFTables":true}`)); err != nil || c.EnableIPv6 || c.IPv6Network.IsValid() || !c.EnableNFTables {
		t.Errorf("IPv6 that is not enabled: %+v (%v)", c, err)
	}
}

// Each error names the key that is wrong, and says what would be right.
func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                           "no JSON",
		`{"Network":"10.5.0.0/16",}`: "byte",
		`{"Network":{}}`:             "Network: an object, where there should be a string",
		`[]`:                         "all of it: an array, where there should be an object",
		`{}`:                         "Network:",
		`{"Network":7}`:              "Network: a number",
		`{"Network":"10.5.0.0"}`:     "Network:",
		`{"Network":"fc00::/48"}`:    "Network:",
		`{"Network":"10.5.0.0/29"}`:  "Network:",
		`{"Network":"0.0.0.0/0"}`:    "Network: 0.0.0.0/0 has addresses",
		`{"Network":"127.5.0.0/16"}`: "Network: 127.5.0.0/16 has addresses",
		`{"Network":"192.0.0.0/2"}`:  "Network: 192.0.0.0/2 has addresses",
		`{"Network":"10.5.0.0/16","SubnetLen":"24"}`:                                                      "SubnetLen: a string",
		`{"Network":"10.5.0.0/16","SubnetLen":-1}`:                                                        "SubnetLen: a number -1",
		`{"Network":"10.5.0.0/16","SubnetLen":31}`:                                                        "SubnetLen: 31",
		`{"Network":"10.5.0.0/16","SubnetLen":17}`:                                                        "SubnetLen: 17",
		`{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}`:                                                "SubnetMin: no address in 10.5.0.0/16",
		`{"Network":"10.5.0.0/16","SubnetMin":"10.5.0.7"}`:                                                "SubnetMin: no subnet of /24 begins at",
		`{"Network":"10.5.0.0/16","SubnetMax":"x"}`:                                                       "SubnetMax: no address",
		`{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.8.0"}`:                         "SubnetMax: 10.5.8.0 is before",
		`{"Network":"10.5.0.0/16","EnableIPv6":true}`:                                                     "IPv6Network:",
		`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"10.6.0.0/16"}`:                         "IPv6Network:",
		`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetLen":127}`:       "IPv6SubnetLen: 127",
		`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetMin":"fc00::1"}`: "IPv6SubnetMin: no subnet of /64",
		`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetMax":"fd00::"}`:  "IPv6SubnetMax: no address",
		`{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fe80::/48"}`:                           "IPv6Network: fe80::/48 has addresses",
		`{"Network":"10.5.0.0/16","EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48"}`:        "EnableIPv4",
		`{"Network":"10.5.0.0/16","Backend":{}}`:                                                          `Backend.Type: there is no ""`,
		`{"Network":"10.5.0.0/16","Backend":null}`:                                                        `Backend.Type: there is no ""`,
		`{"Network":"10.5.0.0/16","Backend":"vxlan"}`:                                                     "Backend: a string, where there should be an object",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlam"}}`:                                            `Backend.Type: there is no "vxlam"`,
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":"1"}}`:                                  "Backend.VNI: a string",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":16777216}}`:                             "Backend.VNI: 16777216",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"udp","Port":65536}}`:                                 "Backend.Port: 65536",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","GBP":1}}`:                                    "Backend.GBP: a number, where there should be true or false",
		`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","MTU":5}}`:                                    "Backend.MTU: 5",
	} {
		_, err := ParseConfig([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || catenet.HintOf(err) == "" {
			t.Errorf("%s: %v (hint %q), want %q", text, err, catenet.HintOf(err), want)
		}
	}
	for _, name := range []string{"ipip", "WireGuard", "ipsec", "extension", "alloc", "tencent-vpc"} {
		_, err := ParseConfig([]byte(fmt.Sprintf(`{"Network":"10.5.0.0/16","Backend":{"Type":%q}}`, name)))
		if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), strings.ToLower(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
