package dockerplugin

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// Options of docker network create that are ours: which network it is, or of
// what kind it is to be. All others are the driver's.
const (
	optionNetwork = "catenet.network"
	optionDriver  = "catenet.driver"
)

// labelPrefix begins the label of a network that is one of Docker's, too; Docker's
// ID follows. Its value tells how that came.
const (
	labelPrefix = "catenet.docker/"
	made        = "made"  // by dockerd, which ends it
	bound       = "bound" // it was there, and stays
)

// namePrefix begins the name of a network or container until dockerd tells it.
const namePrefix = "docker-"

// Keys of the options that dockerd sends.
const (
	keyGeneric  = "com.docker.network.generic"
	keyIPv6     = "com.docker.network.enable_ipv6"
	keyInternal = "com.docker.network.internal"
)

type ipamData struct {
	AddressSpace string
	Pool         netip.Prefix
	Gateway      string // with the subnet's length
	AuxAddresses map[string]string
}

type networkRequest struct {
	NetworkID          string
	Options            map[string]any
	IPv4Data, IPv6Data []ipamData
}

// network finds the network that is Docker's network id.
func (p *Plugin) network(ctx context.Context, id string) (catenet.NetworkStatus, error) {
	all, err := p.o.Engine.Networks(ctx)
	if err != nil {
		return catenet.NetworkStatus{}, err
	}
	for _, n := range all {
		if _, ok := n.Labels[labelPrefix+id]; ok {
			return n, nil
		}
	}
	return catenet.NetworkStatus{}, catenet.NotFoundf("catenet has no network for Docker's network %s", catenet.ShortID(id)).
		WithHint("remove it, docker network rm, and make it again")
}

func (p *Plugin) createNetwork(ctx context.Context, q networkRequest) (any, error) {
	if !catenet.IsID(q.NetworkID) {
		return nil, catenet.Invalidf("%q is no ID of a network", q.NetworkID)
	}
	if _, err := p.network(ctx, q.NetworkID); err == nil {
		return empty{}, nil // asked once more
	}
	options := make(map[string]string)
	generic, _ := q.Options[keyGeneric].(map[string]any)
	for key, v := range generic {
		if s, ok := v.(string); ok {
			options[key] = s
		}
	}
	name, driver := options[optionNetwork], options[optionDriver]
	delete(options, optionNetwork)
	delete(options, optionDriver)
	internal, _ := q.Options[keyInternal].(bool)
	var err error
	if name != "" {
		err = p.bindNetwork(ctx, q, name, driver, internal, options)
	} else {
		err = p.makeNetwork(ctx, q, driver, internal, options)
	}
	if err != nil {
		return nil, err
	}
	p.forward(ctx, 1)
	return empty{}, nil
}

// bindNetwork makes a network that exists Docker's as well.
func (p *Plugin) bindNetwork(ctx context.Context, q networkRequest, name, driver string, internal bool, options map[string]string) error {
	n, err := p.o.Engine.Network(ctx, name)
	if err != nil {
		return err
	}
	if driver != "" && driver != n.Driver || internal && !n.Internal || len(options) > 0 {
		return catenet.Invalidf("network %s exists, and is what it is: no other option goes with %s", n.Name, optionNetwork).
			WithHint("leave out --internal and %s", strings.Join(append(slices.Sorted(maps.Keys(options)), optionDriver), ", "))
	}
	for _, d := range slices.Concat(q.IPv4Data, q.IPv6Data) {
		if d.AddressSpace != addressSpace || !slices.ContainsFunc(n.Pools, func(pool catenet.Pool) bool { return pool.Subnet == d.Pool }) {
			return catenet.Invalidf("dockerd would hand out addresses of %s, and catenet those of network %s", d.Pool, n.Name).
				WithHint("docker network create -d catenet --ipam-driver catenet --ipam-opt %s=%s -o %s=%s …", optionNetwork, n.Name, optionNetwork, n.Name)
		}
	}
	_, _, err = p.o.Engine.UpdateNetwork(ctx, n.ID, catenet.NetworkUpdate{AddLabels: map[string]string{labelPrefix + q.NetworkID: bound}})
	return err
}

// theirs is the half of a subnet that dockerd, which counts up from its beginning,
// hands addresses out of. The other is left to us; an address that comes from both
// is refused.
func theirs(subnet netip.Prefix) ([]catenet.Range, error) {
	half, err := subnet.Addr().Prefix(subnet.Bits() + 1)
	if err != nil { // there is one address
		return nil, catenet.Invalidf("subnet %s is too small to share with dockerd", subnet).WithHint("make the network with --ipam-driver catenet")
	}
	r, err := catenet.ParseRange(half.String())
	return []catenet.Range{r}, err
}

