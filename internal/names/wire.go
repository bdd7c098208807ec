package names

import (
	"encoding/binary"
	"strings"
)

// Sizes of messages, in bytes.
const (
	headerLen   = 12   // RFC 1035, section 4.1.1
	optLen      = 11   // an OPT record without options, RFC 6891, section 6.1.2
	maxWireName = 255  // RFC 1035, section 2.3.4, the root label included
	plainUDP    = 512  // a UDP answer to a client without EDNS
	ednsUDP     = 1232 // what we say that we take: fits into the least IPv6 MTU
	maxQuery    = 4096 // the largest query, and the largest answer by UDP
	maxMessage  = 65535
)

// Types, classes, flags and codes that the quick way knows (RFC 1035).
const (
	typeA     = 1
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeAAAA  = 28
	typeOPT   = 41
	typeANY   = 255
	classIN   = 1

	flagQR = 0x80 // byte 2
	flagAA = 0x04
	flagTC = 0x02
	flagRD = 0x01
	flagRA = 0x80 // byte 3
	flagAD = 0x20
	flagCD = 0x10

	rcodeOK       = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5
)

// query is a standard query as the quick way reads it.
type query struct {
	buf   [maxWireName]byte // the name in lower case
	n     int               // its length, without the root label
	qtype uint16
	end   int // where the question ends in the message
	flags [2]byte
	edns  bool
	do    bool
	size  int // the largest UDP answer that the client takes
}

// name returns the question's name: labels with their lengths, in lower
// case, without the root label at the end.
func (q *query) name() []byte { return q.buf[:q.n] }

// verdict says what is to be done with a message.
type verdict int

const (
	standard verdict = iota // read in full
	unusual                 // miekg/dns has to look at it
	ignored                 // no query at all: never answered, or two servers would talk for ever
)

// parse reads a message that has one question of class IN, no other record
// but a plain OPT, and no flag that a client has no business to set. Anything
// else is unusual; it may still be right.
func (q *query) parse(m []byte) verdict {
	if len(m) < headerLen || m[2]&flagQR != 0 {
		return ignored
	}
	if m[2]&^flagRD != 0 || m[3]&^(flagAD|flagCD) != 0 ||
		m[4] != 0 || m[5] != 1 || m[6]|m[7]|m[8]|m[9]|m[10] != 0 || m[11] > 1 {
		return unusual
	}
	off := headerLen
	q.n = 0
	for {
		if off >= len(m) {
			return unusual
		}
		l := int(m[off])
		if l == 0 {
			off++
			break
		}
		if l > 63 || off+1+l > len(m) || q.n+1+l >= maxWireName {
			return unusual
		}
		q.buf[q.n] = byte(l)
		for i := 1; i <= l; i++ {
			q.buf[q.n+i] = lower(m[off+i])
		}
		q.n += 1 + l
		off += 1 + l
	}
	if off+4 > len(m) || m[off+2] != 0 || m[off+3] != classIN {
		return unusual
	}
	q.qtype = binary.BigEndian.Uint16(m[off:])
	if transfer(q.qtype) {
		return unusual
	}
	q.end = off + 4
	q.flags = [2]byte{m[2], m[3]}
	return q.parseOPT(m[q.end:], m[11] == 1)
}

// parseOPT reads what follows the question: nothing, or one OPT record of
// version 0 without options.
func (q *query) parseOPT(rest []byte, present bool) verdict {
	q.edns, q.do, q.size = present, false, plainUDP
	if !present {
		if len(rest) != 0 {
			return unusual
		}
		return standard
	}
	// Root name, type, size, extended code, version, flags, length.
	if len(rest) != optLen || rest[0] != 0 || rest[1] != 0 || rest[2] != typeOPT ||
		rest[5] != 0 || rest[6] != 0 || rest[7]&^0x80 != 0 || rest[8] != 0 || rest[9] != 0 || rest[10] != 0 {
		return unusual
	}
	q.do = rest[7] == 0x80
	q.size = min(max(int(binary.BigEndian.Uint16(rest[3:])), plainUDP), maxQuery)
	return standard
}

// transfer reports types that are no lookup: IXFR, AXFR, MAILB, MAILA, and
// the records of the protocol itself (OPT, TKEY, TSIG).
func transfer(t uint16) bool { return t == typeOPT || t >= 249 && t < typeANY || t == 0 }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// encodeName turns a dotted name into the form of query.name. It returns ""
// for what is no domain name, the root among it.
func encodeName(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxWireName-2 {
		return ""
	}
	b := make([]byte, 0, len(s)+1)
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 {
			return ""
		}
		b = append(b, byte(len(label)))
		for i := range len(label) {
			b = append(b, lower(label[i]))
		}
	}
	return string(b)
}

// cutSuffix returns name without suffix (both as in query.name), if name
// ends with it at the border of a label and something is left.
func cutSuffix(name []byte, suffix string) ([]byte, bool) {
	cut := len(name) - len(suffix)
	if suffix == "" || cut <= 0 || string(name[cut:]) != suffix {
		return nil, false
	}
	off := 0
	for off < cut {
		off += 1 + int(name[off])
	}
	return name[:cut], off == cut
}
