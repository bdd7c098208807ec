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
//
// It looks before it writes: a transaction that fails because something is
// there already costs an RCU grace period, some 10 ms.
// Port 0 takes the redirect away.
func Redirect(port uint16) error {
	c, err := dial()
	if err != nil {
		return err
	}
	ctx := context.Background()
	have, err := c.Dump(ctx, sandboxTable)
	if err == nil {
		var want []Table
		if port != 0 {
			want = []Table{{Ref: sandboxTable, Chains: []Chain{redirectChain(port)}}}
		}
		err = c.Commit(ctx, Diff(have, want))
	}
	if err != nil {
		err = fmt.Errorf("redirect the resolver's port: %w", err)
	}
	return errors.Join(err, c.Close())
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
