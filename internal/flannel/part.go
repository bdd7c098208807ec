package flannel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// Part is this node's part of a network.
type Part struct {
	registry Registry
	node     Node
	config   Config
	data     BackendData
	record   string // what the registry is to have of this node

	// What follows is Run's alone, once it runs.
	known map[string]*entry // the registry, by key
	view  view              // as it was told last
	claim claim
	said  map[string]string // refusals that are in the log

	revision int64                // of the store, the last that was seen
	gone     map[string]time.Time // peers without a key, and until when they stay

	configs  <-chan etcd.Batch // what becomes of the network's config; nil: it may not be watched
	outdated error             // how the registry's differs from ours; nil: not

	mu     sync.Mutex // guards status
	status Status
}

// ErrNoConfig says that a registry has no config.
var ErrNoConfig = errors.New("there is no flannel config")

// Join takes subnets for a node, or takes those up again that it has: the ones
// that the registry has under its PublicIP, else the previous ones if they are
// free, else any. A registry without a config is a not-found error, a config that
// is wrong an invalid one, a store that does not answer an unavailable one.
func Join(ctx context.Context, r Registry, n Node) (*Part, error) {
	r.Prefix = clean(r.Prefix)
	pair, err := r.Store.Get(ctx, r.Prefix+"/config")
	if catenet.IsNotFound(err) {
		return nil, catenet.NotFoundf("%w at %s/config", ErrNoConfig, r.Prefix).
			WithHint(`write one: etcdctl put %s/config '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'`, r.Prefix)
	}
	if err != nil {
		return nil, fmt.Errorf("read flannel config: %w", err)
	}
	p, err := newPart(r, n, string(pair.Value))
	if err != nil {
		return nil, err
	}
	for {
		err := p.take(ctx)
		if err == nil {
			return p, nil
		}
		if !catenet.IsConflict(err) { // somebody was faster: what is left is listed anew
			return nil, fmt.Errorf("take a subnet: %w", err)
		}
	}
}

// Resume returns the part that a state tells of, without asking the store: Run
// finds out whether it is still so.
func Resume(r Registry, n Node, s State) (*Part, error) {
	r.Prefix = clean(r.Prefix)
	p, err := newPart(r, n, s.Config)
	if err != nil {
		return nil, err
	}
	if !p.config.fits(s.Subnets) {
		return nil, catenet.Invalidf("%v are no subnets of the flannel network %v", s.Subnets, p.config.Network)
	}
	p.status.Subnets = s.Subnets
	return p, nil
}

// WriteConfig writes a network's config, unless there is one already that asks the same.
// Another one that is there is a conflict: it may have nodes.
func WriteConfig(ctx context.Context, r Registry, text string) error {
	asked, err := ParseConfig([]byte(text))
	if err != nil {
		return err
	}
	key := clean(r.Prefix) + "/config"
	if _, err = r.Store.Put(ctx, key, text, 0, 0); !catenet.IsConflict(err) {
		return err
	}
	there, err := r.Store.Get(ctx, key)
	if err != nil {
		return err
	}
	if has, wrong := ParseConfig(there.Value); wrong != nil || !has.Same(asked) {
		err = catenet.Conflictf("there is another flannel config at %s: %s", key, there.Value).WithHint("leave write-config out to take part in that network")
	}
	return err
}

// clean returns a prefix as keys begin with it.
func clean(prefix string) string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return strings.TrimSuffix(path.Clean(prefix), "/")
}

func newPart(r Registry, n Node, text string) (*Part, error) {
	config, err := ParseConfig([]byte(text))
	if err != nil {
		return nil, err
	}
	if n.RenewMargin == 0 {
		n.RenewMargin = 60 * time.Minute
	}
	switch {
	case !reachable(n.PublicIP) || !n.PublicIP.Is4():
		return nil, catenet.Invalidf("no node can be reached at %v", n.PublicIP).WithHint("give an IPv4 address that the other nodes reach")
	case config.EnableIPv6 && config.Backend.Type != BackendUDP && (!reachable(n.PublicIPv6) || !n.PublicIPv6.Is6()):
		return nil, catenet.Invalidf("the network has IPv6, and no IPv6 address is known at which this node is reached").WithHint("give one that the other nodes reach")
	case n.Lease <= 0:
		return nil, fmt.Errorf("the node has no lease to write under")
	case n.RenewMargin < time.Minute || n.RenewMargin >= ttl:
		return nil, catenet.Invalidf("a lease cannot be renewed %v before its end", n.RenewMargin).WithHint("1 minute to 1439 minutes")
	}
	data, err := n.Backend(config)
	if err != nil {
		return nil, err
	}
	if config.Backend.Type == BackendVXLAN && (data.V4 == nil || config.EnableIPv6 && data.V6 == nil) {
		return nil, fmt.Errorf("the node has no device for a vxlan network of its families")
	}
	record, err := newRecord(n, config, data)
	if err != nil {
		return nil, err
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	return &Part{registry: r, node: n, config: config, data: data, record: record, gone: map[string]time.Time{}}, nil
}

// Config returns the network's, as it was when the node joined.
func (p *Part) Config() Config { return p.config }

// State returns what Resume needs.
func (p *Part) State() State { return State{p.config.text, p.own()} }

// Status may be asked at any time.
func (p *Part) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *Part) own() Subnets { return p.Status().Subnets }

// self is this node as the others see it.
func (p *Part) self() standpoint {
	me := Peer{Subnets: p.own(), PublicIP: p.node.PublicIP, PublicIPv6: p.node.PublicIPv6}
	if p.data.V4 != nil {
		me.VTEP4 = p.data.V4.VtepMAC
	}
	if p.data.V6 != nil {
		me.VTEP6 = p.data.V6.VtepMAC
	}
	return standpoint{me, p.registry.Servers}
}

// set changes the status.
func (p *Part) set(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}

// key returns the whole key of subnets.
func (p *Part) key(s Subnets) string { return p.folder() + s.Key() }

// folder is what all nodes' keys begin with.
func (p *Part) folder() string { return p.registry.Prefix + "/subnets/" }

// list reads the registry anew, and returns the revision that it is at.
func (p *Part) list(ctx context.Context) (int64, error) {
	pairs, revision, err := p.registry.Store.List(ctx, p.folder())
	if err != nil {
		return 0, err
	}
	p.known = make(map[string]*entry, len(pairs))
	for _, pair := range pairs {
		p.learn(pair)
	}
	return revision, nil
}

func (p *Part) learn(pair etcd.Pair) {
	key := strings.TrimPrefix(pair.Key, p.folder())
	p.known[key] = readEntry(key, pair, p.config)
}

// Leave gives back whatever a node has under its lease, also if it is not known what
// that is; who has run its part has ended. What others have put under leases of their
// own since stays, and so does a reservation. If the store is away, it all comes free
// by itself within a day.
func Leave(ctx context.Context, r Registry, lease etcd.LeaseID) error {
	if err := r.Store.Revoke(ctx, lease); err != nil {
		return fmt.Errorf("give the node's subnets back: %w", err)
	}
	return nil
}