// makeNetwork makes a network that is Docker's from the beginning. If dockerd hands
// out its addresses, our allocator leaves it half of them.
func (p *Plugin) makeNetwork(ctx context.Context, q networkRequest, driver string, internal bool, options map[string]string) error {
	ipv6, _ := q.Options[keyIPv6].(bool)
	spec := catenet.NetworkSpec{
		Name: namePrefix + catenet.ShortID(q.NetworkID), Driver: driver, Internal: internal, Options: options,
		DisableIPv4: len(q.IPv4Data) == 0, IPv6: ipv6 || len(q.IPv6Data) > 0,
		Labels: map[string]string{labelPrefix + q.NetworkID: made}, TakeClaims: true,
	}
	claims, err := p.o.Engine.Claims(ctx)
	if err != nil {
		return err
	}
	for _, d := range slices.Concat(q.IPv4Data, q.IPv6Data) {
		pool, err := poolOf(d)
		if err != nil {
			return err
		}
		if d.AddressSpace == addressSpace {
			for _, c := range claims {
				if c.Subnet == pool.Subnet {
					pool.Range = c.Range
				}
			}
		} else if pool.SetAside, err = theirs(pool.Subnet); err != nil {
			return err
		}
		spec.Pools = append(spec.Pools, pool)
	}
	_, _, err = p.o.Engine.CreateNetwork(ctx, spec)
	return err
}

// poolOf reads what dockerd says of one pool.
func poolOf(d ipamData) (catenet.Pool, error) {
	pool := catenet.Pool{Subnet: d.Pool.Masked(), Aux: make(map[string]netip.Addr)}
	if d.Gateway != "" {
		gateway, err := addressOf(d.Gateway)
		if err != nil {
			return pool, err
		}
		pool.Gateway = gateway
	}
	for name, text := range d.AuxAddresses {
		a, err := addressOf(text)
		if err != nil {
			return pool, err
		}
		pool.Aux[name] = a
	}
	return pool, nil
}

// addressOf reads an address with or without its subnet's length.
func addressOf(text string) (netip.Addr, error) {
	text, _, _ = strings.Cut(text, "/")
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, catenet.Invalidf("%q is no IP address", text)
	}
	return a.Unmap(), nil
}

// deleteNetwork removes a network that dockerd has made. dockerd forgets it whatever
// we answer: one that others are in is ours alone from then on.
func (p *Plugin) deleteNetwork(ctx context.Context, q networkRequest) (any, error) {
	n, err := p.network(ctx, q.NetworkID)
	if catenet.IsNotFound(err) {
		return empty{}, nil
	}
	if err != nil {
		return nil, err
	}
	stays := n.Labels[labelPrefix+q.NetworkID] == bound
	if Count([]catenet.NetworkStatus{n}) == 1 { // it is none other of Docker's networks
		if err := p.vacate(ctx, n.ID); err != nil {
			return nil, err
		}
	}
	if !stays {
		_, err = p.o.Engine.RemoveNetwork(ctx, n.ID)
		stays = catenet.KindOf(err) == catenet.KindForbidden // somebody else is in it
	}
	if stays {
		_, _, err = p.o.Engine.UpdateNetwork(ctx, n.ID, catenet.NetworkUpdate{DropLabels: []string{labelPrefix + q.NetworkID}})
	}
	if err != nil && !catenet.IsNotFound(err) {
		return nil, err
	}
	p.forward(ctx, 0)
	return empty{}, nil
}

// Count counts Docker's networks among some.
func Count(networks []catenet.NetworkStatus) (n int) {
	for _, on := range networks {
		for key := range on.Labels {
			if strings.HasPrefix(key, labelPrefix) {
				n++
			}
		}
	}
	return n
}

// forward has our packets pass dockerd's rules from its first network here to its
// last: it drops what is forwarded unless its users' own chain says otherwise.
// Docker's network works without, so a failure is only told. left is how many
// networks make it the first or last one.
func (p *Plugin) forward(ctx context.Context, left int) {
	all, err := p.o.Engine.Networks(ctx)
	if err == nil && Count(all) == left {
		err = p.o.Forward(ctx, left > 0)
	}
	if err != nil {
		p.log.Error("let packets pass in DOCKER-USER", "err", err)
	}
}
