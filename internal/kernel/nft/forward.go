package nft

import (
	"context"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ForwardChain is a base chain that forwarded packets pass.
type ForwardChain struct {
	Table Ref
	Name  string
	// Drops says that a packet that no rule of the chain speaks of is
	// dropped (by policy) or refused (by a last rule for everything).
	Drops, Refuses bool
}

// ForwardChains returns the base chains of all IP tables on the hook
// forward.
func (c *Conn) ForwardChains(ctx context.Context) ([]ForwardChain, error) {
	var out []ForwardChain
	for _, f := range []Family{Inet, IPv4, IPv6} {
		err := c.answers(ctx, unix.NFT_MSG_GETCHAIN, netlink.Dump, f, nil, func(ref Ref, b []byte) error {
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

// refuses reports whether the last rule of a chain drops or rejects whatever
// comes that far, as firewalld's does.
func (c *Conn) refuses(ctx context.Context, ch ForwardChain) (bool, error) {
	var q attrs
	q.str(1, ch.Table.Name)
	q.str(2, ch.Name)
	var last []Expr
	err := c.get(ctx, unix.NFT_MSG_GETRULE, netlink.Dump, ch.Table, q, func(b []byte) error {
		chain, _, exprs, err := decodeRule(b)
		if chain == ch.Name {
			last = exprs
		}
		return err
	})
	if err != nil || len(last) == 0 {
		return false, err
	}
	for _, x := range last[:len(last)-1] {
		if !slices.Contains([]string{"counter", "log"}, x.Name) {
			return false, nil
		}
	}
	x := last[len(last)-1]
	return x.Name == "reject" || x.Name == "immediate" && dropsNow(x), nil
}

// dropsNow reports whether an immediate expression is the verdict drop.
func dropsNow(x Expr) bool {
	drop := false
	err := walk(x.Attrs, func(d *netlink.AttributeDecoder) {
		if d.Type() == 2 {
			value, v := decodeData(d)
			drop = value == nil && v == Verdict{Code: Drop}
		}
	})
	return err == nil && drop
}
