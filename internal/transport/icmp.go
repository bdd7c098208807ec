package transport

import (
	"sync"
	"time"
)

// trouble is an error of ICMP (RFC 792, RFC 1191): its type and code.
type trouble struct{ kind, code byte }

// What a router reports.
var (
	unreachableNet  = trouble{3, 0}
	unreachableHost = trouble{3, 1}
	tooBig          = trouble{3, 4}
	expired         = trouble{11, 0}
)

// quoted is the most that an error has of bytes, with what it quotes (RFC 1812,
// 4.3.2.3).
const quoted = 576

// report makes the error that tells who sent p of it; nil if nobody is to be
// told, or too many were lately. mtu counts for tooBig. The error is a packet of
// its own.
func (t *Transport) report(p []byte, why trouble, mtu int) []byte {
	if !reportable(p) || why == tooBig && mtu < minMTU || why != tooBig && !t.limit.take(time.Now()) {
		return nil
	}
	const icmpHeader = 8
	quote := p[:min(len(p), quoted-ipHeader-icmpHeader)]
	r := make([]byte, ipHeader+icmpHeader, ipHeader+icmpHeader+len(quote))
	r = append(r, quote...)
	r[0], r[1] = 0x45, 0xc0 // precedence of internetwork control (RFC 1812, 4.3.2.5)
	be.PutUint16(r[2:], uint16(len(r)))
	r[8], r[9] = 64, protoICMP
	from := t.address.As4()
	copy(r[12:], from[:])
	copy(r[16:], p[12:16])
	seal(r, ipHeader)
	m := r[ipHeader:]
	m[0], m[1] = why.kind, why.code
	be.PutUint16(m[6:], uint16(mtu))
	putSum(m[2:], sum(m, 0))
	t.tally.add(Answered, 1)
	return r
}

// minMTU is the least that every host must take (RFC 791).
const minMTU = 68

// reportable tells whether anybody is to be told of what happens to p: not of
// an error, of a fragment that is not the first, of what was not from one host
// to one host (RFC 1122, 3.2.2).
func reportable(p []byte) bool {
	if !isUnicast(source(p)) || !isUnicast(destination(p)) || be.Uint16(p[6:])&offsetMask != 0 {
		return false
	}
	h := int(p[0]&15) * 4
	if p[9] != protoICMP {
		return true
	}
	if len(p) <= h {
		return false
	}
	switch p[h] { // queries and their answers
	case 0, 8, 13, 14:
		return true
	}
	return false
}

// Errors of all kinds but tooBig, which connections wait for, are limited to so
// many a second, and so many at once (RFC 1812, 4.3.2.8): as Linux does.
const (
	errorsPerSecond = 1000
	errorsAtOnce    = 50
)

// limit is a bucket of tokens. The zero value is a full one.
type limit struct {
	mu   sync.Mutex
	full time.Time // when it will be full again
}

// take takes one, if there is one.
func (l *limit) take(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	const each = time.Second / errorsPerSecond
	if l.full.Before(now) {
		l.full = now
	}
	if l.full.Sub(now) > (errorsAtOnce-1)*each {
		return false
	}
	l.full = l.full.Add(each)
	return true
}
