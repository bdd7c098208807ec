package flannel

import (
	"context"
	"fmt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// Same reports whether two configs ask a node for the same, however they are written.
func (c Config) Same(o Config) bool {
	c.text, c.EnableNFTables = o.text, o.EnableNFTables
	return c == o
}

// configKey is where the network's config is.
func (p *Part) configKey() string { return p.registry.Prefix + "/config" }

// compare reads the config that the registry has now, and follows it from a revision on.
func (p *Part) compare(ctx context.Context, revision int64) error {
	pair, err := p.registry.Store.Get(ctx, p.configKey())
	if err != nil && !catenet.IsNotFound(err) {
		return fmt.Errorf("read flannel config: %w", err)
	}
	p.judge(pair.Value, err == nil)
	p.configs = p.registry.Store.Watch(ctx, p.configKey(), revision)
	return nil
}

// hear takes in what has become of the config.
func (p *Part) hear(b etcd.Batch) error {
	if catenet.KindOf(b.Err) == catenet.KindForbidden { // it may be read, and not what begins as its key does
		p.configs = nil
		return nil
	}
	for _, e := range b.Events {
		if e.Key == p.configKey() {
			p.judge(e.Value, !e.Deleted)
		}
	}
	return b.Err
}

// judge notes what is wrong with the config that the registry has now. The part goes on
// by the one that it was taken by: its containers have addresses of that.
func (p *Part) judge(text []byte, there bool) {
	now, err := ParseConfig(text)
	p.outdated = nil
	switch {
	case !there:
		p.outdated = catenet.NotFoundf("the flannel config at %s is gone: this node goes on by %s, and no other can join", p.configKey(), p.config.text).
			WithHint("write it again")
	case err != nil:
		p.outdated = fmt.Errorf("the config at %s has been changed: this node goes on by %s, and no other can join: %w", p.configKey(), p.config.text, err)
	case !now.Same(p.config):
		p.outdated = catenet.Conflictf("the flannel config at %s has been changed to %s, and this node goes on by %s", p.configKey(), text, p.config.text).
			WithHint("on each host, remove the network and make it anew; or write the earlier config again")
	}
}
