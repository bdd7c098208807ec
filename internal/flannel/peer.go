package flannel

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/catenet/catenet/internal/etcd"
)

// entry is one key of the registry, read once.
type entry struct {
	etcd.Pair
	key    string // below <prefix>/subnets/
	peer   Peer
	reason string // why it can never be a peer; "" if it can
}

// readEntry reads a node's record as a peer in a network of that config. What is
// wrong with it is said by its reason: others write what they like.
func readEntry(key string, pair etcd.Pair, c Config) *entry {
	e := &entry{Pair: pair, key: key}
	if err := e.read(c); err != nil {
		e.reason = err.Error()
	}
	return e
}

func (e *entry) read(c Config) error {
	subnets, err := ParseKey(e.key)
	if err != nil {
		return err
	}
	e.peer.Subnets = subnets
	var r Record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return fmt.Errorf("its record cannot be read: %w", err)
	}
	e.peer.PublicIP = r.PublicIP
	if !within(subnets.IPv4, c.Network) {
		return fmt.Errorf("%v is no part of the network %v", subnets.IPv4, c.Network)
	}
	if !reachable(r.PublicIP) || !r.PublicIP.Is4() {
		return fmt.Errorf("no host can be reached at its PublicIP %v", r.PublicIP)
	}
	if r.BackendType != c.Backend.Type && c.Backend.Type != BackendUDP { // udp's own records say no type
		return fmt.Errorf("it is reached by %q, and this network's nodes are by %s", r.BackendType, c.Backend.Type)
	}
	if c.Backend.Type == BackendVXLAN {
		if e.peer.VTEP4, err = readVTEP(r.BackendData); err != nil {
			return err
		}
	}
	return e.readIPv6(c, r)
}

// readIPv6 reads the other half. A peer whose record has nothing of it is one of
// IPv4 alone.
func (e *entry) readIPv6(c Config, r Record) (err error) {
	p := &e.peer
	six := p.IPv6
	p.IPv6 = netip.Prefix{}
	if !c.EnableIPv6 || !six.IsValid() || r.PublicIPv6 == nil {
		return nil
	}
	if !within(six, c.IPv6Network) {
		return fmt.Errorf("%v is no part of the network %v", six, c.IPv6Network)
	}
	if !reachable(*r.PublicIPv6) || !r.PublicIPv6.Is6() || r.PublicIPv6.Is4In6() || r.PublicIPv6.Zone() != "" {
		return fmt.Errorf("no host can be reached at its PublicIPv6 %v", r.PublicIPv6)
	}
	if c.Backend.Type == BackendVXLAN {
		if p.VTEP6, err = readVTEP(r.BackendV6Data); err != nil {
			return err
		}
	}
	p.IPv6, p.PublicIPv6 = six, *r.PublicIPv6
	return nil
}

// readVTEP reads the MAC of a vxlan peer's device. What else is said there differs
// from version to version.
func readVTEP(data json.RawMessage) (MAC, error) {
	var v struct{ VtepMAC *MAC }
	if err := json.Unmarshal(data, &v); err != nil {
		return MAC{}, fmt.Errorf("its vxlan data cannot be read: %w", err)
	}
	if v.VtepMAC == nil {
		return MAC{}, fmt.Errorf("it says no VtepMAC")
	}
	return *v.VtepMAC, nil
}

// reachable reports whether one host can have that address.
func reachable(a netip.Addr) bool {
	if a.Is4() {
		first := a.As4()[0]
		return first != 0 && first != 127 && first < 224 // RFC 6890; from 224 on are groups, and what is reserved
	}
	return a.IsGlobalUnicast()
}

// within reports whether p is a part of net, and not all of it.
func within(p, net netip.Prefix) bool {
	return p.Bits() > net.Bits() && net.Contains(p.Addr())
}
