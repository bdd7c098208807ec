package cni

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// Labels of networks that were made from a configuration, and of endpoints.
const (
	labelMade  = "cni.dev/made-from" // network: what it was made from, as JSON
	labelName  = "cni.dev/name"      // endpoint: the configuration's name
	labelPorts = "cni.dev/ports"     // endpoint: its port mappings, as JSON
)

// Docker's names of the options of a bridge that the vocabulary does not have.
const (
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optICC        = "com.docker.network.bridge.enable_icc"
	optInhibit    = "com.docker.network.bridge.inhibit_ipv4"
)

// recipe is what of a configuration makes the network what it is: as long as
// it is the same, so is the network.
type recipe struct {
	bridgeConfig
	Ranges [][]rangeConfig `json:"ranges,omitempty"`
	Routes []routeConfig   `json:"routes,omitempty"`
}

// recipe gathers the ranges, which may stand in three places.
func (c config) recipe() recipe {
	r := recipe{bridgeConfig: c.bridgeConfig, Ranges: c.RuntimeConfig.IPRanges}
	if c.IPAM != nil {
		if c.IPAM.Subnet.IsValid() {
			r.Ranges = append(r.Ranges, []rangeConfig{c.IPAM.rangeConfig})
		}
		r.Ranges, r.Routes = append(r.Ranges, c.IPAM.Ranges...), c.IPAM.Routes
	}
	return r
}

// network finds the network of a configuration, and makes it if it is one that
// the configuration describes and that is not there yet.
func (f *Front) network(ctx context.Context, c config) (catenet.Network, error) {
	if c.Network != "" {
		n, err := f.engine.Network(ctx, c.Network)
		return n.Network, err
	}
	spec, err := c.spec()
	if err != nil {
		return catenet.Network{}, err
	}
	defer f.busy.hold("network " + c.Name)()
	n, err := f.engine.Network(ctx, c.Name)
	if catenet.IsNotFound(err) {
		made, _, err := f.engine.CreateNetwork(ctx, spec)
		return made, err
	}
	if err != nil || !c.bridged {
		return n.Network, err
	}
	return n.Network, c.same(n.Network)
}

// same says in what a configuration is another than the one that its network
// was made from.
func (c config) same(n catenet.Network) error {
	text, ok := n.Labels[labelMade]
	if !ok {
		return catenet.Conflictf("network %s exists, and was not made from a CNI configuration", n.Name).
			WithHint(`"network": %q joins it; else give this configuration another name`, n.Name)
	}
	was, is := make(map[string]any), make(map[string]any)
	now, err := json.Marshal(c.recipe())
	if err == nil {
		err = json.Unmarshal(now, &is)
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &was)
	}
	if err != nil {
		return catenet.Errorf(catenet.KindInternal, "read what network %s was made from: %w", n.Name, err)
	}
	var changed []string
	keys := maps.Clone(was)
	maps.Copy(keys, is)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(was[key], is[key]) {
			changed = append(changed, key)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return catenet.Conflictf("network %s was made from a configuration with other values of: %s", n.Name, strings.Join(changed, ", ")).
		WithHint("catenet network rm %s once nobody is in it, or give the configuration another name", n.Name)
}

// spec is the network that a configuration describes.
func (c config) spec() (catenet.NetworkSpec, error) {
	spec := catenet.NetworkSpec{Name: c.Name, Driver: "bridge"}
	if !c.bridged {
		return spec, nil
	}
	r := c.recipe()
	text, err := json.Marshal(r)
	if err != nil {
		return spec, err
	}
	spec.Labels = map[string]string{labelMade: string(text)}
	spec.Options = map[string]string{
		catenet.OptionBridge: cmp.Or(c.Bridge, "cni0"),
		optMasquerade:        strconv.FormatBool(c.IPMasq),
	}
	if c.MTU != 0 {
		spec.Options[catenet.OptionMTU] = strconv.Itoa(c.MTU)
	}
	if c.PortIsolation {
		spec.Options[optICC] = "false"
	}
	if err := r.pools(&spec); err != nil {
		return spec, err
	}
	if !c.IPMasq { // what is not hidden is there to be reached
		spec.Options[catenet.OptionGatewayMode4] = string(catenet.GatewayUnprotected)
		if spec.IPv6 {
			spec.Options[catenet.OptionGatewayMode6] = string(catenet.GatewayUnprotected)
		}
	}
	if !c.IsGateway && !c.IsDefaultGateway {
		if spec.IPv6 {
			return spec, coded(codeField, catenet.Unsupportedf("isGateway: false is not supported with IPv6 ranges: the bridge always has their gateway's address").
				WithHint("set isGateway, or leave the IPv6 ranges out"))
		}
		spec.Options[optInhibit] = "true"
	}
	return spec, nil
}

