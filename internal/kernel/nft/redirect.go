package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// resolver is the address that a sandbox's resolv.conf names.
var resolver = []byte{127, 0, 0, 11}

var sandboxTable = Ref{IPv4, "catenet"}

// Redirect sends what the namespace of the current thread sends to
// 127.0.0.11:53, UDP and TCP, to that port of 127.0.0.11. Called again it
// changes nothing; with another port it replaces the first.
//
// dnat and not redirect: the address stays 127.0.0.11 whatever else lo has.
func Redirect(port uint16) error {
	c, err := dial()
	if err != nil {
		return err
	}
	ctx := context.Background()
	chain := redirectChain(port)
	b := Batch{
		{Do: AddTable, Table: sandboxTable},
		{Do: AddChain, Table: sandboxTable, Chain: chain},
		{Do: AddRules, Table: sandboxTable, Chain: chain},
	}
	// Nearly always the namespace is new: say so to the kernel, and look
	// only if it objects.
	e := encode(b)
	e.msgs[1].Header.Flags |= 0x200 // NLM_F_EXCL
	failed, err := c.exchange(e)
	if err == nil && len(failed) > 0 {
		err = explain(b, e, failed[0])
		if errors.Is(err, unix.EEXIST) {
			err = c.replaceRedirect(ctx, chain)
		}
	}
	if err != nil {
		err = fmt.Errorf("redirect the resolver's port: %w", err)
	}
	return errors.Join(err, c.Close())
}

// replaceRedirect makes a table of that name that is there already hold
// exactly our chain.
func (c *Conn) replaceRedirect(ctx context.Context, chain Chain) error {
	have, err := c.Dump(ctx, sandboxTable)
	if err != nil {
		return err
	}
	return c.Commit(ctx, Diff(have, []Table{{Ref: sandboxTable, Chains: []Chain{chain}}}))
}

func redirectChain(port uint16) Chain {
	c := Chain{
		Name: "output",
		Hook: &Hook{Type: "nat", Num: Output, Priority: -100, Policy: uint32(Accept)},
	}
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		c.Rules = append(c.Rules, Rule{
			Payload(Network, 16, 4, R0), Equal(R0, resolver), // destination
			Meta(MetaL4Proto, R0), Equal(R0, []byte{proto}),
			Payload(Transport, 2, 2, R0), Equal(R0, []byte{0, 53}), // destination port
			Immediate(R0, resolver),
			Immediate(R1, binary.BigEndian.AppendUint16(nil, port)),
			DNAT(IPv4, R0, R1),
		})
	}
	return c
}

// Redirected reports whether the namespace of the current thread has the
// redirect to that port, and nothing else in its table.
func Redirected(port uint16) (bool, error) {
	c, err := dial()
	if err != nil {
		return false, err
	}
	have, err := c.Dump(context.Background(), sandboxTable)
	chain := redirectChain(port)
	right := len(have) == 1 && len(have[0].Chains) == 1 && len(have[0].Sets) == 0 &&
		have[0].Chains[0].Name == chain.Name && sameRules(have[0].Chains[0], chain)
	return right, errors.Join(err, c.Close())
}
