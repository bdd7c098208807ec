package flannel

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// The backends there are. flanneld has more.
const (
	BackendUDP    = "udp"
	BackendVXLAN  = "vxlan"
	BackendHostGW = "host-gw"
)

// otherBackends are those of flanneld's that are refused by name.
var otherBackends = []string{"alloc", "extension", "ipip", "ipsec", "tencent-vpc", "wireguard"}

// Config is a network's, with all defaults filled in.
type Config struct {
	Network        netip.Prefix
	IPv6Network    netip.Prefix // zero unless EnableIPv6
	EnableIPv6     bool
	EnableNFTables bool // flanneld's rules are nftables'; ours always are
	// SubnetLen is the length of each node's subnet, and SubnetMin and SubnetMax
	// are the addresses of the first and the last that a node is given unasked.
	SubnetLen                    int
	SubnetMin, SubnetMax         netip.Addr
	IPv6SubnetLen                int
	IPv6SubnetMin, IPv6SubnetMax netip.Addr
	Backend                      Backend

	text string // as it is in the registry
}

// Backend is how packets get from host to host.
type Backend struct {
	Type string // one of the constants, in lower case whatever the registry says
	// Port of the datagrams. udp: 8285 unless said otherwise; vxlan: 0 is the kernel's (8472).
	Port int
	// The others are vxlan's. VNI is 1 unless said otherwise; MTU, of the underlay,
	// 0: its interface's.
	VNI, MTU      int
	GBP           bool // a group policy's mark travels with packets
	Learning      bool // the device learns MACs from packets
	DirectRouting bool // peers that no gateway is before are reached by plain routes
}

// document is a config as it is written. As with flanneld the case of its keys
// does not matter, and keys that nobody knows do not either.
type document struct {
	Network, SubnetMin, SubnetMax             string
	IPv6Network, IPv6SubnetMin, IPv6SubnetMax string
	SubnetLen, IPv6SubnetLen                  uint
	EnableIPv4, EnableIPv6, EnableNFTables    bool
	Backend                                   json.RawMessage
}

// ParseConfig reads a config and fills in what flanneld takes where nothing is
// said. Its errors name the key that is wrong, and what would be right.
func ParseConfig(text []byte) (Config, error) {
	doc := document{EnableIPv4: true}
	if err := json.Unmarshal(text, &doc); err != nil {
		return Config{}, wrongJSON("", err)
	}
	if !doc.EnableIPv4 { // all hosts are 0.0.0.0 in etcd then, and each flanneld takes the key of the one before
		return Config{}, catenet.Unsupportedf("flannel config: EnableIPv4 is false, and in etcd there are no networks of IPv6 alone: flanneld's own hosts would all have one subnet").
			WithHint("leave EnableIPv4 out, and give a Network beside the IPv6Network")
	}
	backend, err := parseBackend(doc.Backend)
	if err != nil {
		return Config{}, err
	}
	c := Config{EnableIPv6: doc.EnableIPv6, EnableNFTables: doc.EnableNFTables, Backend: backend, text: string(text)}
	four := family{"", "10.5.0.0/16", 32, 24}
	if c.Network, c.SubnetLen, c.SubnetMin, c.SubnetMax, err = four.fill(doc.Network, doc.SubnetLen, doc.SubnetMin, doc.SubnetMax); err != nil || !c.EnableIPv6 {
		return c, err
	}
	six := family{"IPv6", "fd00:10:5::/48", 128, 64}
	c.IPv6Network, c.IPv6SubnetLen, c.IPv6SubnetMin, c.IPv6SubnetMax, err = six.fill(doc.IPv6Network, doc.IPv6SubnetLen, doc.IPv6SubnetMin, doc.IPv6SubnetMax)
	return c, err
}

// parseBackend reads the part of a config that says how packets travel; with none,
// they do by udp.
func parseBackend(text json.RawMessage) (Backend, error) {
	b := Backend{Type: BackendUDP}
	if len(text) > 0 {
		b = Backend{VNI: 1} // one that is given says its type
		if err := json.Unmarshal(text, &b); err != nil {
			return Backend{}, wrongJSON("Backend.", err)
		}
	}
	b.Type = strings.ToLower(b.Type)
	known := []string{BackendUDP, BackendVXLAN, BackendHostGW}
	switch {
	case slices.Contains(otherBackends, b.Type):
		return Backend{}, catenet.Unsupportedf("flannel config: Backend.Type: %s is not to be had here", b.Type).WithHint("there are %s", strings.Join(known, ", "))
	case !slices.Contains(known, b.Type):
		return Backend{}, catenet.Invalidf("flannel config: Backend.Type: there is no %q", b.Type).WithHint("there are %s", strings.Join(known, ", "))
	case b.Port < 0 || b.Port > 65535:
		return Backend{}, catenet.Invalidf("flannel config: Backend.Port: %d is no port", b.Port).WithHint("1 to 65535; leave it out for the usual one")
	case b.Type == BackendVXLAN && (b.VNI < 1 || b.VNI >= 1<<24):
		return Backend{}, catenet.Invalidf("flannel config: Backend.VNI: %d is no number of a vxlan network", b.VNI).WithHint("1 to 16777215; leave it out for 1")
	case b.MTU != 0 && (b.MTU < 576 || b.MTU > 65535):
		return Backend{}, catenet.Invalidf("flannel config: Backend.MTU: %d bytes are no MTU of an underlay", b.MTU).WithHint("576 to 65535; leave it out for the interface's own")
	}
	switch b.Type {
	case BackendUDP:
		if b.Port == 0 {
			b.Port = 8285
		}
		b = Backend{Type: b.Type, Port: b.Port}
	case BackendHostGW:
		b = Backend{Type: b.Type}
	}
	return b, nil
}

// wrongJSON names the key that is of the wrong type, or the place where the text
// is no JSON.
func wrongJSON(within string, err error) error {
	hint := `such as {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		key := strings.Trim(within+e.Field, ".")
		return catenet.Invalidf("flannel config: %s: %s, where there should be %s", cmp.Or(key, "all of it"), withArticle(e.Value), wordFor(e.Type.Kind())).WithHint("%s", hint)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return catenet.Invalidf("flannel config: no JSON, from byte %d on: %w", e.Offset, err).WithHint("%s", hint)
	}
	return catenet.Invalidf("flannel config: %w", err).WithHint("%s", hint)
}

func withArticle(noun string) string {
	if noun == "array" || noun == "object" {
		return "an " + noun
	}
	return "a " + noun
}

// wordFor says what JSON calls a kind of value.
func wordFor(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Uint:
		return "a number"
	}
	return "an object"
}
