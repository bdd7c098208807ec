package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// grace is how long a socket that has deleted something is kept. What was
// deleted is freed after an RCU grace period, some 10 ms, and closing the
// socket before that blocks a thread until then: of many detaches at once,
// many threads, which the runtime keeps.
const grace = 50 * time.Millisecond

var sandboxTable = Ref{IPv4, kernel.RedirectTable}

// Redirect sends what the namespace of the current thread sends to port 53 of
// kernel.Resolver, UDP and TCP, to o.ResolverPort of it. Called again it changes
// nothing; with another port it replaces the first.
//
// Both ways the port is written over, without nat: that would have the
// kernel track every connection of the container.
//
// It looks before it writes: a transaction that fails because something is
// there already costs an RCU grace period, some 10 ms.
// Port 0 takes the redirect away. With a context of kernel.Looking nothing is
// written: what would be is a conflict error.
//
// With o.Beside, somebody else answers there too, by nat at the usual priority:
// a lookup that finds nobody at our port leaves him those of the next while. It is
// refused itself, whereupon a resolver asks again (resolv.conf(5), attempts).
//
// With o.Further, what is sent to one of kernel.Resolvers comes to the resolver from
// that address, so that the answer tells whom it was asked of. That the asker is
// 127.0.0.1 is the kernel's choice for all of 127.0.0.0/8. These rules cost each
// sandbox that has them some 80 µs.
func Redirect(ctx context.Context, o kernel.Outfit) error {
	c, err := dial()
	if err != nil {
		return err
	}
	have, err := c.Dump(ctx, sandboxTable)
	if err == nil {
		var want []Table
		if o.ResolverPort != 0 {
			want = []Table{redirect(o)}
		}
		b := Diff(have, want)
		if kernel.Looks(ctx) && len(b) > 0 {
			return errors.Join(catenet.Conflictf("the redirect of the resolver's port is not as it should be: left to do is to %s", b[0]), c.Close())
		}
		err = c.Commit(ctx, b)
	}
	if err != nil {
		err = fmt.Errorf("redirect the resolver's port: %w", err)
	}
	if o.ResolverPort == 0 {
		time.AfterFunc(grace, func() { c.Close() })
		return err
	}
	return errors.Join(err, c.Close())
}

// silent is the set that has the resolver's address for a while after nobody
// listened at our port.
var silent = Set{Name: "silent", Key: TypeAddr4, Timeout: 10 * time.Second}

// redirect is the way there and back. A container that tracks its
// connections nevertheless, at priority -200, sees both ways at our port.
func redirect(o kernel.Outfit) Table {
	ours, dns := binary.BigEndian.AppendUint16(nil, o.ResolverPort), []byte{0, 53}
	there := Chain{Name: "there", Hook: &Hook{Type: "filter", Num: Output, Priority: -300, Policy: uint32(Accept)}}
	back := Chain{Name: "back", Hook: &Hook{Type: "filter", Num: Output, Priority: -99, Policy: uint32(Accept)}}
	// What we ask of who else answers there is not ours to answer.
	pass := Rule{Meta(MetaMark, R0), NotEqual(R0, binary.NativeEndian.AppendUint32(nil, kernel.PassMark))}
	for _, p := range []struct {
		proto    byte
		checksum uint32 // where it is
	}{{unix.IPPROTO_UDP, 6}, {unix.IPPROTO_TCP, 16}} {
		there.Rules = append(there.Rules, slices.Insert(rewrite(destination, p.proto, 2, dns, ours, p.checksum), 6, pass...))
		back.Rules = append(back.Rules, rewrite(source, p.proto, 0, ours, dns, p.checksum))
	}
	// Nobody listens: an ICMP error (RFC 792) of 8 bytes, then the IPv4 and
	// the UDP header of what could not be delivered.
	back.Rules = append(back.Rules, rewrite(source, unix.IPPROTO_ICMP, quoted+20+2, ours, dns, 2))
	t := Table{Ref: sandboxTable, Chains: []Chain{back, there}}
	if o.Beside {
		t.leave()
	}
	if o.Further {
		t.further(dns)
	}
	return t
}

// leave has lookups left to who else answers, once nobody listens at our port:
// that is told by the ICMP error or, of TCP (RFC 9293, 3.5.2), by a reset whose
// sequence number is zero, as nothing was ever sent.
func (t *Table) leave() {
	const udp, tcp, icmp = 0, 1, 2
	const number, flags, reset = 4, 13, 0x04 // in the TCP header
	t.Sets = []Set{silent}
	back, there := &t.Chains[0], &t.Chains[1]
	note := Rule{Payload(Network, source, 4, R0), AddTo(silent, R0)}
	for _, i := range []int{udp, tcp} {
		there.Rules[i] = slices.Insert(there.Rules[i], 6, Payload(Network, destination, 4, R0), NotIn(silent.Name, R0))
	}
	refused := append(slices.Clone(back.Rules[tcp][:6]),
		Payload(Transport, number, 4, R0), Equal(R0, make([]byte, 4)),
		Payload(Transport, flags, 1, R0), Mask(R0, []byte{reset}), Equal(R0, []byte{reset}))
	back.Rules[icmp] = slices.Insert(back.Rules[icmp], 6, note...)
	back.Rules = slices.Insert(back.Rules, tcp, append(refused, note...))
}

// Where the addresses are in the IPv4 header, and in an ICMP error the packet that
// it is about.
const source, destination, quoted = 12, 16, 8

// further has what is sent to one of kernel.Resolvers go the same way. In the error
// that nobody listens, the packet that it is about is put right too: by that the
// kernel finds who sent it, and does not look at that one's own checksum.
func (t *Table) further(dns []byte) {
	const icmpChecksum = 2
	asker := []byte{127, 0, 0, 1}
	back, there := &t.Chains[0], &t.Chains[1]
	there.Rules = slices.Insert(there.Rules, 0, readdress(2, dns, kernel.Resolver.AsSlice()))
	back.Rules = append(back.Rules, readdress(0, dns, asker))
	refused := append(Rule{Meta(MetaL4Proto, R0), Equal(R0, []byte{unix.IPPROTO_ICMP})},
		readdress(quoted+20+2, dns, asker)...)
	back.Rules = append(back.Rules, append(refused,
		SetPayload(R0, quoted+source, 4, icmpChecksum),
		Payload(Network, source, 4, R0), SetPayload(R0, quoted+destination, 4, icmpChecksum)))
}

// readdress turns what is sent to one of kernel.Resolvers, by a port at an
// offset, into what that one sends to another address.
func readdress(offset uint32, port, to []byte) Rule {
	return Rule{
		Payload(Network, destination, 4, R0), Mask(R0, kernel.Resolvers.Mask), Equal(R0, kernel.Resolvers.IP),
		Payload(Transport, offset, 2, R0), Equal(R0, port),
		Payload(Network, destination, 4, R0), SetAddress(R0, source),
		Immediate(R0, to), SetAddress(R0, destination),
	}
}

// rewrite writes a port over another, in what comes from or goes to the
// resolver.
func rewrite(address uint32, proto byte, offset uint32, from, to []byte, checksum uint32) Rule {
	return Rule{
		Payload(Network, address, 4, R0), Equal(R0, kernel.Resolver.AsSlice()),
		Meta(MetaL4Proto, R0), Equal(R0, []byte{proto}),
		Payload(Transport, offset, 2, R0), Equal(R0, from),
		Immediate(R0, to), SetPayload(R0, offset, 2, checksum),
	}
}
