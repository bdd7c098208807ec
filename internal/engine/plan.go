package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/ipam"
	"github.com/catenet/catenet/internal/store"
)

// join adds an endpoint to next: finds the network, takes addresses, a name
// and a MAC. What it took goes onto undo. e.mu is held.
func (e *Engine) join(next *record, spec catenet.EndpointSpec, u *undo) error {
	n, err := e.network(spec.Network)
	if err != nil {
		return err
	}
	if _, ok := next.endpoint(n.ID); ok {
		return networkTaken(next.Name, n.Name)
	}
	if err := e.checkRoom(n); err != nil {
		return err
	}
	if err := checkEndpoint(spec); err != nil {
		return err
	}
	if err := n.driver.ValidateEndpoint(n.Network, spec); err != nil {
		return err
	}
	if err := e.checkID(spec.ID); err != nil {
		return err
	}
	if err := e.checkMAC(n, spec.MAC); err != nil {
		return err
	}
	if err := e.checkRoutes(next, n); err != nil {
		return err
	}
	ep := catenet.Endpoint{
		ID: cmp.Or(spec.ID, catenet.NewID()), NetworkID: n.ID, SandboxID: next.ID,
		Spec: spec, Created: time.Now(), MAC: spec.MAC,
	}
	ep.Spec.Network = n.Name
	if ep.Interface, err = chooseInterface(next, n, spec); err != nil {
		return err
	}
	if err := e.allocate(n, &ep, u); err != nil {
		return err
	}
	if ep.MAC == "" {
		addr := ep.IPv4.Addr()
		if !addr.IsValid() {
			addr = ep.IPv6.Addr()
		}
		ep.MAC = catenet.MACFor(addr)
	}
	n.members[ep.ID] = next.ID
	u.add(func() { e.locked(func() { delete(n.members, ep.ID) }) })
	next.Endpoints = append(next.Endpoints, ep)
	return nil
}

// checkRoom refuses one more member of a network that has as many as it can.
// e.mu is held.
func (e *Engine) checkRoom(n *network) error {
	most := driver.ShapeOf(n.driver).Members
	if most == 0 || len(n.members) < most {
		return nil
	}
	return catenet.Conflictf("network %s joins %d containers, and has them: %s", n.Name, most, strings.Join(e.memberNames(n), ", ")).
		WithHint("take one out of it, catenet network disconnect %s CONTAINER, or make another network", n.Name)
}

// checkID refuses the ID of an endpoint that there is. e.mu is held.
func (e *Engine) checkID(id string) error {
	for _, n := range e.networks {
		if _, taken := n.members[id]; taken {
			return catenet.Conflictf("there is an endpoint %s in network %s already", catenet.ShortID(id), n.Name).WithHint("leave the ID out, to have one made")
		}
	}
	return nil
}

// checkMAC refuses a MAC address that somebody in the network has: neither
// would get all of its packets. e.mu is held.
func (e *Engine) checkMAC(n *network, mac string) error {
	if mac == "" {
		return nil
	}
	for ep := range e.membersOf(n) {
		if strings.EqualFold(ep.MAC, mac) {
			return catenet.Conflictf("network %s: the MAC address %s is that of container %s", n.Name, mac, e.sandboxes[ep.SandboxID].name).
				WithHint("ask for another one, or for none, to have one made from the address")
		}
	}
	return nil
}

// checkEndpoint checks what is wrong with a spec whatever the network.
func checkEndpoint(spec catenet.EndpointSpec) error {
	if spec.ID != "" && !catenet.IsID(spec.ID) {
		return catenet.Invalidf("%q cannot be the ID of an endpoint", spec.ID).WithHint("it is 64 hexadecimal digits; leave it out to have one made")
	}
	for _, a := range spec.Aliases {
		if err := catenet.ValidateName("alias", a); err != nil {
			return err
		}
	}
	if err := catenet.ValidateLinks(spec.Links); err != nil {
		return err
	}
	if err := spec.Bandwidth.Validate(); err != nil {
		return err
	}
	if spec.IPv4.IsValid() && !spec.IPv4.Is4() {
		return catenet.Invalidf("%s is no IPv4 address", spec.IPv4).WithHint("an IPv6 address is given by --ip6 or ip6=")
	}
	if spec.IPv6.IsValid() && (!spec.IPv6.Is6() || spec.IPv6.Is4In6() || spec.IPv6.Zone() != "") {
		return catenet.Invalidf("%s is no plain IPv6 address", spec.IPv6).WithHint("an IPv4 address is given by --ip or ip=")
	}
	if spec.MAC != "" {
		if err := catenet.ValidateMAC(spec.MAC); err != nil {
			return err
		}
	}
	name := askedInterface(spec)
	if name == "" {
		return nil
	}
	if name == "lo" {
		return catenet.Conflictf("every container has an interface lo already").WithHint("choose another interface name")
	}
	return catenet.ValidateInterfaceName(name)
}

