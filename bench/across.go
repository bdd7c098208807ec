package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/catenet/catenet"
)

// A network across hosts: of each host the subnet, and the address on the wire.
const (
	partOf = "10.94.%d.0/24"
	hostOn = "192.0.2.%d"
)

// wired are two hosts on one wire, wire0: 192.0.2.1 and .2.
func wired(ctx context.Context, b *Bench) ([]string, error) {
	hosts, err := b.Places(ctx, 2)
	if err != nil {
		return nil, err
	}
	return hosts, b.steps(ctx,
		step{hosts[0], "ip link add wire0 type veth peer name wire0 netns " + hosts[1]},
		step{hosts[0], "ip addr add 192.0.2.1/24 dev wire0"},
		step{hosts[1], "ip addr add 192.0.2.2/24 dev wire0"},
		step{hosts[0], "ip link set wire0 up"},
		step{hosts[1], "ip link set wire0 up"})
}

// acrossRouted: one TCP stream between containers of two hosts that route to each
// other, against the same bridges, veths and routes by hand.
func acrossRouted(ctx context.Context, b *Bench) ([]Line, error) {
	hosts, err := wired(ctx, b)
	if err != nil {
		return nil, err
	}
	mine := laid{name: "catenet"}
	for i, host := range hosts {
		own, peer := i+1, 2-i
		spec := catenet.NetworkSpec{
			Name: "across", Driver: "routed",
			Pools:   []catenet.Pool{{Subnet: netip.MustParsePrefix(fmt.Sprintf(partOf, own))}},
			Options: map[string]string{"peers": fmt.Sprintf(partOf+"="+hostOn, peer, peer)},
		}
		if err := mine.join(ctx, b, host, spec); err != nil {
			return nil, err
		}
	}
	route := func(own, peer int) []string {
		return []string{fmt.Sprintf("ip route add "+partOf+" via "+hostOn, peer, peer)}
	}
	byHand, err := handmadeAcross(ctx, b, "routes by hand", "1500", route)
	if err != nil {
		return nil, err
	}
	byHand.goal = 1
	tracked, err := trackedAcross(ctx, b, "routes", "1500", route)
	if err != nil {
		return nil, err
	}
	theirs, err := flanneldAcross(ctx, b, "host-gw", "1500")
	if err != nil {
		return nil, err
	}
	return streamAcross(ctx, b, "TCP stream across hosts: routes", mine, byHand, tracked, theirs)
}

// laid is a network of two hosts with a container on each.
type laid struct {
	name       string
	hosts      []string // namespaces
	containers []string // likewise
	to         string   // the second's address
	goal       float64  // what ours is to be of it
}

// join starts a daemon on a host, makes the network there, and a container in it.
func (l *laid) join(ctx context.Context, b *Bench, host string, spec catenet.NetworkSpec) error {
	o, err := startOursAt(ctx, b, host)
	if err != nil {
		return err
	}
	if _, _, err = o.CreateNetwork(ctx, spec); err != nil {
		return err
	}
	container, err := b.Place(ctx)
	if err != nil {
		return err
	}
	got, err := o.CreateSandbox(ctx, catenet.SandboxSpec{
		Name: "c", Owner: catenet.OwnerAttach, Netns: container,
		Networks: []catenet.EndpointSpec{{Network: spec.Name}},
	}, true)
	if err != nil {
		return err
	}
	l.containers, l.to = append(l.containers, container), got.Endpoints[0].IPv4.Addr().String()
	return nil
}

// handmadeAcross lays the same with ip(8) and bridge(8): a bridge and a container
// on each of two hosts, whose links have that MTU, and what leads from one host to
// the other.
func handmadeAcross(ctx context.Context, b *Bench, name, mtu string, leads func(own, peer int) []string) (l laid, err error) {
	hosts, err := wired(ctx, b)
	if err != nil {
		return l, err
	}
	pair, err := b.Places(ctx, 2)
	if err != nil {
		return l, err
	}
	for i, host := range hosts {
		own, peer := i+1, 2-i
		gateway := fmt.Sprintf("10.94.%d.1", own)
		steps := []step{
			{host, "sysctl -q -w net.ipv4.ip_forward=1"},
			{host, "ip link add name hand0 mtu " + mtu + " type bridge"},
			{host, "ip addr add " + gateway + "/24 dev hand0"},
			{host, "ip link set hand0 up"},
			{host, "ip link add port0 mtu " + mtu + " type veth peer name eth0 mtu " + mtu + " netns " + pair[i]},
			{host, "ip link set port0 master hand0 up"},
			{pair[i], fmt.Sprintf("ip addr add 10.94.%d.2/24 dev eth0", own)},
			{pair[i], "ip link set eth0 up"},
			{pair[i], "ip route add default via " + gateway},
		}
		for _, argv := range leads(own, peer) {
			steps = append(steps, step{host, argv})
		}
		if err := b.steps(ctx, steps...); err != nil {
			return l, err
		}
	}
	return laid{name: name, hosts: hosts, containers: pair, to: "10.94.2.2"}, nil
}

// trackedAcross is handmadeAcross with one rule that asks for the state of connections:
// what any firewall that is more than a list of addresses costs.
func trackedAcross(ctx context.Context, b *Bench, name, mtu string, leads func(own, peer int) []string) (laid, error) {
	l, err := handmadeAcross(ctx, b, name+" and one rule that tracks, by hand", mtu, func(own, peer int) []string {
		return append(leads(own, peer),
			"nft add table ip hand",
			"nft add chain ip hand forward { type filter hook forward priority 0 ; }",
			"nft add rule ip hand forward ct state established accept")
	})
	l.goal = 0.97
	return l, err
}

// streamAcross measures one stream between containers of each, the first against the
// others.
func streamAcross(ctx context.Context, b *Bench, work string, mine laid, others ...laid) (lines []Line, err error) {
	var cs []Contender
	for _, l := range append([]laid{mine}, others...) {
		c, err := streaming(ctx, b, l.name, l.containers, l.to)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	s, err := interleave(ctx, b.Rounds(15), cs...)
	if err != nil {
		return nil, err
	}
	for i, l := range others {
		lines = append(lines, Line{Work: work, Ours: gbits(s.Median(0)), Peer: l.name + " " + gbits(s.Median(i+1)),
			Ratio: s.Ratio(0, i+1), Goal: l.goal})
	}
	return lines, nil
}

// step is a command in a namespace, its words apart by blanks.
type step struct{ ns, argv string }

// steps runs them in order, up to one that fails.
func (b *Bench) steps(ctx context.Context, all ...step) error {
	for _, s := range all {
		if _, err := b.tool(ctx, s.ns, strings.Fields(s.argv)...); err != nil {
			return err
		}
	}
	return nil
}
