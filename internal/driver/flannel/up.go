package flannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
)

// devices are the vxlan devices of a network, one of each family.
func (p held) devices(networkID string) []kernel.Link {
	if p.backend() != flannel.BackendVXLAN {
		return nil
	}
	b := p.config.Backend
	device := func(name string, mac flannel.MAC, local netip.Addr, subnet netip.Prefix, mtu int) kernel.Link {
		l := kernel.Link{
			Name: name, Kind: "vxlan", Alias: kernel.Mark + networkID, MTU: mtu, MAC: mac[:], NoIPv6: local.Is4(),
			VXLAN: &kernel.VXLAN{VNI: uint32(b.VNI), Port: uint16(cmp.Or(b.Port, vxlanPort)), Local: local, Under: p.Under, Learning: b.Learning, GBP: b.GBP},
		}
		if subnet.IsValid() {
			l.Addrs = []netip.Prefix{netip.PrefixFrom(subnet.Addr(), subnet.Addr().BitLen())}
		}
		return l
	}
	all := []kernel.Link{device(p.vxlan(true), p.MAC4, p.Local4, p.Subnets.IPv4, p.mtu())}
	if p.dual() {
		all = append(all, device(p.vxlan(false), p.MAC6, p.Local6, p.Subnets.IPv6, p.mtu6()))
	}
	return all
}

// tun is the TUN device of the udp backend. It has an address once the host has a
// subnet.
func (p held) tun(networkID string) kernel.Link {
	l := kernel.Link{Name: p.Device, Kind: "tun", Alias: kernel.Mark + networkID, MTU: p.mtu(), NoIPv6: true}
	if four := p.Subnets.IPv4; four.IsValid() {
		l.Addrs = []netip.Prefix{netip.PrefixFrom(four.Addr(), 32)}
	}
	return l
}

// vxlan is what the device of a family is called.
func (p held) vxlan(four bool) string {
	if four {
		return fmt.Sprintf("flannel.%d", p.config.Backend.VNI)
	}
	return fmt.Sprintf("flannel-v6.%d", p.config.Backend.VNI)
}

// tunnels are the links that lead to the other hosts by a tunnel.
func (p held) tunnels() (names []string) {
	for _, l := range p.devices("") {
		names = append(names, l.Name)
	}
	if p.Device != "" {
		names = append(names, p.Device)
	}
	return names
}

// plain reports whether other hosts are reached by routes, all of them or those that
// are on one wire with this one.
func (p held) plain() bool {
	return p.backend() == flannel.BackendHostGW || p.backend() == flannel.BackendVXLAN && p.config.Backend.DirectRouting
}

// by are the links that what comes from other hosts arrives on.
func (p held) by() []string {
	by := p.tunnels()
	if p.plain() {
		by = append(by, p.Under)
	}
	return by
}

// Up makes the bridge, the vxlan devices and the subnet file. It needs nobody: what leads to the other
// hosts the kernel has kept, or Run puts back.
func (d Driver) Up(ctx context.Context, h kernel.Host, n catenet.Network) (driver.State, error) {
	o, p, err := d.read(n)
	if err != nil {
		return driver.State{}, err
	}
	n.NetworkSpec = o.base
	reached, err := h.Reached(ctx)
	var made []string
	if err == nil {
		err = h.EnableForwarding(ctx, true, p.dual())
	}
	if err == nil {
		made, err = p.makeDevices(ctx, h, n.ID)
	}
	here := ctx
	if err != nil { // what the network wants of the firewall is to be said all the same
		here = kernel.Looking(ctx)
	}
	state, failed := d.onHost(here, h, n, o)
	if err == nil {
		err = failed
	}
	if err != nil {
		err = errors.Join(err, h.DeleteLinks(context.WithoutCancel(ctx), made...))
	}
	for i := range state.Firewall { // none where the bridge driver cannot read the network
		wants := &state.Firewall[i]
		wants.Span, wants.By, wants.Hosts = p.span(), p.by(), p.hostsOf(reached)
	}
	state.Links = p.tunnels()
	if err == nil && !kernel.Looks(ctx) { // whoever made the network reads it next
		if err := p.writeFile(o); err != nil { // Run tries on
			state.Warnings = append(state.Warnings, err.Error())
		}
	}
	return state, err
}

// onHost is the network on this host alone.
func (d Driver) onHost(ctx context.Context, h kernel.Host, n catenet.Network, o options) (driver.State, error) {
	if !o.noBridge {
		return d.Driver.Up(ctx, h, n)
	}
	hide := firewall.Gateway{Masquerade: o.masquerade}
	return driver.State{Firewall: []firewall.Network{{ID: n.ID, Subnets: n.Part.Subnets, V4: hide, V6: hide}}}, nil
}

// makeDevices makes the vxlan devices, and returns those that were not there. The TUN
// device of udp is Run's to make; where it is, it is put right.
func (p held) makeDevices(ctx context.Context, h kernel.Host, networkID string) (made []string, err error) {
	devices := p.devices(networkID)
	if len(devices) == 0 && p.Device == "" {
		return nil, nil
	}
	ours, err := h.Links(ctx)
	if err != nil {
		return nil, err
	}
	if tun := p.tun(networkID); slices.ContainsFunc(ours, func(o kernel.Link) bool { return o.Name == tun.Name && o.Alias == tun.Alias }) {
		devices = append(devices, tun)
	}
	for _, l := range devices {
		if err := h.EnsureLink(ctx, l); catenet.IsConflict(err) && !kernel.Looks(ctx) {
			return made, foreign(l.Name, "it is not this network's")
		} else if err != nil {
			return made, err
		}
		if !slices.ContainsFunc(ours, func(o kernel.Link) bool { return o.Name == l.Name }) {
			made = append(made, l.Name)
		}
	}
	return made, nil
}

// hostsOf are the hosts that routes lead to without a tunnel.
func (p held) hostsOf(reached []kernel.Reach) (hosts []netip.Addr) {
	for _, r := range reached {
		if slices.ContainsFunc(p.span(), r.Subnet.Overlaps) && r.Via.IsValid() && !slices.Contains(p.tunnels(), r.Link) {
			hosts = append(hosts, r.Via)
		}
	}
	return sorted(hosts)
}

func sorted(hosts []netip.Addr) []netip.Addr {
	slices.SortFunc(hosts, netip.Addr.Compare)
	return slices.Compact(hosts)
}

// Down removes the routes and devices, by their marks, the subnet file, if it tells of
// this network, then the bridge.
func (d Driver) Down(ctx context.Context, h kernel.Host, n catenet.Network) error {
	o, p, err := d.read(n)
	if err != nil {
		return err
	}
	n.NetworkSpec = o.base
	err = driver.Lead(ctx, h, p.span(), nil, p.tunnels()...)
	links, lerr := h.Links(ctx)
	var devices []string
	for _, l := range links {
		if l.Kind != "bridge" && l.Alias == kernel.Mark+n.ID {
			devices = append(devices, l.Name)
		}
	}
	if len(devices) > 0 {
		lerr = errors.Join(lerr, h.DeleteLinks(ctx, devices...))
	}
	return errors.Join(err, lerr, flannel.RemoveEnv(o.file, p.env(o.masquerade)), d.Driver.Down(ctx, h, n))
}
