package flannel

import "net/netip"

// The backends there are. flanneld has more.
const (
	BackendUDP    = "udp"
	BackendVXLAN  = "vxlan"
	BackendHostGW = "host-gw"
)

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
