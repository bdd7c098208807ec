package netavark

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// domain is what Podman's containers may write behind each other's names.
const domain = ".dns.podman"

// join is one network that a container is to join.
type join struct {
	Network
	spec catenet.EndpointSpec
}

// setup joins the namespace at path to networks. A container that is known
// joins those that it is not in yet; one that has another namespace by now was
// started anew, and its end was missed.
func (f *Front) setup(ctx context.Context, path string, r request) (map[string]status, error) {
	joins, err := r.joins()
	if err != nil {
		return nil, err
	}
	ports, err := r.ports()
	if err != nil {
		return nil, err
	}
	for _, j := range joins {
		if err := f.prepare(ctx, j.Network); err != nil {
			return nil, err
		}
	}
	sb, found, err := f.sandbox(ctx, r.ContainerID)
	if err != nil {
		return nil, err
	}
	if found && sb.Netns != path {
		if err := f.engine.Remove(ctx, sb.ID, true); err != nil && !catenet.IsNotFound(err) {
			return nil, fmt.Errorf("remove what is left of the container's last run: %w", err)
		}
		sb, found = catenet.SandboxStatus{}, false
	}
	// A plugin is told of one network at a time: ports wait for one that leads outside.
	if r.Network != nil && r.Network.Internal {
		ports = nil
	}
	tellApart(joins, sb)
	if found {
		err = f.connect(ctx, sb, joins, ports)
	} else {
		err = f.attach(ctx, path, r, joins, ports)
	}
	if err != nil {
		return nil, err
	}
	if sb, _, err = f.sandbox(ctx, r.ContainerID); err != nil {
		return nil, err
	}
	out := make(map[string]status)
	for _, j := range joins {
		out[j.Name] = j.status(sb)
	}
	return out, nil
}

// prepare sees to it that a network is there, and that Podman knows what of it
// it shares.
func (f *Front) prepare(ctx context.Context, n Network) error {
	have, err := f.network(ctx, n)
	if err != nil {
		return err
	}
	tell, err := f.share(ctx, n, have)
	if err != nil || len(tell) == 0 {
		return err
	}
	if err := f.define(n, tell); err != nil {
		f.log.Warn("Podman is not told which addresses of its network are its own: it may choose some that are taken",
			"network", n.Name, "its_own", tell, "err", err, "hint", "--podman-networks names its folder")
	}
	return nil
}

// attach makes a container known.
func (f *Front) attach(ctx context.Context, path string, r request, joins []join, ports []catenet.PortSpec) error {
	spec := catenet.SandboxSpec{
		Name: r.ContainerName, Owner: catenet.OwnerPodman, RuntimeID: r.ContainerID, Netns: path,
		Ports: ports, PortsHeld: true, DNS: catenet.DNSConfig{Servers: r.DNS},
	}
	for _, j := range joins {
		spec.Networks = append(spec.Networks, j.spec)
	}
	_, err := f.engine.CreateSandbox(ctx, spec, true)
	return err
}

// connect joins a container to further networks: to all, or to none. One that
// it is in already, as asked, was joined by a call whose answer was lost; so
// are ports that it has.
func (f *Front) connect(ctx context.Context, sb catenet.SandboxStatus, joins []join, ports []catenet.PortSpec) (err error) {
	var done []string
	defer func() {
		if err != nil {
			err = errors.Join(err, f.engine.Leave(ctx, sb.ID, done, nil))
		}
	}()
	for _, j := range joins {
		if ep, ok := endpoint(sb, j.Name); ok && j.asked(ep) {
			continue
		}
		ep, err := f.engine.Connect(ctx, j.Name, sb.ID, j.spec)
		if err != nil {
			return err
		}
		done = append(done, ep.ID)
	}
	ports = slices.DeleteFunc(ports, func(p catenet.PortSpec) bool { return slices.Contains(sb.Ports, p) })
	if len(ports) > 0 {
		_, err = f.engine.UpdateSandbox(ctx, sb.ID, catenet.SandboxUpdate{Publish: ports})
	}
	return err
}

// asked reports whether an endpoint is what a join asks for.
func (j join) asked(ep catenet.Endpoint) bool {
	return ep.Spec.Interface == j.spec.Interface && ep.Spec.IPv4 == j.spec.IPv4 && ep.Spec.IPv6 == j.spec.IPv6 && ep.Spec.MAC == j.spec.MAC
}

// endpoint is a container's place in a network.
func endpoint(sb catenet.SandboxStatus, network string) (catenet.Endpoint, bool) {
	i := slices.IndexFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return ep.Spec.Network == network })
	if i < 0 {
		return catenet.Endpoint{}, false
	}
	return sb.Endpoints[i], true
}

// status is what Podman shows of a container's place in a network.
func (j join) status(sb catenet.SandboxStatus) status {
	ep, _ := endpoint(sb, j.Name)
	link := linkState{MAC: ep.MAC, Subnets: []address{}}
	for _, a := range []address{{ep.IPv4, ep.Gateway4}, {ep.IPv6, ep.Gateway6}} {
		if a.Address.IsValid() {
			link.Subnets = append(link.Subnets, a)
		}
	}
	s := status{Search: []string{}, Servers: []netip.Addr{}, Interfaces: map[string]linkState{ep.Interface: link}}
	if j.DNS {
		s.Servers = append(s.Servers, resolver(ep))
	}
	return s
}