// pools puts the ranges and routes into a network. In each set of ranges all
// are of one family, and an address comes from one of them.
func (r recipe) pools(spec *catenet.NetworkSpec) error {
	var has [2]bool
	for _, set := range r.Ranges {
		if len(set) == 0 {
			return coded(codeField, catenet.Invalidf("a set of ranges is empty"))
		}
		for i, one := range set {
			family := 0
			if one.Subnet.Addr().Is6() {
				family = 1
			}
			switch {
			case !one.Subnet.IsValid():
				return coded(codeField, catenet.Invalidf("a range has no subnet"))
			case i == 0 && has[family]:
				return coded(codeField, catenet.Unsupportedf("two sets of ranges are of one family: an interface has one address of each").
					WithHint("put the ranges into one set, whose subnets are taken in turn"))
			case i > 0 && !has[family]:
				return coded(codeField, catenet.Invalidf("a set of ranges is of two families"))
			}
			has[family] = true
			pool, err := one.pool()
			if err != nil {
				return err
			}
			spec.Pools = append(spec.Pools, pool)
		}
	}
	spec.DisableIPv4, spec.IPv6 = has[1] && !has[0], has[1]
	for _, route := range r.Routes {
		switch {
		case !route.Dst.IsValid():
			return coded(codeField, catenet.Invalidf("a route has no dst"))
		case route.Dst.Bits() > 0:
			spec.Routes = append(spec.Routes, catenet.Route{Dst: route.Dst.Masked(), Gateway: route.via(spec.Pools), Metric: route.Priority})
		case route.Priority != 0:
			return coded(codeField, catenet.Unsupportedf("the priority %d of the default route is not supported", route.Priority).WithHint("leave it out"))
		case route.GW.IsValid() && !gatewayOf(spec.Pools, route.GW):
			return coded(codeField, catenet.Unsupportedf("the default route goes by %s, which is no range's gateway", route.GW).WithHint("set the gateway of its range to it"))
		}
	}
	return nil
}

// pool is a range: what is not in it is set aside.
func (r rangeConfig) pool() (catenet.Pool, error) {
	p := catenet.Pool{Subnet: r.Subnet.Masked(), Gateway: r.Gateway}
	if !p.Gateway.IsValid() {
		p.Gateway = p.Subnet.Addr().Next()
	}
	for _, a := range []netip.Addr{r.RangeStart, r.RangeEnd} {
		if a.IsValid() && !p.Subnet.Contains(a) {
			return p, coded(codeField, catenet.Invalidf("%s is not in the subnet %s of its range", a, p.Subnet))
		}
	}
	if r.RangeStart.IsValid() && r.RangeEnd.IsValid() && r.RangeEnd.Less(r.RangeStart) {
		return p, coded(codeField, catenet.Invalidf("the range %s to %s ends before it begins", r.RangeStart, r.RangeEnd))
	}
	whole, err := catenet.ParseRange(p.Subnet.String())
	if err != nil {
		return p, err
	}
	if r.RangeStart.IsValid() && whole.First.Less(r.RangeStart) {
		p.SetAside = append(p.SetAside, catenet.Range{First: whole.First, Last: r.RangeStart.Prev()})
	}
	if r.RangeEnd.IsValid() && r.RangeEnd.Less(whole.Last) {
		p.SetAside = append(p.SetAside, catenet.Range{First: r.RangeEnd.Next(), Last: whole.Last})
	}
	return p, nil
}

// via is where a route leads: its own gateway, else that of the first range of
// its family.
func (r routeConfig) via(pools []catenet.Pool) netip.Addr {
	if r.GW.IsValid() {
		return r.GW
	}
	for _, p := range pools {
		if p.Subnet.Addr().BitLen() == r.Dst.Addr().BitLen() {
			return p.Gateway
		}
	}
	return netip.Addr{}
}

func gatewayOf(pools []catenet.Pool, a netip.Addr) bool {
	return slices.ContainsFunc(pools, func(p catenet.Pool) bool { return p.Gateway == a })
}

// defaults says for which families an attachment is given no default route:
// the reference plugin gives one only where it is told to.
func (c config) defaults() (no4, no6 bool) {
	if !c.bridged || c.IsDefaultGateway {
		return false, false
	}
	no4, no6 = true, true
	for _, r := range c.recipe().Routes {
		if r.Dst.Bits() == 0 {
			no4, no6 = no4 && !r.Dst.Addr().Is4(), no6 && !r.Dst.Addr().Is6()
		}
	}
	return no4, no6
}
