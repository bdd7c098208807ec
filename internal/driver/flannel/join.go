package flannel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
)

// Join implements driver.Spanning. The same host has the same part again, since the
// registry knows it by its address. Nothing but the config is written before it is sure
// that this host can have a part.
func (d Driver) Join(ctx context.Context, h kernel.Host, n catenet.Network, ahead func([]netip.Prefix) error) (part catenet.Part, err error) {
	o, err := d.parse(n.NetworkSpec)
	if err != nil {
		return part, err
	}
	if len(n.Pools) > 0 {
		return part, catenet.Invalidf("the subnets of a flannel network come from its registry").WithHint("leave --subnet, --ip-range and --gateway out")
	}
	p := held{MAC4: vtep(n.ID, 4), MAC6: vtep(n.ID, 6)}
	if p.site, err = look(ctx, h, o, site{}); err != nil {
		return part, err
	}
	if p.Subnets, err = flannel.ReadEnv(o.file); err != nil {
		return part, err
	}
	store, err := d.store(o)
	if err != nil {
		return part, err
	}
	defer func() { err = errors.Join(o.advise(named(err)), store.Close()) }()
	if o.config != "" {
		if err := flannel.WriteConfig(ctx, o.registry(store), o.config); err != nil {
			return part, err
		}
	}
	node := d.node(p, n)
	node.Backend = func(c flannel.Config) (flannel.BackendData, error) {
		p.config = c
		err := ahead(p.span())
		if err == nil && n.IPv6 && !p.dual() {
			err = catenet.Invalidf("the network has no IPv6, by its config in etcd and its backend, which is %s", p.backend()).
				WithHint("leave --ipv6 out: the config says which families there are")
		}
		if err == nil {
			err = p.tells(o.file)
		}
		if err == nil && !o.noBridge {
			err = p.vacant(ctx, h)
		}
		if err == nil {
			err = d.admit(ctx, h, n.ID, &p) // which may bring other MACs
		}
		return p.backendData(c), err
	}
	return d.take(ctx, o, store, node, &p)
}

// take has the registry give the node its subnets.
func (d Driver) take(ctx context.Context, o options, store etcd.Store, node flannel.Node, p *held) (catenet.Part, error) {
	joined, err := flannel.Join(ctx, o.registry(store), node)
	if err != nil {
		return catenet.Part{}, err
	}
	p.config, p.State = joined.Config(), joined.State()
	p.site = p.at(p.site)
	return p.part(o)
}

// look finds where this host is. An address that it was at before and still has is
// kept, whatever order they come in.
func look(ctx context.Context, h kernel.Host, o options, was site) (site, error) {
	which := o.iface
	if which == "" && o.ip.IsValid() {
		which = o.ip.String()
	}
	u, err := h.Underlay(ctx, which)
	if catenet.IsNotFound(err) && o.iface == "" && which != "" { // reached by an address that others translate
		u, err = h.Underlay(ctx, "")
	}
	if catenet.IsNotFound(err) {
		return site{}, catenet.NotFoundf("find the link that other hosts are behind: %w", err).
			WithHint("name it, or an address of it, such as -o %s=eth0; those that there are: ip -br addr", optIface)
	}
	if err != nil {
		return site{}, fmt.Errorf("find the link that other hosts are behind: %w", err)
	}
	named, _ := netip.ParseAddr(o.iface)
	s := site{Under: u.Link, MTU: u.MTU, Local4: choose(u.IPv4, named, o.ip, was.Local4), Local6: choose(u.IPv6, named, o.ipv6, was.Local6)}
	s.IP, s.IPv6 = o.ip, o.ipv6
	if !s.IP.IsValid() {
		s.IP = s.Local4
	}
	if !s.IPv6.IsValid() {
		s.IPv6 = s.Local6
	}
	if !s.Local4.IsValid() {
		return s, catenet.NotFoundf("link %s, which other hosts are to be behind, has no IPv4 address that they could reach", u.Link).
			WithHint("-o %s= names another link, or its address", optIface)
	}
	return s, nil
}

// choose returns the first of the wanted addresses that there is, else the first that
// there is, else none.
func choose(there []netip.Addr, wanted ...netip.Addr) netip.Addr {
	for _, w := range wanted {
		if slices.Contains(there, w) {
			return w
		}
	}
	return append(slices.Clone(there), netip.Addr{})[0]
}

