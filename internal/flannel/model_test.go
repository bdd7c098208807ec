package flannel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
)

// Nodes of one network, whatever becomes of them, of their connections and of the
// store: once it is quiet, each has subnets of its own that the registry says are
// its, and all see each other as the registry has them.
func TestManyNodes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &model{world: newWorld(t, `{"Network": "10.5.0.0/23", "SubnetLen": 28, "Backend": {"Type": "vxlan"}}`), r: r}
			m.snap = m.Snapshot()
			for i := range 5 {
				m.nodes = append(m.nodes, m.start(i+1, nil))
			}
			for range rapid.IntRange(5, 25).Draw(r, "steps") {
				m.step()
				later(time.Duration(rapid.SampledFrom([]int{0, 1, 90, 3600, 13 * 3600}).Draw(r, "seconds")) * time.Second)
			}
			m.settle()
		})
	})
}

type model struct {
	*world
	r     *rapid.T
	nodes []*node
	snap  etcdtest.Snapshot
}

// start starts node i, anew or with what it remembers.
func (m *model) start(i int, state *State) *node {
	n := m.host(i)
	n.spec.Lease = etcd.LeaseID(100 + i) // also after a crash
	if state == nil {
		for {
			part, err := Join(m.t.Context(), n.registry(), n.spec)
			if err == nil {
				n.part = part
				break
			}
			later(time.Second)
			m.Start()
		}
	} else {
		part, err := Resume(n.registry(), n.spec, *state)
		if err != nil {
			m.t.Fatal(err)
		}
		n.part = part
	}
	return n.run()
}

func (m *model) step() {
	i := rapid.IntRange(0, len(m.nodes)-1).Draw(m.r, "node")
	n := m.nodes[i]
	switch op := rapid.SampledFrom([]string{"cut", "mend", "crash", "lose", "break", "delete", "seize", "stop", "start", "compact", "snapshot", "restore", "slow"}).Draw(m.r, "op"); op {
	case "cut":
		n.store.Cut(true)
	case "mend":
		n.store.Cut(false)
	case "crash":
		n.stop()
		state := n.part.State()
		m.nodes[i] = m.start(i+1, &state)
	case "lose":
		n.store.LoseAnswers(2)
	case "break":
		n.store.Break()
	case "delete":
		m.Drop(n.key())
	case "seize":
		m.Force(n.key(), record(ip(200), mac(200)))
	case "stop":
		m.Stop()
	case "start":
		m.Start()
	case "compact":
		m.Compact()
	case "snapshot":
		m.snap = m.Snapshot()
	case "restore":
		m.Restore(m.snap)
	case "slow":
		n.store.Delay(time.Duration(rapid.IntRange(0, 6000).Draw(m.r, "ms")) * time.Millisecond)
	}
}

// settle mends all that is broken, waits, and holds every node to the registry.
func (m *model) settle() {
	m.Start()
	for _, n := range m.nodes {
		n.store.Delay(0)
		n.store.LoseAnswers(0)
		n.store.Cut(false)
	}
	later(5 * late)
	holders := map[string]string{}
	for _, p := range m.Pairs(subnets) {
		holders[strings.TrimPrefix(p.Key, subnets)] = string(p.Value)
	}
	seen := map[Subnets]bool{}
	for _, n := range m.nodes {
		own := n.part.Status().Subnets
		n.ownsIt()
		if seen[own] {
			m.t.Errorf("two nodes own %v", own)
		}
		seen[own] = true
		var want []string
		for _, key := range slices.Sorted(maps.Keys(holders)) {
			for i := range 201 {
				if key != own.Key() && ip(i) != n.spec.PublicIP && holders[key] == record(ip(i), mac(i)) {
					want = append(want, fmt.Sprintf("%s %v %v", key, ip(i), mac(i)))
				}
			}
		}
		if got := n.sees(); !slices.Equal(got, want) {
			m.t.Errorf("node %v sees\n%s\nand the registry has\n%s", n.spec.PublicIP, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, n := range m.nodes {
		n.stop()
	}
	if m.t.Failed() {
		m.r.Fatalf("see above")
	}
}
