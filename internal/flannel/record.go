package flannel

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// Record is the value of a node's key. Its JSON is flanneld's own, field for
// field: a udp node says no type, and PublicIPv6 is null where there is none.
type Record struct {
	PublicIP      netip.Addr
	PublicIPv6    *netip.Addr
	BackendType   string          `json:",omitempty"`
	BackendData   json.RawMessage `json:",omitempty"`
	BackendV6Data json.RawMessage `json:",omitempty"`
}

// BackendData is what a record says beside the addresses: in a vxlan network,
// about the device of each family; nothing in others.
type BackendData struct{ V4, V6 *VTEP }

// VTEP is the end of a vxlan tunnel.
type VTEP struct {
	VNI     uint32
	VtepMAC MAC
}

// newRecord writes what the registry is to have of node n.
func newRecord(n Node, c Config, data BackendData) (string, error) {
	r := Record{PublicIP: n.PublicIP}
	if c.Backend.Type != BackendUDP {
		r.BackendType = c.Backend.Type
		if c.EnableIPv6 {
			r.PublicIPv6 = &n.PublicIPv6
		}
	}
	for raw, vtep := range map[*json.RawMessage]*VTEP{&r.BackendData: data.V4, &r.BackendV6Data: data.V6} {
		if vtep == nil {
			continue
		}
		text, err := json.Marshal(vtep)
		if err != nil {
			return "", fmt.Errorf("write backend's data: %w", err)
		}
		*raw = text
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("write record: %w", err)
	}
	return string(text), nil
}
