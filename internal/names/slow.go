package names

import (
	"time"

	"github.com/miekg/dns"
)

// answer answers a message on the slow way: it may wait for upstream. It
// returns nil for what is not answered.
func (s *sandbox) answer(m []byte, byUDP bool) []byte {
	var q query
	switch q.parse(m) {
	case ignored:
		return nil
	case unusual:
		plain, refusal := standardize(m)
		if plain == nil {
			return refusal
		}
		if m = plain; q.parse(m) != standard {
			return bare(m, rcodeFormErr)
		}
	}
	v := s.view.Load()
	limit := q.limit(byUDP)
	r, set := s.n.quick(v, &q, m, limit)
	if set == nil {
		return r
	}
	s.counts.forwarded.Add(1)
	fetched := s.n.forward.fetch(s.ctx, set, &q)
	now := time.Now()
	_, search := s.n.around(v, now)
	return deliver(v, &q, m, fetched, search, limit, now)
}

// bare is a reply that is only a header.
func bare(m []byte, rcode byte) []byte {
	r := make([]byte, headerLen)
	copy(r, m[:2])
	r[2] = flagQR | m[2]&(0x78|flagRD) // the opcode is repeated
	r[3] = flagRA | rcode
	return r
}

// standardize turns a message that the quick way does not read into one with
// the same meaning that it does: options of EDNS, records in other sections
// and strange flags are dropped. If the message has no such meaning, it
// returns nil and the reply that says so.
func standardize(m []byte) (plain, refusal []byte) {
	var msg dns.Msg
	if err := msg.Unpack(m); err != nil {
		return nil, bare(m, rcodeFormErr)
	}
	if msg.Opcode != dns.OpcodeQuery {
		return nil, bare(m, rcodeNotImp)
	}
	if len(msg.Question) != 1 {
		return nil, bare(m, rcodeFormErr)
	}
	question := msg.Question[0]
	if question.Qclass != dns.ClassINET || transfer(question.Qtype) {
		return nil, bare(m, rcodeRefused)
	}
	out := dns.Msg{Question: msg.Question}
	out.Id, out.RecursionDesired = msg.Id, msg.RecursionDesired
	out.AuthenticatedData, out.CheckingDisabled = msg.AuthenticatedData, msg.CheckingDisabled
	var opts int
	for _, rr := range msg.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if opts++; opts > 1 {
				return nil, bare(m, rcodeFormErr) // RFC 6891, section 6.1.1
			}
			if opt.Version() != 0 {
				return nil, badVersion(&msg)
			}
			out.SetEdns0(opt.UDPSize(), opt.Do())
		}
	}
	plain, err := out.Pack()
	if err != nil {
		return nil, bare(m, rcodeFormErr)
	}
	return plain, nil
}

// badVersion is the reply to a version of EDNS that we do not know: RFC 6891,
// section 6.1.3.
func badVersion(msg *dns.Msg) []byte {
	r := new(dns.Msg).SetRcode(msg, dns.RcodeBadVers)
	r.RecursionAvailable = true
	r.SetEdns0(ednsUDP, false)
	b, err := r.Pack()
	if err != nil {
		return nil
	}
	return b
}
