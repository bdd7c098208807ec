package flannel

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/flannel"
)

// What a tunnel's headers take of the underlay's MTU, in bytes: IPv4 or IPv6, UDP,
// VXLAN and Ethernet; IPv4 and UDP.
const (
	vxlanOverhead4 = 20 + 8 + 8 + 14
	vxlanOverhead6 = 40 + 8 + 8 + 14
	udpOverhead    = 20 + 8
)

// held is this host's part as it is on record (catenet.Part.Data): enough to be up
// with when nobody can be asked.
type held struct {
	flannel.State
	site
	// Device is the TUN device of the udp backend.
	Device string `json:"device,omitempty"`
	// MAC4 and MAC6 are those of the vxlan devices.
	MAC4 flannel.MAC `json:"mac4,omitzero"`
	MAC6 flannel.MAC `json:"mac6,omitzero"`

	config flannel.Config // as State has it
}

// site is where this host is.
type site struct {
	Under string `json:"under"` // the link that other hosts are behind
	MTU   int    `json:"mtu"`   // its, in bytes
	// IP and IPv6 are where other hosts reach this one; Local4 and Local6 what it
	// sends from.
	IP     netip.Addr `json:"ip"`
	IPv6   netip.Addr `json:"ipv6,omitzero"`
	Local4 netip.Addr `json:"local4"`
	Local6 netip.Addr `json:"local6,omitzero"`
}

// read returns a network's options and part.
func (d Driver) read(n catenet.Network) (o options, p held, err error) {
	if o, err = d.parse(n.NetworkSpec); err != nil {
		return o, p, err
	}
	if n.Part == nil {
		return o, p, catenet.Invalidf("network %s has no part on this host", n.Name).WithHint("remove it, and make it anew")
	}
	if err = json.Unmarshal([]byte(n.Part.Data), &p); err == nil {
		p.config, err = flannel.ParseConfig([]byte(p.Config))
	}
	if err != nil {
		return o, p, fmt.Errorf("read the part of network %s: %w", n.Name, err)
	}
	o.base = p.bounded(o.base)
	return o, p, nil
}

// bounded has no link of the network take packets that are too big for the way to the
// other hosts.
func (p held) bounded(spec catenet.NetworkSpec) catenet.NetworkSpec {
	mtu := p.mtu()
	for _, key := range []string{catenet.OptionMTU, catenet.OptionMTUShort} {
		if asked, ok := number(spec.Options[key]); ok && asked < mtu {
			mtu = asked
		}
		delete(spec.Options, key)
	}
	spec.Options[catenet.OptionMTU] = fmt.Sprint(mtu)
	return spec
}

// number reads what has been validated already.
func number(text string) (n int, ok bool) {
	_, err := fmt.Sscan(text, &n)
	return n, err == nil
}

// part is what the engine is told.
func (p held) part(o options) (catenet.Part, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return catenet.Part{}, fmt.Errorf("write the network's part: %w", err)
	}
	part := catenet.Part{Subnets: []netip.Prefix{p.Subnets.IPv4}, Span: p.span(), By: p.backend(), MTU: p.mtu(), Data: string(data), Theirs: o.noBridge}
	if p.dual() {
		part.Subnets = append(part.Subnets, p.Subnets.IPv6)
	}
	return part, nil
}

// dual: the udp backend carries IPv4 alone, whatever the config says.
func (p held) dual() bool { return p.config.EnableIPv6 && p.backend() != flannel.BackendUDP }

// at is a site as far as the network's families and tunnels have to know it.
func (p held) at(s site) site {
	if !p.dual() {
		s.IPv6, s.Local6 = netip.Addr{}, netip.Addr{}
	}
	return s
}

func (p held) backend() string { return p.config.Backend.Type }

func (p held) span() []netip.Prefix {
	span := []netip.Prefix{p.config.Network}
	if p.dual() {
		span = append(span, p.config.IPv6Network)
	}
	return span
}

// underlay is the MTU of the underlay, in bytes.
func (p held) underlay() int { return cmp.Or(p.config.Backend.MTU, p.MTU) }

// mtu is that of the links of containers, in bytes, as with flanneld: what IPv4 has of
// the way to the other hosts.
func (p held) mtu() int {
	switch {
	case p.backend() == flannel.BackendHostGW:
		return p.underlay()
	case p.backend() == flannel.BackendUDP:
		return p.underlay() - udpOverhead
	}
	return p.underlay() - vxlanOverhead4
}

// mtu6 is the same of IPv6, which a vxlan carries in larger packets: the host tells who
// sends more, as of any path.
func (p held) mtu6() int {
	if p.backend() == flannel.BackendVXLAN {
		return p.underlay() - vxlanOverhead6
	}
	return p.mtu()
}

// env is what somebody else's containers are made by.
func (p held) env(masquerade bool) flannel.Env {
	e := flannel.Env{Network: p.config.Network, Subnets: p.Subnets, MTU: p.mtu(), IPMasq: masquerade}
	if p.dual() {
		e.IPv6Network = p.config.IPv6Network
	}
	return e
}

// node is this host as the registry is to know it.
func (d Driver) node(p held, n catenet.Network) flannel.Node {
	return flannel.Node{PublicIP: p.IP, PublicIPv6: p.IPv6, Lease: lease(n.ID), Previous: p.Subnets, Log: d.log.With("network", n.Name),
		Backend: func(c flannel.Config) (flannel.BackendData, error) { return p.backendData(c), nil }}
}

func (p held) backendData(c flannel.Config) (data flannel.BackendData) {
	if c.Backend.Type != flannel.BackendVXLAN {
		return data
	}
	vni := uint32(c.Backend.VNI)
	data.V4 = &flannel.VTEP{VNI: vni, VtepMAC: p.MAC4}
	if c.EnableIPv6 {
		data.V6 = &flannel.VTEP{VNI: vni, VtepMAC: p.MAC6}
	}
	return data
}

// lease is what all that a network has in the registry goes with: known before there is
// a part of it, and another one of each network.
func lease(networkID string) etcd.LeaseID {
	sum := sha256.Sum256([]byte(networkID))
	return etcd.LeaseID(max(1, binary.BigEndian.Uint64(sum[:])>>1))
}

// vtep is the MAC of a network's vxlan device of a family: the same whenever it is
// made, and another on each host.
func vtep(networkID string, family byte) (mac flannel.MAC) {
	mac = flannel.MAC{0x0e, family}
	if b, err := hex.DecodeString(networkID[:8]); err == nil {
		copy(mac[2:], b)
	}
	return mac
}