// tellApart gives each network its own address of the resolver. When a container
// leaves a network, Podman takes what was told for that out of its resolv.conf, by
// the address. A container's only one is told the usual address.
func tellApart(joins []join, sb catenet.SandboxStatus) {
	several := len(joins) > 1 || slices.ContainsFunc(sb.Endpoints, func(ep catenet.Endpoint) bool { return ep.Spec.Network != joins[0].Name })
	for i, j := range joins {
		joins[i].spec.OwnResolver = several && j.DNS
	}
}

// resolver is where a container is told to find its resolver of ours.
func resolver(ep catenet.Endpoint) netip.Addr {
	if id, err := hex.DecodeString(ep.NetworkID[:min(6, len(ep.NetworkID))]); err == nil && len(id) == 3 && ep.Spec.OwnResolver {
		return netip.AddrFrom4([4]byte{127, 128 | id[0], id[1], id[2]})
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 11})
}

// joins are the networks of a request, with what is asked of each.
func (r request) joins() (out []join, err error) {
	if r.Network != nil && r.Options != nil {
		r.Options.Name = r.Network.Name
		r.Networks, r.Info = memberships{*r.Options}, map[string]Network{r.Network.Name: *r.Network}
	}
	if r.ContainerID == "" || len(r.Networks) == 0 {
		return nil, catenet.Invalidf("the request names no container or no network")
	}
	for _, m := range r.Networks {
		n, ok := r.Info[m.Name]
		if !ok || n.Name != m.Name {
			return nil, catenet.Invalidf("the request does not describe the network %q", m.Name)
		}
		spec, err := n.endpoint(m, r.ContainerName)
		if err != nil {
			return nil, err
		}
		out = append(out, join{n, spec})
	}
	return out, nil
}

// endpoint translates what a container asks of a network.
func (n Network) endpoint(m membership, container string) (catenet.EndpointSpec, error) {
	spec := catenet.EndpointSpec{Network: n.Name, MAC: m.MAC, Interface: m.Interface, Aliases: m.Aliases}
	for _, name := range append([]string{container}, m.Aliases...) {
		if whole := name + domain; name != "" && len(whole) <= catenet.MaxName {
			spec.Aliases = append(spec.Aliases, whole)
		}
	}
	for key := range m.Options {
		return spec, catenet.Unsupportedf("a container in network %s has the option %s, which catenet does not know", n.Name, key).
			WithHint("leave it out")
	}
	if len(m.IPs) == 0 && n.IPAM["driver"] != "none" {
		return spec, catenet.Invalidf("Podman has chosen no address in network %s", n.Name)
	}
	for _, ip := range m.IPs {
		field := &spec.IPv6
		if ip = ip.Unmap(); ip.Is4() {
			field = &spec.IPv4
		}
		if field.IsValid() {
			return spec, n.unsupported("gives a container several addresses of one family", "give it one subnet of each family")
		}
		*field = ip
	}
	if value := n.Options["metric"]; value != "" {
		metric, err := strconv.Atoi(value)
		if err != nil {
			return spec, catenet.Invalidf("the metric %q of network %s is no number", value, n.Name)
		}
		spec.GwPriority = usualMetric - metric
	}
	if none, err := strconv.ParseBool(n.Options["no_default_route"]); err == nil && none {
		spec.NoDefault4, spec.NoDefault6 = true, true
	}
	return spec, nil
}

// usualMetric is that of routes which name none: the lower goes first.
const usualMetric = 100

// maxPorts is about how many ports a request may have: each protocol's, some
// twice.
const maxPorts = 1 << 18

// ports are the published ones.
func (r request) ports() (out []catenet.PortSpec, err error) {
	for _, m := range r.Ports {
		var ip netip.Addr
		if m.HostIP != "" {
			if ip, err = netip.ParseAddr(m.HostIP); err != nil {
				return nil, catenet.Invalidf("%q, on which a port is to be published, is no IP address", m.HostIP)
			}
		}
		last := int(max(m.Range, 1)) - 1
		if int(m.HostPort)+last > 65535 || int(m.ContainerPort)+last > 65535 {
			return nil, catenet.Invalidf("%d ports from %d and %d on are too many", m.Range, m.HostPort, m.ContainerPort)
		}
		proto := m.Protocol
		if proto == "" {
			proto = string(catenet.TCP)
		}
		for p := range strings.SplitSeq(proto, ",") {
			if len(out) > maxPorts {
				return nil, catenet.Invalidf("more than %d ports are to be published", maxPorts)
			}
			for i := uint16(0); int(i) <= last; i++ {
				out = append(out, catenet.PortSpec{
					Proto: catenet.Proto(p), HostIP: ip, Port: m.ContainerPort + i, HostPort: m.HostPort + i, HostPortEnd: m.HostPort + i,
				})
			}
		}
	}
	slices.SortFunc(out, func(a, b catenet.PortSpec) int { // Podman tells them in any order
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.HostPort, b.HostPort))
	})
	return out, nil
}
