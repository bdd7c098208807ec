package foreign

import (
	"context"
	"fmt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// Obstacle is a chain that drops forwarded packets nobody speaks for.
type Obstacle struct {
	catenet.Obstacle
	// Iptables says that Allow would help.
	Iptables bool
}

// Rules are the rules of others in one network namespace.
type Rules struct {
	nft     *nft.Conn
	ownName string
}

// New looks through c, leaving out tables called own. Obstacles and Allow
// are about the namespace c was opened in, and must be called in it.
func New(c *nft.Conn, own string) *Rules { return &Rules{c, own} }

// Obstacles returns the chains that would swallow our packets: those on the
// hook forward that drop by policy or refuse by a last rule, of nf_tables
// (which iptables-nft and ufw use too) and of the older iptables.
func (r *Rules) Obstacles(ctx context.Context) ([]Obstacle, error) {
	chains, err := r.nft.ForwardChains(ctx)
	if err != nil {
		return nil, err
	}
	var out []Obstacle
	for _, c := range chains {
		if c.Table.Name != r.ownName && (c.Drops || c.Refuses) {
			out = append(out, describe(c))
		}
	}
	for _, v6 := range []bool{false, true} {
		drops, err := legacyDrops(v6)
		if err != nil {
			return nil, fmt.Errorf("read legacy iptables: %w", err)
		}
		if drops {
			t := tool(v6) + "-legacy"
			rule := fmt.Sprintf("chain FORWARD of table filter of %s has policy DROP", t)
			out = append(out, Obstacle{catenet.Obstacle{Rule: rule, Remedy: remedy}, true})
		}
	}
	return out, nil
}

const remedy = "start catenetd with --allow-forward"

func describe(c nft.ForwardChain) Obstacle {
	var o Obstacle
	o.Rule = fmt.Sprintf("chain %s of table %s has policy drop", c.Name, c.Table)
	if !c.Drops {
		o.Rule = fmt.Sprintf("chain %s of table %s refuses what no rule of it accepts", c.Name, c.Table)
	}
	switch {
	case isIptables(c):
		o.Iptables, o.Remedy = true, remedy
	case c.Table.Name == "firewalld":
		o.Remedy = "put the bridges into firewalld's trusted zone, for each: firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE (catenet topology -a names it); then firewall-cmd --reload"
	default:
		o.Remedy = fmt.Sprintf("accept our bridges there, for each: nft insert rule %s %s iifname BRIDGE accept, and likewise oifname", c.Table, c.Name)
	}
	return o
}

// isIptables reports whether the chain is what iptables-nft(8) calls FORWARD.
func isIptables(c nft.ForwardChain) bool {
	return c.Name == "FORWARD" && c.Table.Name == "filter" && (c.Table.Family == nft.IPv4 || c.Table.Family == nft.IPv6)
}

// tool is the name of the iptables of a family.
func tool(v6 bool) string {
	if v6 {
		return "ip6tables"
	}
	return "iptables"
}
