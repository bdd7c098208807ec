package nft

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// ForwardChain is a base chain that forwarded packets pass.
type ForwardChain struct {
	Table Ref
	Name  string
	// Drops says that a packet that no rule of the chain speaks of is
	// dropped (by policy) or refused (by a rule for everything).
	Drops, Refuses bool
}

// ForwardChains returns the base chains of all IP tables on the hook
// forward.
func (c *Conn) ForwardChains(ctx context.Context) ([]ForwardChain, error) {
	var out []ForwardChain
	for _, f := range []Family{Inet, IPv4, IPv6} {
		err := c.answers(ctx, unix.NFT_MSG_GETCHAIN, flagDump, f, nil, func(ref Ref, b []byte) error {
			ch, err := decodeChain(b)
			if err == nil && ch.Hook != nil && ch.Hook.Num == Forward {
				out = append(out, ForwardChain{Table: ref, Name: ch.Name, Drops: ch.Hook.Policy == uint32(Drop)})
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read forward chains: %w", err)
		}
	}
	for i := range out {
		var err error
		if out[i].Refuses, err = c.refuses(ctx, out[i]); err != nil {
			return nil, fmt.Errorf("read chain %s of table %s: %w", out[i].Name, out[i].Table, err)
		}
	}
	return out, nil
}

// refuses reports whether a rule of the chain drops or rejects whatever
// comes that far, as firewalld's last one does.
func (c *Conn) refuses(ctx context.Context, ch ForwardChain) (bool, error) {
	var q attrs
	q.str(1, ch.Table.Name)
	q.str(2, ch.Name)
	found := false
	err := c.get(ctx, unix.NFT_MSG_GETRULE, flagDump, ch.Table, q, func(b []byte) error {
		chain, _, exprs, err := decodeRule(b)
		found = found || chain == ch.Name && refusesAll(exprs)
		return err
	})
	return found, err
}

func refusesAll(exprs []Expr) bool {
	for _, x := range exprs {
		switch {
		case x.Name == "reject" || x.Name == "immediate" && dropsNow(x):
			return true
		case x.Name != "counter" && x.Name != "log":
			return false // a condition, or another end
		}
	}
	return false
}

// dropsNow reports whether an immediate expression is the verdict drop.
func dropsNow(x Expr) bool {
	drop := false
	var in nest
	in.walk(x.Attrs, func(a attr) {
		if a.typ == 2 {
			value, v := in.value(a)
			drop = value == nil && v == Verdict{Code: Drop}
		}
	})
	return in.err == nil && drop
}
