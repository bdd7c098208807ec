package names

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// notice heads every file of ours.
const notice = "# Written by catenet, and again whenever the container's networks change.\n" +
	"# What is changed here by hand is lost then.\n"

// HostsFile is what a sandbox's /etc/hosts says.
type HostsFile struct {
	// Base, if not nil, is kept in place of the lines of localhost: the
	// host's own file, for a sandbox that shares the host's namespace.
	Base []byte
	// Names are the sandbox's own, the first one that which a look-up of an
	// address gives: its hostname, then its name.
	Names []string
	Addrs []netip.Addr // its own, of all networks
	Extra []Host
}

// Hosts writes /etc/hosts, see hosts(5).
func Hosts(h HostsFile) []byte {
	var b bytes.Buffer
	if h.Base != nil {
		b.Write(h.Base)
		if len(h.Base) > 0 && !bytes.HasSuffix(h.Base, []byte("\n")) {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(notice)
		b.WriteString("127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\n" +
			"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	}
	for _, e := range h.Extra {
		fmt.Fprintf(&b, "%s\t%s\n", e.Addr, e.Name)
	}
	var own []string
	for _, s := range h.Names {
		if s != "" && !slices.Contains(own, s) {
			own = append(own, s)
		}
	}
	for _, a := range h.Addrs {
		if a.IsValid() && len(own) > 0 {
			fmt.Fprintf(&b, "%s\t%s\n", a, strings.Join(own, " "))
		}
	}
	return b.Bytes()
}

// ResolvConf writes the /etc/resolv.conf of a sandbox with networks: our
// resolver, the search domains asked for or else the host's ("." asked for
// means none), and ndots:0 unless another ndots is asked for. outside says
// whether anything is forwarded.
func ResolvConf(dns catenet.DNSConfig, host HostConf, outside bool) []byte {
	var b bytes.Buffer
	b.WriteString(notice)
	servers := dns.Servers
	if len(servers) == 0 {
		servers = host.Servers
	}
	switch {
	case !outside:
		b.WriteString("# Behind the name server: nobody, all networks are internal.\n")
	case len(servers) == 0:
		b.WriteString("# Behind the name server: nobody, the host has none either.\n")
	default:
		fmt.Fprintf(&b, "# Behind the name server: %s\n", joinAddrs(servers))
	}
	fmt.Fprintf(&b, "nameserver %s\n", kernel.Resolver)
	writeSearch(&b, dns.Search, host.Search)
	options := dns.Options
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		options = append([]string{"ndots:0"}, options...)
	}
	fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	return b.Bytes()
}

// HostResolvConf writes the /etc/resolv.conf of a sandbox that has no
// resolver of ours (it shares the host's namespace, or has no network): the
// host's own file as it is, or with what was asked for in place of what the
// host says.
func HostResolvConf(own []byte, dns catenet.DNSConfig, host HostConf) []byte {
	if len(dns.Servers)+len(dns.Search)+len(dns.Options) == 0 {
		return own
	}
	var b bytes.Buffer
	b.WriteString(notice)
	servers, options := dns.Servers, dns.Options
	if len(servers) == 0 {
		servers = host.Servers
	}
	if len(options) == 0 {
		options = host.Options
	}
	for _, a := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	writeSearch(&b, dns.Search, host.Search)
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.Bytes()
}

func writeSearch(b *bytes.Buffer, asked, host []string) {
	if len(asked) == 0 {
		asked = host
	}
	if len(asked) > 0 && !slices.Equal(asked, []string{"."}) {
		fmt.Fprintf(b, "search %s\n", strings.Join(asked, " "))
	}
}

func joinAddrs(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}

// ValidateDNS checks what is asked for before it is written into a file or
// sent to: servers that can be asked, search domains, and options of one
// word each.
func ValidateDNS(c catenet.DNSConfig) error {
	for _, a := range c.Servers {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			return catenet.Invalidf("%s cannot be a name server", a).WithHint("a name server is an address like 192.0.2.53 or 2001:db8::53")
		}
	}
	for _, s := range c.Search {
		if s != "." && (encodeName(s) == "" || !oneWord(s)) {
			return catenet.Invalidf("%q cannot be a search domain", s).WithHint("a search domain is like example.com; a single dot stands for none")
		}
	}
	for _, o := range c.Options {
		if !oneWord(o) {
			return catenet.Invalidf("%q cannot be an option of resolv.conf", o).WithHint("an option is one word, like ndots:2 or use-vc")
		}
	}
	return nil
}

// oneWord reports whether s can stand in a file of ours: printable ASCII
// without spaces and signs that begin a comment.
func oneWord(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '#' || c == ';' {
			return false
		}
	}
	return s != ""
}
