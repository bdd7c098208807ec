package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// request is one netlink message.
type request struct {
	kind, flags uint16
	quiet       bool // asks for no answer but a refusal
	body        []byte
}

// netlinkSocket is a blocking netlink socket.
type netlinkSocket struct{ fd int }

func dial(protocol int) (*netlinkSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return &netlinkSocket{fd}, nil
}

// Close closes the socket.
func (s *netlinkSocket) Close() error { return unix.Close(s.fd) }

// once opens a socket in the namespace of the thread for one row of requests.
func once(protocol int, rs []request) error {
	s, err := dial(protocol)
	if err != nil {
		return err
	}
	return errors.Join(s.Do(rs...), s.Close())
}

// Do sends all requests in one call and waits for all answers.
func (s *netlinkSocket) Do(rs ...request) error { return s.send(pack(rs...)) }

// pack makes one message of each request, and counts the answers that they ask for.
func pack(rs ...request) (buf []byte, left int) {
	for i, r := range rs {
		flags := r.flags | unix.NLM_F_REQUEST
		if !r.quiet {
			flags |= unix.NLM_F_ACK
			left++
		}
		buf = binary.NativeEndian.AppendUint32(buf, uint32(unix.SizeofNlMsghdr+len(r.body)))
		buf = binary.NativeEndian.AppendUint16(buf, r.kind)
		buf = binary.NativeEndian.AppendUint16(buf, flags)
		buf = binary.NativeEndian.AppendUint32(buf, uint32(i+1))
		buf = binary.NativeEndian.AppendUint32(buf, 0)
		buf = append(buf, r.body...) // all bodies are multiples of four
	}
	return buf, left
}

func (s *netlinkSocket) send(buf []byte, left int) error {
	if err := unix.Sendto(s.fd, buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send netlink messages: %w", err)
	}
	answer := make([]byte, 8192)
	for left > 0 {
		n, _, err := unix.Recvfrom(s.fd, answer, 0)
		if err != nil {
			return fmt.Errorf("receive netlink answers: %w", err)
		}
		for b := answer[:n]; len(b) >= unix.SizeofNlMsghdr+4; left-- {
			if errno := int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
				return fmt.Errorf("netlink message %d: %w", binary.NativeEndian.Uint32(b[8:]), unix.Errno(-errno))
			}
			b = b[min(int(binary.NativeEndian.Uint32(b)+3)&^3, len(b)):]
		}
	}
	return nil
}

// redirect is the one rule that a sandbox's resolver needs, in one
// transaction: what goes to port 53 of 127.0.0.11 goes to another port there.
//
//	table ip floor { chain out { type nat hook output priority -100
//		ip daddr 127.0.0.11 th dport 53 redirect to :port } }
func redirect(port uint16) []request {
	table, chain := text(1, "floor"), text(3, "out") // NFTA_CHAIN_NAME
	hook := nested(4, number(1, 3), number(2, uint32(0xffffffff-99)))
	rule := nested(4,
		expr("payload", number(1, 8), number(2, 1), number(3, 16), number(4, 4)), // network header, 16: destination
		expr("cmp", number(1, 8), number(2, 0), nested(3, raw(1, []byte{127, 0, 0, 11}))),
		expr("payload", number(1, 8), number(2, 2), number(3, 2), number(4, 2)), // transport header, 2: destination port
		expr("cmp", number(1, 8), number(2, 0), nested(3, raw(1, []byte{0, 53}))),
		expr("immediate", number(1, 8), nested(2, raw(1, binary.BigEndian.AppendUint16(nil, port)))),
		expr("redir", number(1, 8)))
	message := func(kind, flags uint16, attrs ...[]byte) request {
		body := []byte{unix.NFPROTO_IPV4, 0, 0, 0}
		for _, a := range attrs {
			body = append(body, a...)
		}
		return request{kind: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, flags: flags, body: body}
	}
	batch := func(kind uint16) request {
		return request{kind: kind, quiet: true, body: []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}}
	}
	return []request{
		batch(unix.NFNL_MSG_BATCH_BEGIN),
		message(unix.NFT_MSG_NEWTABLE, create, table),
		message(unix.NFT_MSG_NEWCHAIN, create, table, chain, hook, text(7, "nat")),
		message(unix.NFT_MSG_NEWRULE, create|unix.NLM_F_APPEND, table, text(2, "out"), rule),
		batch(unix.NFNL_MSG_BATCH_END),
	}
}

// The attributes of nf_tables: numbers are in network order.

func raw(kind uint16, data []byte) []byte {
	e := nl.NewAttributeEncoder()
	e.Bytes(kind, data)
	return encoded(e)
}

func text(kind uint16, s string) []byte { return raw(kind, append([]byte(s), 0)) }

func number(kind uint16, v uint32) []byte { return raw(kind, binary.BigEndian.AppendUint32(nil, v)) }

func nested(kind uint16, attrs ...[]byte) []byte {
	var all []byte
	for _, a := range attrs {
		all = append(all, a...)
	}
	return raw(kind|unix.NLA_F_NESTED, all)
}

func expr(name string, attrs ...[]byte) []byte {
	return nested(1, text(1, name), nested(2, attrs...))
}