// askedInterface is the name that a spec asks for inside; "" for any.
func askedInterface(spec catenet.EndpointSpec) string {
	return cmp.Or(spec.Interface, spec.Options[catenet.OptionInterface])
}

// checkAlone checks that a container's spec names no network and no interface
// that one of the others names.
func checkAlone(name string, spec catenet.EndpointSpec, others []catenet.EndpointSpec) error {
	for _, other := range others {
		if other.Network == spec.Network {
			return networkTaken(name, spec.Network)
		}
		if asked := askedInterface(spec); asked != "" && asked == askedInterface(other) {
			return interfaceTaken(name, asked)
		}
	}
	return nil
}

func networkTaken(container, network string) error {
	return catenet.Conflictf("container %s is in network %s already", container, network).
		WithHint("catenet network disconnect %s %s first", network, container)
}

func interfaceTaken(container, name string) error {
	return catenet.Conflictf("container %s has an interface %s already", container, name).WithHint("choose another interface name")
}

// chooseInterface names an endpoint's interface: as asked, or the first free
// one with the network's prefix.
func chooseInterface(next *record, n *network, spec catenet.EndpointSpec) (string, error) {
	taken := func(name string) bool {
		return slices.ContainsFunc(next.Endpoints, func(ep catenet.Endpoint) bool { return ep.Interface == name })
	}
	if asked := askedInterface(spec); asked != "" {
		if taken(asked) {
			return "", interfaceTaken(next.Name, asked)
		}
		return asked, nil
	}
	prefix := cmp.Or(n.Options[catenet.OptionPrefix], "eth")
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s%d", prefix, i); !taken(name) {
			return name, nil
		}
	}
}

// allocate takes an endpoint's addresses from the network's pools. e.mu is
// held.
func (e *Engine) allocate(n *network, ep *catenet.Endpoint, u *undo) error {
	for _, want := range []netip.Addr{ep.Spec.IPv4, ep.Spec.IPv6} {
		if want.IsValid() && poolFor(n, want) == nil {
			return catenet.Invalidf("address %s is in no subnet of network %s", want, n.Name).
				WithHint("its subnets are: %s", subnets(n.Network))
		}
	}
	var full [2]error // why a family has no address, so far
	for i, pool := range n.pools {
		subnet := n.Pools[i].Subnet
		family, want, slot, gateway := 0, ep.Spec.IPv4, &ep.IPv4, &ep.Gateway4
		if subnet.Addr().Is6() {
			family, want, slot, gateway = 1, ep.Spec.IPv6, &ep.IPv6, &ep.Gateway6
		}
		if slot.IsValid() || want.IsValid() && !subnet.Contains(want) {
			continue // one address a family
		}
		a := want
		if by, _ := pool.Owner(want); by != ep.SandboxID { // else it is reserved for this one
			var err error
			a, err = e.request(n, pool, ep.SandboxID, ep.ID, want)
			if catenet.KindOf(err) == catenet.KindExhausted {
				full[family] = err // the next one may have room
				continue
			}
			if err != nil {
				return err
			}
			u.add(func() { e.locked(func() { e.giveBack(n, pool, ep.SandboxID, a) }) })
		}
		*slot, *gateway, full[family] = netip.PrefixFrom(a, subnet.Bits()), n.Pools[i].Gateway, nil
	}
	return cmp.Or(full[0], full[1])
}

// request takes an address for a sandbox, also one that is leased to its
// endpoint. e.mu is held.
func (e *Engine) request(n *network, pool *ipam.Pool, owner, endpoint string, want netip.Addr) (netip.Addr, error) {
	e.unlease(n, pool, endpoint, want)
	if by, taken := pool.Owner(want); taken {
		if sb := e.sandboxes[by]; sb != nil {
			by = "container " + sb.name
		}
		return want, catenet.Conflictf("network %s: address %s is taken by %s", n.Name, want, by).
			WithHint("ask for another one, or for none, to have one chosen")
	}
	a, err := pool.Request(owner, want)
	if err != nil {
		return a, fmt.Errorf("network %s: %w", n.Name, err)
	}
	return a, nil
}

// fixedIn reports whether a container asked for just that address of a
// network.
func fixedIn(sb catenet.Sandbox, n *network, a netip.Addr) bool {
	return slices.ContainsFunc(sb.Networks, func(s catenet.EndpointSpec) bool {
		return (s.IPv4 == a || s.IPv6 == a) && (s.Network == n.Name || s.Network == n.was)
	})
}

