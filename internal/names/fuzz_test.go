package names

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/bounds"
)

// seeds are messages of every kind that the parsers meet.
func seeds(f *testing.F) {
	pack := func(m *dns.Msg) {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	pack(question("web.front", dns.TypeA))
	pack(question("WEB", dns.TypeAAAA).SetEdns0(1232, true))
	pack(question(".", dns.TypeNS))
	pack(question(`a\.b\000.c`, dns.TypePTR))
	pack(question(strings.Repeat("abcdefghi.", 25), dns.TypeA))
	pack(new(dns.Msg).SetUpdate("example."))
	cookie := question("web", dns.TypeA).SetEdns0(1400, false)
	cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
	pack(cookie)
	r := replyTo(question("web", dns.TypeA), "@ 60 IN CNAME b.", "b. 7 IN A 192.0.2.1", "a. 9 IN SOA n. r. 1 2 3 4 5", "@ 1 IN TXT x")
	r.Compress = true
	r.SetEdns0(1232, true)
	pack(r)
	f.Add([]byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
}

// FuzzParse: what the quick way reads, miekg/dns reads the same; what is a
// plain question to miekg/dns, the quick way reads.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var q query
		v := q.parse(b)
		var m dns.Msg
		err := m.Unpack(b)
		if v != standard {
			if err == nil && plainQuestion(&m, b) {
				t.Fatalf("verdict %d on a plain question:\n%v", v, &m)
			}
			return
		}
		if err != nil {
			t.Fatalf("miekg/dns refuses it: %v", err)
		}
		if len(m.Question) != 1 || m.Response || m.Opcode != 0 || m.Question[0].Qtype != q.qtype || m.Question[0].Qclass != classIN {
			t.Fatalf("read as type %d, but is\n%v", q.qtype, &m)
		}
		name, _, err := dns.UnpackDomainName(append(append([]byte{}, q.name()...), 0), 0)
		if err != nil || !strings.EqualFold(name, m.Question[0].Name) {
			t.Fatalf("read as %q (%v), but is %q", name, err, m.Question[0].Name)
		}
		opt := m.IsEdns0()
		if (opt != nil) != q.edns || opt != nil && (opt.Do() != q.do || opt.Version() != 0 || q.size != min(max(int(opt.UDPSize()), plainUDP), maxQuery)) {
			t.Fatalf("EDNS %v, DO %v, size %d, but is %v", q.edns, q.do, q.size, opt)
		}
	})
}

// plainQuestion reports messages that are for the quick way. b is m's own
// form, to tell how it was written.
func plainQuestion(m *dns.Msg, b []byte) bool {
	if m.Response || m.Opcode != 0 || m.Authoritative || m.Truncated || m.RecursionAvailable || m.Zero || m.Rcode != 0 ||
		len(m.Question) != 1 || len(m.Answer)+len(m.Ns) != 0 || len(m.Extra) > 1 {
		return false
	}
	q := m.Question[0]
	if q.Qclass != classIN || transfer(q.Qtype) {
		return false
	}
	opt := m.IsEdns0()
	if len(m.Extra) == 1 && (opt == nil || len(opt.Option) != 0 || opt.Hdr.Ttl&^0x8000 != 0 || opt.Hdr.Name != ".") {
		return false
	}
	packed, err := m.Pack()
	return err == nil && string(packed) == string(b)
}

// FuzzStandardize: what it makes is for the quick way, and asks the same.
func FuzzStandardize(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerLen || len(b) > maxQuery || b[2]&flagQR != 0 {
			return
		}
		var plain, refusal []byte
		bounds.Parse(t, len(b), func() { plain, refusal = standardize(b) })
		var m dns.Msg
		if plain == nil {
			if err := m.Unpack(refusal); err != nil || !m.Response || m.Rcode == 0 {
				t.Fatalf("refused with %v (%v)", &m, err)
			}
			return
		}
		var q query
		if v := q.parse(plain); v != standard {
			t.Fatalf("%v became %x, verdict %d", b, plain, v)
		}
		if err := m.Unpack(b); err != nil || m.Question[0].Qtype != q.qtype || m.Id != uint16(plain[0])<<8|uint16(plain[1]) {
			t.Fatalf("asks something else: %v", err)
		}
	})
}

