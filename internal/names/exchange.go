package names

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// nearMisses is how many datagrams that are no answer to our query one socket
// takes. More of them are somebody guessing the ID: the port is given up, so
// that the next guess begins at nothing, and TCP is tried, where there is
// nothing to guess.
const nearMisses = 16

// udpBuffer holds the largest answer by UDP. We announce less, but not every
// server heeds that.
const udpBuffer = 4096

var (
	errNotOurs   = errors.New("not an answer to this query")
	errGuessing  = errors.New("too many wrong answers")
	errTruncated = errors.New("truncated")
	errNoEDNS    = errors.New("the server does not know EDNS")
	errCase      = errors.New("letters are not as they were sent")
)

// ask asks one server: by UDP, by TCP what did not fit, and without EDNS a
// server that does not know it.
//
// By UDP, letters of the name are large and small at random: whoever forges an
// answer has to guess that too (draft-vixie-dnsext-dns0x20). An answer with
// other letters may come from a server that does not keep them: it is asked by
// TCP, and then, if it cannot be, in small letters.
func (f *forwarder) ask(ctx context.Context, u *upstream, q *query) (*reply, error) {
	edns, mixed := true, u.dialer == nil // inside a sandbox nobody forges but itself
	for {
		r, err := f.askUDP(ctx, u, q, edns, mixed)
		switch {
		case errors.Is(err, errCase):
			soon, cancel := context.WithTimeout(ctx, doubt)
			r, err := f.askTCP(soon, u, q, edns)
			cancel()
			if err == nil || ctx.Err() != nil {
				return r, err
			}
			mixed = false
		case errors.Is(err, errTruncated):
			return f.askTCP(ctx, u, q, edns)
		case errors.Is(err, errNoEDNS):
			edns = false
		case errors.Is(err, errGuessing):
			if r, err := f.askTCP(ctx, u, q, edns); err == nil || ctx.Err() != nil {
				return r, err
			}
		default:
			return r, err
		}
	}
}

// askUDP sends the query from a fresh port and waits until ctx ends for a
// datagram that answers it. Others do not end the wait.
func (f *forwarder) askUDP(ctx context.Context, u *upstream, q *query, edns, mixed bool) (*reply, error) {
	c, stop, err := f.dial(ctx, "udp", u)
	if err != nil {
		return nil, err
	}
	defer stop()
	m := q.upstream(edns)
	if mixed {
		mixLetters(m[headerLen : headerLen+q.n])
	}
	if _, err := c.Write(m); err != nil {
		return nil, fmt.Errorf("send query: %w", err)
	}
	buf := make([]byte, udpBuffer)
	for range nearMisses {
		n, err := c.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("receive answer: %w", err)
		}
		r, err := q.accept(m, buf[:n], edns)
		if errors.Is(err, errNotOurs) || errors.Is(err, errMalformed) {
			continue
		}
		return r, err
	}
	return nil, errGuessing
}

// askTCP asks by TCP, RFC 7766, one connection a query.
func (f *forwarder) askTCP(ctx context.Context, u *upstream, q *query, edns bool) (*reply, error) {
	c, stop, err := f.dial(ctx, "tcp", u)
	if err != nil {
		return nil, err
	}
	defer stop()
	m := q.upstream(edns)
	if _, err := c.Write(append([]byte{byte(len(m) >> 8), byte(len(m))}, m...)); err != nil {
		return nil, fmt.Errorf("send query: %w", err)
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, fmt.Errorf("receive answer: %w", err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, buf); err != nil {
		return nil, fmt.Errorf("receive answer: %w", err)
	}
	r, err := q.accept(m, buf, edns)
	if errors.Is(err, errTruncated) {
		return nil, errMalformed
	}
	return r, err
}

// dial opens a socket that fails when ctx ends; stop closes it.
func (f *forwarder) dial(ctx context.Context, network string, u *upstream) (c net.Conn, stop func(), err error) {
	d := f.dialer
	if u.dialer != nil {
		d = u.dialer
	}
	if c, err = d.DialContext(ctx, network, u.addr); err != nil {
		return nil, nil, err
	}
	release := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return c, func() { release(); c.Close() }, nil
}

// upstream makes the message that asks upstream what q asks: a new random ID,
// the client's RD, AD, CD and DO, and nothing else of the client's.
func (q *query) upstream(edns bool) []byte {
	m := make([]byte, headerLen, headerLen+q.n+5+optLen)
	rand.Read(m[:2])
	m[2], m[3] = q.flags[0]&flagRD, q.flags[1]&(flagAD|flagCD)
	m[5] = 1
	m = append(append(m, q.name()...), 0, byte(q.qtype>>8), byte(q.qtype), 0, classIN)
	if edns {
		m[11] = 1
		m = q.appendOPT(m)
	}
	return m
}

// mixLetters makes the letters of a name large at random. (The lengths of its
// labels, 63 at most, are no letters.)
func mixLetters(name []byte) {
	dice := make([]byte, len(name))
	rand.Read(dice)
	for i, c := range name {
		if 'a' <= c && c <= 'z' && dice[i]&1 != 0 {
			name[i] = c - 'a' + 'A'
		}
	}
}

// accept reads m as the answer to sent, and refuses what is none: another ID,
// no reply, another question; or, if sent has large letters, other letters.
func (q *query) accept(sent, m []byte, edns bool) (*reply, error) {
	if len(m) < headerLen || m[0] != sent[0] || m[1] != sent[1] || m[2]&^(flagAA|flagTC|flagRD) != flagQR {
		return nil, errNotOurs
	}
	rcode, questions := m[3]&0x0f, binary.BigEndian.Uint16(m[4:])
	if edns && rcode == rcodeFormErr || edns && rcode == rcodeNotImp {
		// From before EDNS; some leave the question out. All that can come
		// of believing it is one more query.
		return nil, errNoEDNS
	}
	end := headerLen + q.n + 5
	if questions != 1 || len(m) < end {
		return nil, errNotOurs
	}
	same := bytes.Equal(m[headerLen:end], sent[headerLen:end])
	small := foldQuestion(bytes.Clone(sent[headerLen:end]))
	switch {
	case !bytes.Equal(foldQuestion(m[headerLen:end]), small):
		return nil, errNotOurs
	case !same && !bytes.Equal(small, sent[headerLen:end]):
		return nil, errCase
	}
	if m[2]&flagTC != 0 || len(m) == udpBuffer {
		return nil, errTruncated
	}
	return readReply(m, end, q.qtype, time.Now())
}

// foldQuestion puts the letters of a question's name into lower case, in
// place, and returns it.
func foldQuestion(b []byte) []byte {
	for i := range b[:len(b)-4] {
		b[i] = lower(b[i])
	}
	return b
}
