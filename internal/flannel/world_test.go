package flannel

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
)

const (
	prefix  = DefaultPrefix
	subnets = prefix + "/subnets/"
	vxlan   = `{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}`
	dual    = `{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}`
)

// world is a registry in memory and the nodes at it.
type world struct {
	*etcdtest.Cluster
	t     *testing.T
	hosts atomic.Int64
}

func newWorld(t *testing.T, config string) *world {
	w := &world{Cluster: etcdtest.New(), t: t}
	w.Force(prefix+"/config", config)
	return w
}

// node is one host: its connection, its part, and what it was told.
type node struct {
	w       *world
	store   *etcdtest.Client
	spec    Node
	servers []netip.Addr
	part    *Part
	log     bytes.Buffer
	mu      sync.Mutex
	deltas  []Delta
	peers   map[string]Peer // what the deltas amount to
	stop    func()
}

// ip is node i's PublicIP.
func ip(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(2 + i/256), byte(i)}) }

// mac is node i's vxlan device's.
func mac(i int) MAC { return MAC{0x0e, 0, 0, 0, byte(i >> 8), byte(i)} }

// host makes node i, which has not joined yet.
func (w *world) host(i int) *node {
	n := &node{w: w, store: w.Client(), peers: map[string]Peer{}}
	n.spec = Node{PublicIP: ip(i), Lease: etcd.LeaseID(w.hosts.Add(1)), Log: slog.New(slog.NewTextHandler(&n.log, nil)), Backend: func(c Config) (BackendData, error) {
		if c.Backend.Type != BackendVXLAN {
			return BackendData{}, nil
		}
		return BackendData{V4: &VTEP{VNI: 1, VtepMAC: mac(i)}}, nil
	}}
	return n
}

func (n *node) registry() Registry { return Registry{n.store, prefix, n.servers} }

// join has the node join, which must succeed.
func (n *node) join() *node {
	n.w.t.Helper()
	part, err := Join(n.w.t.Context(), n.registry(), n.spec)
	if err != nil {
		n.w.t.Fatalf("node %v: %v", n.spec.PublicIP, err)
	}
	n.part = part
	return n
}

// run has the node keep its part, until its test ends or it is stopped.
func (n *node) run() *node {
	ctx, cancel := context.WithCancel(n.w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.part.Run(ctx, n.hear)
	}()
	n.stop = func() {
		cancel()
		<-done
	}
	later(time.Second)
	return n
}

// hear does what a driver does with a delta: what goes must be there, and what
// comes must not.
func (n *node) hear(d Delta) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deltas = append(n.deltas, d)
	if d.Full {
		clear(n.peers)
	}
	for _, p := range d.Remove {
		if n.peers[p.Key()] != p {
			n.w.t.Errorf("%v is to remove %+v, and has %+v", n.spec.PublicIP, p, n.peers[p.Key()])
		}
		delete(n.peers, p.Key())
	}
	for _, p := range d.Add {
		if was, ok := n.peers[p.Key()]; ok {
			n.w.t.Errorf("%v is to add %+v, and has %+v", n.spec.PublicIP, p, was)
		}
		n.peers[p.Key()] = p
	}
}

// told returns the deltas since it was asked last.
func (n *node) told() []Delta {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.deltas
	n.deltas = nil
	return d
}

// sees returns the node's peers as text: KEY PUBLICIP MAC.
func (n *node) sees() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(n.peers)) {
		all = append(all, fmt.Sprintf("%s %v %v", key, n.peers[key].PublicIP, n.peers[key].VTEP4))
	}
	return all
}

func (n *node) key() string { return subnets + n.part.Status().Subnets.Key() }

// pair is what the registry has of the node.
func (n *node) pair() etcd.Pair {
	for _, p := range n.w.Pairs(subnets) {
		if p.Key == n.key() {
			return p
		}
	}
	return etcd.Pair{}
}

// ownsIt fails the test unless the registry and the node agree that it owns its
// subnets.
func (n *node) ownsIt() {
	n.w.t.Helper()
	s, p := n.part.Status(), n.pair()
	if !s.Owned || s.Trouble != nil || string(p.Value) != n.part.record {
		n.w.t.Errorf("node %v: %+v, in the registry %q", n.spec.PublicIP, s, p.Value)
	}
}

// says fails the test unless the node's log has all words in one line.
func (n *node) says(words ...string) {
	n.w.t.Helper()
	for line := range strings.Lines(n.log.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	n.w.t.Errorf("no line of the log has all of %q:\n%s", words, n.log.String())
}

// later lets time pass.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func record(ip netip.Addr, mac MAC) string {
	return fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"%v"}}`, ip, mac)
}
