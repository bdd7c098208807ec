package names

import (
	"encoding/binary"
	"errors"
	"time"
)

// The longest that an answer is kept, in seconds. RFC 8767 and RFC 2308 allow
// more; an hour and five minutes are what a host can bear to be wrong.
const (
	maxTTL         = 3600
	maxNegativeTTL = 300
)

var (
	errMalformed = errors.New("malformed message")
	errExtended  = errors.New("the server answers with an extended error code")
)

// reply is an answer from upstream, as it is kept: the message with the
// question in lower case and without its OPT record, which belongs to the
// hop. It is never changed.
type reply struct {
	msg   []byte
	end   int      // where the question ends
	ttls  []uint16 // where in msg the TTLs stand
	ttl   uint32   // how long it may be kept, seconds; 0: not at all
	at    time.Time
	rcode byte
}

// expired reports whether the reply may no longer be used.
func (r *reply) expired(now time.Time) bool {
	return now.Sub(r.at) >= time.Duration(r.ttl)*time.Second
}

// size is what the reply costs in memory, about, in bytes.
func (r *reply) size() int { return len(r.msg) + 2*len(r.ttls) + 160 }

// write makes m, which holds the question q, this reply, with what is left of
// each TTL. What is larger than limit is only said to be (TC).
func (r *reply) write(q *query, m []byte, limit int, now time.Time) []byte {
	if len(r.msg) > q.room(limit) {
		return q.truncated(m)
	}
	id0, id1 := m[0], m[1]
	m = append(m[:q.end], r.msg[r.end:]...)
	copy(m[2:headerLen], r.msg[2:headerLen])
	m[0], m[1] = id0, id1
	m[2] = m[2]&^flagRD | q.flags[0]&flagRD
	m[3] = m[3]&^flagCD | q.flags[1]&flagCD | flagRA
	if age := uint32(now.Sub(r.at) / time.Second); age > 0 {
		for _, off := range r.ttls {
			ttl := binary.BigEndian.Uint32(m[off:])
			binary.BigEndian.PutUint32(m[off:], ttl-min(ttl, age))
		}
	}
	if !q.edns {
		return m
	}
	binary.BigEndian.PutUint16(m[10:], binary.BigEndian.Uint16(m[10:])+1)
	return q.appendOPT(m)
}

// section tells in which part of a message a record stands.
type section int

const (
	answers section = iota
	authority
	additional
)

// readReply reads an upstream's message whose question is known to end at
// end and to ask for qtype. It checks the frame of every record, not their
// data, and allocates no more than the message's own size. The result owns
// its memory.
func readReply(m []byte, end int, qtype uint16, now time.Time) (*reply, error) {
	r := &reply{end: end, at: now, rcode: m[3] & 0x0f}
	var keep lifetime
	off, more := end, uint16(0)
	cut := 0 // where the OPT record begins; what comes behind is dropped with it
	for s := answers; s <= additional; s++ {
		for range binary.BigEndian.Uint16(m[6+2*int(s):]) {
			rr, next, err := readRR(m, off)
			switch {
			case err != nil || rr.rtype == typeOPT && s != additional:
				return nil, errMalformed
			case rr.rtype == typeOPT && m[rr.ttlAt] != 0: // the upper bits of the code
				return nil, errExtended
			case rr.rtype == typeOPT && cut == 0:
				cut = off
			case cut == 0:
				if s == additional {
					more++
				}
				r.ttls = append(r.ttls, uint16(rr.ttlAt))
				keep.see(s, rr, qtype)
			}
			off = next
		}
	}
	if cut == 0 {
		cut = off
	}
	r.msg = append([]byte(nil), m[:cut]...)
	r.msg[2] &= flagQR | flagRD // AA is not ours to repeat
	r.msg[3] &= flagRA | flagAD | flagCD | 0x0f
	binary.BigEndian.PutUint16(r.msg[10:], more)
	r.ttl = keep.seconds(r.rcode)
	return r, nil
}

// rr is the frame of a resource record.
type rr struct {
	rtype uint16
	ttl   uint32 // seconds
	ttlAt int    // where it stands
	data  []byte
}

// readRR reads the record at off and returns where the next one begins.
func readRR(m []byte, off int) (rr, int, error) {
	off, ok := skipName(m, off)
	if !ok || off+10 > len(m) {
		return rr{}, 0, errMalformed
	}
	r := rr{rtype: binary.BigEndian.Uint16(m[off:]), ttl: binary.BigEndian.Uint32(m[off+4:]), ttlAt: off + 4}
	if r.ttl > 1<<31-1 {
		r.ttl = 0 // RFC 2181, section 8
	}
	begin := off + 10
	next := begin + int(binary.BigEndian.Uint16(m[off+8:]))
	if next > len(m) {
		return rr{}, 0, errMalformed
	}
	r.data = m[begin:next]
	return r, next, nil
}

// skipName returns where the name at off ends. A pointer must lead back (RFC
// 1035, section 4.1.4): not into what is dropped.
func skipName(m []byte, off int) (int, bool) {
	begin := off
	for off < len(m) {
		switch l := int(m[off]); {
		case l == 0:
			return off + 1, true
		case l >= 0xc0:
			return off + 2, off+2 <= len(m) && int(binary.BigEndian.Uint16(m[off:])&0x3fff) < begin
		case l > 63:
			return 0, false
		default:
			off += 1 + l
		}
	}
	return 0, false
}

// lifetime gathers how long a message may be kept.
type lifetime struct {
	answered bool   // there is an answer of the type asked for
	some     bool   // there is any answer
	least    uint32 // TTL of the answers
	soa      bool
	negative uint32 // of the SOA record: RFC 2308, section 5
}

func (l *lifetime) see(s section, r rr, qtype uint16) {
	switch {
	case s == answers:
		if !l.some || r.ttl < l.least {
			l.least = r.ttl
		}
		l.some = true
		l.answered = l.answered || r.rtype == qtype || qtype == typeANY
	case s == authority && r.rtype == typeSOA && len(r.data) >= 22:
		l.soa = true
		l.negative = min(r.ttl, binary.BigEndian.Uint32(r.data[len(r.data)-4:]))
	}
}

// seconds returns the time to keep the message: by the answers' TTL, or, if
// it says no, by the SOA record, without which a "no" is not kept.
func (l *lifetime) seconds(rcode byte) uint32 {
	switch {
	case rcode == rcodeOK && l.answered:
		return min(l.least, maxTTL)
	case rcode != rcodeOK && rcode != rcodeNXDomain, !l.soa:
		return 0
	case l.some: // an alias that leads nowhere
		return min(l.least, l.negative, maxNegativeTTL)
	}
	return min(l.negative, maxNegativeTTL)
}
