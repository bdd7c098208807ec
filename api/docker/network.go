package docker

import (
	"maps"
	"net"
	"net/netip"

	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
)

// Network puts a network into Docker's words.
func Network(n catenet.Network) network.Network {
	out := network.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: catenet.ScopeLocal, Driver: n.Driver,
		EnableIPv4: !n.DisableIPv4, EnableIPv6: n.IPv6, Internal: n.Internal, Attachable: n.Attachable,
		ConfigOnly: n.ConfigOnly, ConfigFrom: network.ConfigReference{Network: n.ConfigFrom},
		IPAM:    network.IPAM{Driver: "default", Options: map[string]string{}, Config: []network.IPAMConfig{}},
		Options: present(n.Options), Labels: present(n.Labels),
	}
	for _, p := range n.Pools {
		out.IPAM.Config = append(out.IPAM.Config, network.IPAMConfig{Subnet: p.Subnet, IPRange: p.Range, Gateway: p.Gateway, AuxAddress: p.Aux})
	}
	return out
}

// present makes an absent map an empty one: Docker's clients are shown no null.
func present(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

// Inspected is a network as docker network inspect shows it, and what Docker
// does not tell: who owns its addresses, its static routes, how its other hosts are
// reached, and what became of packets to and from them.
type Inspected struct {
	network.Inspect
	Status *Status         `json:",omitempty"` // in place of Inspect's
	Routes []catenet.Route `json:",omitempty"` // inside each container
	Part   *Part           `json:",omitempty"` // this host's
	Peers  []Peer          `json:",omitempty"` // in place of Inspect's
	// Traffic to them, where the daemon carries it.
	Traffic *catenet.Traffic `json:",omitempty"`
}

// Part is this host's part of a network that reaches over several: where its subnets
// are, what all of it has, and how the others are reached.
type Part struct {
	Subnets, Span []netip.Prefix
	By            string
	MTU           int
}

// Peer is another host's part of a network, named by where the host is.
type Peer struct {
	network.PeerInfo
	Subnets []netip.Prefix
	By      string // how it is reached
	Trouble string `json:",omitempty"` // why it is not
}

// Status is what changes of a network.
type Status struct {
	IPAM    IPAMStatus
	Trouble string `json:",omitempty"` // what keeps it from being in order
}

// IPAMStatus says which addresses are in use, and which are left to others.
type IPAMStatus struct {
	network.IPAMStatus
	Owners   map[string]string // by address
	SetAside []catenet.Range   `json:",omitempty"` // what others choose from
}

// Inspect puts a network and what is in it into Docker's words; names are
// those of sandboxes by ID.
func Inspect(n catenet.NetworkStatus, names map[string]string) Inspected {
	status := &Status{IPAM: IPAMStatus{Owners: map[string]string{}}, Trouble: n.Trouble}
	for _, p := range n.Pools {
		status.IPAM.SetAside = append(status.IPAM.SetAside, p.SetAside...)
	}
	status.IPAM.Subnets = network.SubnetStatuses{}
	for _, u := range n.Use {
		status.IPAM.Subnets[u.Subnet] = network.SubnetStatus{IPsInUse: u.Used, DynamicIPsAvailable: u.Free}
	}
	for _, o := range n.Owners {
		status.IPAM.Owners[o.Address.String()] = o.Owner
	}
	containers := map[string]network.EndpointResource{}
	for _, ep := range n.Endpoints {
		mac, _ := net.ParseMAC(ep.MAC) // none is shown as none
		containers[ep.SandboxID] = network.EndpointResource{
			Name: names[ep.SandboxID], EndpointID: ep.ID, MacAddress: network.HardwareAddr(mac), IPv4Address: ep.IPv4, IPv6Address: ep.IPv6,
		}
	}
	out := Inspected{Inspect: network.Inspect{Network: Network(n.Network), Containers: containers}, Status: status, Routes: n.Routes, Traffic: n.Traffic}
	if p := n.Part; p != nil {
		out.Part = &Part{p.Subnets, p.Span, p.By, p.MTU}
	}
	for _, p := range n.Peers {
		out.Peers = append(out.Peers, Peer{network.PeerInfo{Name: p.Host.String(), IP: p.Host}, p.Subnets, p.By, p.Trouble})
	}
	return out
}

// Spec reads what is asked for by POST /networks/create.
func Spec(r network.CreateRequest) (catenet.NetworkSpec, error) {
	s := catenet.NetworkSpec{
		Name: r.Name, Driver: r.Driver, Internal: r.Internal, Attachable: r.Attachable, ConfigOnly: r.ConfigOnly,
		Options: maps.Clone(r.Options), Labels: r.Labels,
	}
	if r.ConfigFrom != nil {
		s.ConfigFrom = r.ConfigFrom.Network
	}
	switch {
	case r.Ingress:
		return s, refuse(403, "Ingress network can only be global scope network")
	case r.Scope == "swarm":
		return s, refuse(403, "cannot create a swarm scoped network when swarm is not active")
	case r.Scope != "" && r.Scope != catenet.ScopeLocal:
		return s, catenet.Invalidf("scope %q is none of a network here", r.Scope).WithHint("every network is of scope %s", catenet.ScopeLocal)
	}
	if r.EnableIPv4 != nil { // what the field says counts, as with Docker
		s.DisableIPv4 = !*r.EnableIPv4
		delete(s.Options, catenet.OptionIPv4)
	}
	if r.EnableIPv6 != nil {
		s.IPv6 = *r.EnableIPv6
		delete(s.Options, catenet.OptionIPv6)
	}
	if r.IPAM == nil {
		return s, nil
	}
	if d := r.IPAM.Driver; d != "" && d != "default" {
		return s, catenet.Invalidf("there is no IPAM driver %q", d).WithHint("there is one, default")
	}
	if len(r.IPAM.Options) > 0 {
		return s, catenet.Invalidf("the IPAM driver has no options").WithHint("leave --ipam-opt (IPAM.Options) out")
	}
	for _, c := range r.IPAM.Config {
		if c.Subnet == (netip.Prefix{}) && c.IPRange == (netip.Prefix{}) && c.Gateway == (netip.Addr{}) && len(c.AuxAddress) == 0 {
			continue
		}
		s.Pools = append(s.Pools, catenet.Pool{Subnet: c.Subnet, Range: c.IPRange, Gateway: c.Gateway, Aux: c.AuxAddress})
		// Docker drops an IPv6 subnet of a network that nobody said has IPv6;
		// who gives one wants it.
		s.IPv6 = s.IPv6 || r.EnableIPv6 == nil && c.Subnet.Addr().Is6()
	}
	return s, nil
}
