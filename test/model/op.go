package model

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/catenet/catenet"
)

// op is an operation: pure data, so that any of a row can be left out. Names,
// addresses and ports are from small sets, so that they clash; no name can be
// the beginning of an ID.
type op struct {
	verb     string
	name     string // of a sandbox
	network  string
	subnet   netip.Prefix
	internal bool
	networks []string   // to join
	addr     netip.Addr // in the first of them; zero: any
	alias    string
	place    string // what is attached: "netns N" or "process N"; where a namespace comes: "late N"
	port     uint16 // TCP, the same on the host and inside; 0: none
	force    bool
}

func (o op) owner() catenet.Owner {
	switch o.verb {
	case "run":
		return catenet.OwnerRun
	case "park":
		return catenet.OwnerDocker
	}
	return catenet.OwnerAttach
}

// String tells what matters of an operation.
func (o op) String() string {
	switch o.verb {
	case "network create":
		return fmt.Sprintf("%s %s %s internal=%v", o.verb, o.network, o.subnet, o.internal)
	case "network rm":
		return fmt.Sprintf("%s %s", o.verb, o.network)
	case "claim", "release":
		return fmt.Sprintf("%s %s", o.verb, o.subnet)
	case "lease", "give back":
		return fmt.Sprintf("%s %s of %s", o.verb, o.addr, o.subnet)
	case "attach", "run", "park":
		return fmt.Sprintf("%s %s %s in %v, address %v, alias %q, port %d", o.verb, o.name, o.place, o.networks, o.addr, o.alias, o.port)
	case "connect":
		return fmt.Sprintf("%s %s %s, address %v, alias %q", o.verb, o.network, o.name, o.addr, o.alias)
	case "disconnect":
		return fmt.Sprintf("%s %s %s", o.verb, o.network, o.name)
	case "publish", "unpublish":
		return fmt.Sprintf("%s %s port %d", o.verb, o.name, o.port)
	case "rm":
		return fmt.Sprintf("%s %s force=%v", o.verb, o.name, o.force)
	case "kill owner", "arrive", "depart":
		return fmt.Sprintf("%s %s", o.verb, o.place)
	case "network prune", "kill daemon", "upgrade":
		return o.verb
	}
	return fmt.Sprintf("%s %s", o.verb, o.name)
}

// How many there are of each.
const (
	sandboxes = 10
	networks  = 3
	subnets   = 4
	places    = 6 // named namespaces, and as many processes
	lates     = 3 // namespaces that come and go
)

// ports are those that are published.
var ports = []uint16{8080, 8081}

// verbs are how often each operation comes, in a thousand and some.
var verbs = []struct {
	verb string
	many int
}{
	{"network create", 110}, {"network rm", 50}, {"network prune", 4},
	{"attach", 230}, {"run", 60}, {"connect", 180}, {"disconnect", 120}, {"rm", 210},
	{"start", 50}, {"publish", 60}, {"unpublish", 40}, {"stop", 45}, {"kill program", 40}, {"kill owner", 20}, {"kill daemon", 4}, {"upgrade", 2},
	{"claim", 20}, {"release", 40}, {"lease", 50}, {"give back", 40}, {"park", 50}, {"arrive", 25}, {"depart", 20},
}

// draw makes a row of operations; the same of the same seed.
func draw(seed uint64, n int) []op {
	r := rand.New(rand.NewPCG(seed, 0))
	total := 0
	for _, v := range verbs {
		total += v.many
	}
	ops := make([]op, n)
	for i := range ops {
		at := r.IntN(total)
		for _, v := range verbs {
			if at < v.many {
				ops[i] = drawOne(r, v.verb)
				break
			}
			at -= v.many
		}
	}
	return ops
}

func drawOne(r *rand.Rand, verb string) op {
	o := op{verb: verb, force: r.IntN(4) > 0, internal: r.IntN(5) == 0}
	o.name = fmt.Sprint("box", r.IntN(sandboxes))
	o.network = fmt.Sprint("net", r.IntN(networks))
	o.subnet = netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", 100+r.IntN(subnets)))
	if r.IntN(6) == 0 {
		o.addr = netip.AddrFrom4([4]byte{10, 100 + byte(r.IntN(subnets)), 0, 100 + byte(r.IntN(3))})
	}
	switch verb {
	case "claim", "release", "lease", "give back": // some are of no network's
		o.addr = netip.AddrFrom4([4]byte{10, 102 + byte(r.IntN(subnets)), 0, 100 + byte(r.IntN(3))})
		o.subnet = netip.PrefixFrom(o.addr, 24).Masked()
	}
	for range 1 + r.IntN(2) {
		o.networks = append(o.networks, fmt.Sprint("net", r.IntN(networks)))
	}
	if r.IntN(2) == 0 {
		o.alias = fmt.Sprint("alias", r.IntN(2))
	}
	if verb == "attach" {
		o.place = []string{"netns", "process"}[r.IntN(2)] + fmt.Sprint(" ", r.IntN(places))
	}
	if verb == "park" || verb == "arrive" || verb == "depart" {
		o.place = fmt.Sprint("late ", r.IntN(lates))
	}
	if verb == "kill owner" {
		o.place = fmt.Sprint("process ", r.IntN(places))
	}
	if r.IntN(4) == 0 || verb == "publish" || verb == "unpublish" {
		o.port = ports[r.IntN(len(ports))]
	}
	return o
}