// cursors are where the pools go on handing out that endpoints' addresses go back
// to. They are recorded with that, so that no start reuses one of them soon.
func (e *Engine) cursors(eps []catenet.Endpoint) map[string][]netip.Addr {
	if len(eps) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at := make(map[string][]netip.Addr)
	for _, ep := range eps {
		n := e.networks[ep.NetworkID]
		if n == nil || at[n.ID] != nil {
			continue
		}
		for _, pool := range n.pools {
			at[n.ID] = append(at[n.ID], pool.Cursor())
		}
	}
	return at
}

func putCursors(tx *store.Tx, cursors map[string][]netip.Addr) error {
	for network, at := range cursors {
		if err := tx.Put(kindCursor, network, at); err != nil {
			return err
		}
	}
	return nil
}

// release gives an endpoint's addresses back, but for the fixed ones of keep,
// a container that stays. e.mu is held.
func (e *Engine) release(ep catenet.Endpoint, keep *record) {
	n := e.networks[ep.NetworkID]
	if n == nil {
		return
	}
	delete(n.members, ep.ID)
	for _, p := range []netip.Prefix{ep.IPv4, ep.IPv6} {
		if !p.IsValid() || keep != nil && keep.Owner == catenet.OwnerRun && fixedIn(keep.Sandbox, n, p.Addr()) {
			continue
		}
		if pool := poolFor(n, p.Addr()); pool != nil {
			e.giveBack(n, pool, ep.SandboxID, p.Addr())
		}
	}
}

// giveBack returns one address, to its lease if there is one. A failure means that our books are wrong:
// it is said, and nothing else suffers. e.mu is held.
func (e *Engine) giveBack(n *network, pool *ipam.Pool, owner string, a netip.Addr) {
	if err := pool.Release(owner, a); err != nil {
		e.log.Error("give back address", "network", n.Name, "address", a, "err", err)
	}
	if _, leased := n.leases[a]; leased && owner != ownerLease {
		e.report("give back to lease", n.Name, pool.Restore(ownerLease, a))
	}
}

// poolFor returns the pool that an address belongs to.
func poolFor(n *network, a netip.Addr) *ipam.Pool {
	for i, pool := range n.pools {
		if n.Pools[i].Subnet.Contains(a) {
			return pool
		}
	}
	return nil
}

func subnets(n catenet.Network) string {
	var s []string
	for _, p := range n.Pools {
		s = append(s, p.Subnet.String())
	}
	return cmp.Or(strings.Join(s, ", "), "none")
}

// chooseDefaults says for each family through which endpoint the default
// route goes: the highest GwPriority, among equals the network whose name
// sorts first, never an internal network, nor one that wants none. e.mu is held.
func (e *Engine) chooseDefaults(r *record) {
	best4, best6 := -1, -1
	better := func(i, j int) bool {
		if j < 0 {
			return true
		}
		a, b := r.Endpoints[i].Spec, r.Endpoints[j].Spec
		return cmp.Or(cmp.Compare(b.GwPriority, a.GwPriority), strings.Compare(a.Network, b.Network)) < 0
	}
	for i, ep := range r.Endpoints {
		if n := e.networks[ep.NetworkID]; n == nil || n.Internal {
			continue
		}
		if ep.IPv4.IsValid() && ep.Gateway4.IsValid() && !ep.Spec.NoDefault4 && better(i, best4) {
			best4 = i
		}
		if ep.IPv6.IsValid() && ep.Gateway6.IsValid() && !ep.Spec.NoDefault6 && better(i, best6) {
			best6 = i
		}
	}
	for i := range r.Endpoints {
		r.Endpoints[i].DefaultRoute4 = i == best4
		r.Endpoints[i].DefaultRoute6 = i == best6
	}
}

// settleFor waits until no link is left that the addresses or the namespace
// of a plan clash with.
func (e *Engine) settleFor(ctx context.Context, next *record) error {
	var addrs []netip.Addr
	for _, ep := range next.Endpoints {
		addrs = append(addrs, ep.IPv4.Addr(), ep.IPv6.Addr())
	}
	return e.reaper.settle(ctx, addrs, next.Target.Inode)
}

// plan gives next an endpoint for each spec, its default routes and its
// bindings.
func (e *Engine) plan(now, next *record, specs []catenet.EndpointSpec, u *undo) error {
	e.mu.Lock()
	var mine undo
	err := func() error {
		for _, s := range specs {
			if err := e.join(next, s, &mine); err != nil {
				return err
			}
		}
		e.chooseDefaults(next)
		return e.bind(now, next)
	}()
	e.mu.Unlock()
	mine.unless(&err) // takes e.mu itself
	if err == nil {
		*u = append(*u, mine...)
	}
	return err
}