// admit checks that this host can have a part of such a network, and chooses what its
// devices are called.
func (d Driver) admit(ctx context.Context, h kernel.Host, networkID string, p *held) error {
	if err := p.suits(); err != nil {
		return err
	}
	if p.backend() == flannel.BackendUDP {
		return d.tryTunnel(ctx, h, networkID, p)
	}
	macs := []*flannel.MAC{&p.MAC4, &p.MAC6}
	for i, l := range p.devices(networkID) {
		if err := catenet.ValidateInterfaceName(l.Name); err != nil {
			return catenet.Invalidf("flannel config: Backend.VNI: no device can be called %s", l.Name).WithHint("choose a smaller number")
		}
		left, err := h.Link(ctx, l.Name)
		switch {
		case catenet.IsNotFound(err):
			continue
		case err == nil:
			err = inherit(ctx, h, left, l)
		}
		if err != nil {
			return err
		}
		copy(macs[i][:], left.MAC)
	}
	return nil
}

// suits checks that the backend works where this host is.
func (p held) suits() error {
	least, most := 68, p.mtu()
	if p.dual() {
		least, most = 1280, p.mtu6()
	}
	switch {
	case most < least:
		return catenet.Invalidf("packets of %d bytes are too small for a network: %s takes no more than %d", most, p.Under, p.underlay()).
			WithHint("%d bytes at least; -o %s= names another link", least, optIface)
	case p.dual() && !p.IPv6.IsValid():
		return catenet.NotFoundf("the network has IPv6, and link %s has no IPv6 address at which this host is reached", p.Under).
			WithHint("give it one, or name another with -o %s= or -o %s=", optIPv6, optIface)
	case p.backend() != flannel.BackendHostGW:
		return nil
	case p.IP != p.Local4:
		return catenet.Invalidf("option %s: %v is no address of %s, as the host-gw backend needs it", optIP, p.IP, p.Under).
			WithHint("leave it out, or name the link with -o %s=", optIface)
	case p.dual() && p.IPv6 != p.Local6:
		return catenet.Invalidf("option %s: %v is no address of %s, as the host-gw backend needs it", optIPv6, p.IPv6, p.Under).
			WithHint("leave it out, or name the link with -o %s=", optIface)
	}
	return nil
}

// tryTunnel finds a name for the TUN device, and out whether the port is free: a
// flanneld of this host would have it.
func (d Driver) tryTunnel(ctx context.Context, h kernel.Host, networkID string, p *held) error {
	for i := 0; ; i++ {
		p.Device = fmt.Sprintf("flannel%d", i)
		_, err := h.Link(ctx, p.Device)
		if catenet.IsNotFound(err) {
			break
		}
		if err != nil {
			return err
		}
	}
	trial := *p
	trial.Subnets = flannel.Subnets{}
	tunnel, err := d.openTunnel(ctx, networkID, trial)
	if err == nil {
		err = tunnel.Close()
	}
	if err = errors.Join(err, h.DeleteLinks(ctx, p.Device)); err != nil {
		return fmt.Errorf("try the udp backend: %w", err)
	}
	return nil
}

// openTunnel opens the TUN device and the socket of the udp backend.
func (d Driver) openTunnel(ctx context.Context, networkID string, p held) (kernel.Tunnel, error) {
	tun := p.tun(networkID)
	return d.tunnels.OpenTunnel(ctx, kernel.TunnelSpec{
		// A processor of Go's is left to all else: who carries packets keeps one, and
		// where none is free each of its waits costs more.
		Device: tun.Name, Alias: tun.Alias, MTU: tun.MTU, Addrs: tun.Addrs, Lanes: max(1, runtime.GOMAXPROCS(0)-1),
		Bind: netip.AddrPortFrom(p.Local4, uint16(p.config.Backend.Port)),
	})
}

// Leave implements driver.Spanning.
func (d Driver) Leave(ctx context.Context, n catenet.Network) (err error) {
	o, err := d.parse(n.NetworkSpec)
	if err != nil {
		return err
	}
	store, err := d.store(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return flannel.Leave(ctx, o.registry(store), lease(n.ID))
}