// FuzzReply: what miekg/dns can read comes out with the same records, less
// the OPT; nothing is too long or costs too much.
func FuzzReply(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerLen || len(b) > maxMessage {
			return
		}
		var q query
		asking := append([]byte{}, b...)
		asking[2], asking[3] = asking[2]&flagRD, 0
		clear(asking[6:headerLen])
		end, ok := skipName(asking, headerLen)
		if !ok || end+4 > len(asking) || q.parse(asking[:end+4]) != standard {
			return
		}
		sent := q.upstream(true)
		sent[0], sent[1] = b[0], b[1]
		var was dns.Msg
		wasErr := was.Unpack(b)
		var r *reply
		var err error
		bounds.Parse(t, len(b), func() { r, err = q.accept(sent, append([]byte{}, b...), false) })
		if err != nil {
			return
		}
		out := r.write(&q, asking[:q.end], maxMessage, r.at.Add(time.Second))
		if len(out) > len(b) || r.ttl > maxTTL {
			t.Fatalf("%d bytes became %d, kept for %d s", len(b), len(out), r.ttl)
		}
		if wasErr != nil {
			return
		}
		// Data of a record may, against the rules, point into what was
		// dropped: that is for the client to find out, not to be seen here.
		var is dns.Msg
		if err := is.Unpack(append(out, b[len(out):]...)); err != nil {
			t.Fatalf("cannot be read any more: %v", err)
		}
		if len(is.Answer) != len(was.Answer) || len(is.Ns) != len(was.Ns) || is.Rcode != was.Rcode || is.IsEdns0() != nil || is.Authoritative {
			t.Fatalf("was\n%v\nis\n%v", &was, &is)
		}
		for i, rr := range is.Answer {
			if rr.Header().Rrtype != was.Answer[i].Header().Rrtype || rr.Header().Ttl > was.Answer[i].Header().Ttl {
				t.Fatalf("was %v, is %v", was.Answer[i], rr)
			}
		}
	})
}

// FuzzReverse: addresses found are those whose name it is.
func FuzzReverse(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, "1.2.0.192.in-addr.arpa")
	f.Add(make([]byte, 16), "01.2.0.192.in-addr.arpa")
	f.Add([]byte{1}, "1.2.3.in-addr.arpa")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		if a, ok := netip.AddrFromSlice(raw); ok {
			own, err := dns.ReverseAddr(a.String())
			if err != nil {
				return // an IPv4 address in IPv6's clothes
			}
			if got, ok := reverseAddr([]byte(encodeName(own))); !a.Is4In6() && (!ok || got != a) {
				t.Fatalf("%s gives %v", own, got)
			}
		}
		if a, ok := reverseAddr([]byte(encodeName(name))); ok {
			own, err := dns.ReverseAddr(a.String())
			if err != nil || !a.Is4In6() && !strings.EqualFold(own, dns.Fqdn(name)) {
				t.Fatalf("%q gives %v, whose name is %s", name, a, own)
			}
		}
	})
}

// FuzzResolvConf: nothing of the host's file can break a line of ours.
func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\nsearch a b\noptions x ; y\n")
	f.Fuzz(func(t *testing.T, content string) {
		var c HostConf
		bounds.Parse(t, len(content), func() { c = parseResolvConf([]byte(content)) })
		made := ResolvConf(catenet.DNSConfig{}, c, true)
		if again := parseResolvConf(made); len(again.Servers) != 1 {
			t.Fatalf("of %q comes %q", content, made)
		}
		for _, s := range c.Search {
			if strings.ContainsAny(s, " \t\n") {
				t.Fatalf("search domain %q", s)
			}
		}
		for _, a := range c.Servers {
			if !a.IsValid() {
				t.Fatalf("server %v", a)
			}
		}
	})
}
