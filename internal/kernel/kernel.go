// Package kernel is the contract of the only room that touches the kernel or
// runs a command. The rooms above see these interfaces and plain data; the
// folders below implement them:
//
//	link/        rtnetlink: links, addresses, routes, sysctls, and watching them
//	netns/       network namespaces: make, pin, open, enter, watch
//	mounts/      files of ours over those of containers that others start
//	nft/         nf_tables over netlink, and the redirect of a sandbox's lookups
//	wire/        what netlink messages are made of
//	bpf/         cgroup eBPF for ports published on loopback addresses
//	sockets/     held ports, the loopback proxy, sockets inside a namespace
//	holder/      who has a port that somebody else wants
//	tun/         TUN devices and datagram sockets, for transports in user space
//	flows/       conntrack: connections of closed ports are forgotten
//	foreign/     firewalls of others: what of theirs would swallow our packets
//	peercred/    who is at the other end of a unix socket
//	handover/    open sockets for the program that takes this one's place
//	limit/       which limit the daemon has run into, and how to raise it
//	proc/        who a process is, when it ends, which mounts it sees
//	process/     containers of our own: the shim's side and the daemon's
//	fake/        in-memory twins that print their state as ip commands
//	kerneltest/  network namespaces for tests
//
// Errors are translated here, at the kernel's door: an errno that a caller
// can act on comes out as a catenet.Error of a kind, anything else as a plain
// error that says what was being done.
package kernel

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
)

// Mark begins the alias of every link that is ours (IFLA_IFALIAS), so that an
// orphan can be told from a stranger: "catenet:" and the ID of the network or
// endpoint it belongs to.
const Mark = "catenet:"

// Resolver is the address at which a sandbox finds its resolver.
var Resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// Resolvers are further addresses of it, as IPv4 address and mask: for who takes
// name servers out of a resolv.conf by their addresses, and so needs one of them
// for each network.
var Resolvers = net.IPNet{IP: net.IP{127, 128, 0, 0}, Mask: net.CIDRMask(9, 32)}

// PassMark is the mark (SO_MARK, socket(7)) of what passes the redirect of a
// sandbox's lookups: it goes to whoever else answers at Resolver.
const PassMark = 0x63746e74

// ParkedLinkPrefix begins the name of the inner end of an endpoint's link while
// it is parked on the host.
const ParkedLinkPrefix = "ctp"

// EndpointLinkPrefix begins the name of every endpoint's link on the host, so
// that a rule can match all of them.
const EndpointLinkPrefix = "ctn"

// ShaperLinkPrefix begins the name of the link that what an endpoint sends goes
// through where its rate is bounded.
const ShaperLinkPrefix = "cti"

// RedirectTable is the IPv4 table of nf_tables in a sandbox's namespace that
// has the redirect of its resolver, and nothing else.
const RedirectTable = "catenet"

// RouteProtocol is the number (rtm_protocol) that every route of ours
// carries; see rtnetlink(7). It is in the range left to user space.
const RouteProtocol = 159

// Host is one network namespace that has a daemon: the side of every link
// that stays outside the containers. All methods are safe for concurrent use
// and idempotent.
type Host interface {
	// EnsureLink makes the link exist as described. A link of that name that
	// is of its kind and carries its alias is repaired where it differs, and so
	// is a vxlan without alias that somebody has left with the same VXLAN and MAC;
	// any other is a conflict. On failure nothing that it made is left.
	EnsureLink(ctx context.Context, l Link) error
	// DeleteLinks removes links in one batch. An absent one is no error; one
	// that does not carry our Mark is left, save a veth with the prefix of
	// endpoints and no alias: its making was cut short. One that cannot be
	// removed keeps no other.
	// Removing a veth in the kernel takes milliseconds (an RCU grace
	// period), for many in one batch hardly longer than for one.
	DeleteLinks(ctx context.Context, names ...string) error
	// JoinPair gives the namespace l.Peer.NS one end of a veth pair of which the
	// host keeps none: the end that waits on the host as l, or else one of a
	// new pair, whose other end waits there from then on. What waits is down,
	// so that the host hears nothing of it. The end is known again by
	// l.Peer.Alias. On failure nothing that it made is left.
	JoinPair(ctx context.Context, l Link) error
	// PartPair takes that end back: it waits on the host as l from then on; but
	// if its other end waits there, or l has no name, the pair goes. An absent
	// end is no error.
	PartPair(ctx context.Context, l Link) error
	// Links returns the links that carry our Mark.
	Links(ctx context.Context) ([]Link, error)
	// Link returns the link of that name, whosever it is: its kind, alias, MTU, MAC
	// and VXLAN. There is none: not found.
	Link(ctx context.Context, name string) (Link, error)
	// Routes returns the destinations of all routes, of every table (VPNs have
	// their own), except default routes; and all addresses with their subnets'
	// lengths.
	Routes(ctx context.Context) ([]netip.Prefix, error)
	// DefaultLink returns the link of the IPv4 default route (else the IPv6
	// one) and its MTU in bytes; "" and 1500 if there is none.
	DefaultLink(ctx context.Context) (name string, mtu int, err error)
	// EnableForwarding lets the host route for a family. Before IPv6
	// forwarding goes on, interfaces that accept router advertisements are
	// told to go on doing so (accept_ra=2), or the host would lose its own
	// default route.
	EnableForwarding(ctx context.Context, v4, v6 bool) error
	// Dress gives the namespace its interfaces, addresses, routes and the
	// redirect of its resolver: one visit, whatever is asked for. What is
	// right already is not written again. On failure, what this call
	// changed is undone.
	Dress(ctx context.Context, ns *Namespace, o Outfit) error
	// Watch tells of links, addresses and namespaces that lost something
	// of ours: on the host, and inside every namespace that a veth of this
	// host reaches. lost may be called from several goroutines at once. It returns when ctx ends, or with an error.
	Watch(ctx context.Context, lost func(Loss)) error
	Crossing
}

// writesKey is where a context keeps its counter.
type writesKey struct{}

// CountWrites returns a context that has Host's methods add to n how many
// changes they ask of the kernel: a call that finds everything right adds
// none. What others do at the same time is not counted.
func CountWrites(ctx context.Context, n *atomic.Uint64) context.Context {
	return context.WithValue(ctx, writesKey{}, n)
}

// Writes is for those who implement Host: the counter of a context, or nil.
func Writes(ctx context.Context) *atomic.Uint64 {
	n, _ := ctx.Value(writesKey{}).(*atomic.Uint64)
	return n
}

// looksKey is where a context says that nothing is to be changed.
type looksKey struct{}

// Looking returns a context with which Host's methods, and Loopback's Set, change
// nothing: the first thing that they would change is a conflict error that names it.
func Looking(ctx context.Context) context.Context {
	return context.WithValue(ctx, looksKey{}, true)
}

// Looks is for those who implement them: whether a context is of Looking.
func Looks(ctx context.Context) bool { return ctx.Value(looksKey{}) != nil }

// Link describes one link of the host as it should be.
type Link struct {
	Name  string
	Kind  string // "bridge", "veth", …: rtnl link kinds
	Alias string // Mark and an ID
	// MTU in bytes; 0 is that of Master, else the kernel's choice.
	MTU int
	MAC net.HardwareAddr
	// Master is the bridge this link is a port of.
	Master string
	// Isolated ports of one bridge exchange no frame with each other; what
	// they send to the bridge's own MAC the host routes, also where bridged
	// frames pass the IP firewall (br_netfilter), so that they reach each
	// other by way of it. A kernel without tc-bpf filters lacks the latter,
	// and the log says so. Hairpin ports get back what they sent. (Both of
	// IFLA_BRPORT_*.)
	Isolated bool
	Hairpin  bool
	// Addrs are the link's own addresses, all of ours: those that others
	// added are neither listed nor touched. IPv6 ones are set without
	// duplicate address detection, so that they serve at once.
	Addrs []netip.Prefix
	// NoIPv6 sets disable_ipv6; any other link of ours has accept_ra=0 and,
	// unless it has an IPv6 address in Addrs, no link-local one.
	NoIPv6 bool
	// Rate bounds what leaves by the link; zero sets no bound and takes none
	// away.
	Rate Rate
	// Through is the link, of kind "ifb", that all that arrives goes through
	// first, so that its Rate bounds that; "" likewise.
	Through string
	// Peer is the other end of a veth.
	Peer *Peer
	// VXLAN is for that kind. A link with another one is made anew.
	VXLAN *VXLAN
}

// Rate is a token bucket (tc-tbf(8)). The zero value bounds nothing.
type Rate struct {
	Bytes uint64 // a second
	Burst uint32 // bytes that may go at once
}

// Peer is the end of a veth that goes into a namespace.
type Peer struct {
	// Name is what the peer is called in NS (or, parked, on the host).
	Name string
	MAC  net.HardwareAddr
	NS   *Namespace // nil: it stays on the host, parked
	// Alias marks it once it is dressed; for JoinPair and PartPair.
	Alias string
}

// Outfit is everything that a namespace is given in one visit.
type Outfit struct {
	Interfaces []Interface
	// ResolverPort, if not 0, redirects what the namespace sends to port 53 of
	// Resolver, UDP and TCP, to that port of it.
	ResolverPort uint16
	// Further has what is sent to one of Resolvers go the same way.
	Further bool
	// Beside says that somebody else answers there too: he has the word while
	// nobody listens at ResolverPort.
	Beside bool
	// NoResolver takes that redirect away.
	NoResolver bool
}

// Interface is the inside of an endpoint: pure data, made by a driver.
type Interface struct {
	// Link is the name that the link has when it arrives; Name what it is to
	// be called. They are equal where the link was born with its name.
	Link string
	Name string
	// Alias marks it, as Link.Alias does.
	Alias string
	MTU   int // bytes; 0 is what it was born with
	MAC   net.HardwareAddr
	Addrs []netip.Prefix // all of ours: the container may have added some
	// Routes are those of ours through this interface, all of them.
	Routes []Route
	// NoIPv6 sets disable_ipv6 on it. accept_ra is 0 in any case.
	NoIPv6 bool
	// Sysctls are more keys below net.ipv4.conf.IFNAME and the like, with
	// IFNAME literally in place of the name.
	Sysctls map[string]string
}

// Route is one route. A zero Gateway means that Dst is on the link.
type Route struct {
	Dst     netip.Prefix // 0.0.0.0/0 or ::/0 is the default route
	Gateway netip.Addr
	Metric  int
}

// Namespace is an open network namespace. Holding it keeps the namespace
// alive: open it for one piece of work and close it.
type Namespace struct {
	Path  string
	Inode uint64 // identifies it on this machine while it lives
	File  *os.File
}

// Close closes the namespace's descriptor.
func (n *Namespace) Close() error {
	if n == nil || n.File == nil {
		return nil
	}
	return n.File.Close()
}

// Loss says that somebody else took something away.
type Loss struct {
	// Link is the name of a host link that lost itself or an address; ""
	// if it happened in a namespace.
	Link string
	// Namespace is the inode of the namespace it happened in; 0 for the host.
	Namespace uint64
	// Reach: other hosts may be reached no longer. With nothing set nobody knows
	// where it happened: everything is to be looked at.
	Reach bool
}

// Namespaces makes and finds network namespaces.
type Namespaces interface {
	// Create makes a namespace and pins it at path by a bind mount, as
	// ip-netns(8) does. The path must not exist; its folder is made. lo is
	// up in it.
	Create(ctx context.Context, path string) error
	// Pin gives a namespace that exists (source: a path like
	// /proc/PID/ns/net) a second place at path.
	Pin(ctx context.Context, source, path string) error
	// Unpin removes the place, and with the last one what Create and Pin
	// made of its folder. An absent one is no error.
	Unpin(ctx context.Context, path string) error
	// Open opens the namespace at path. Something that is no network
	// namespace is an invalid error; a missing path a not-found one.
	Open(path string) (*Namespace, error)
	// Target says what to watch of the namespace that a path leads to: the
	// process, if it is /proc/PID/ns/net, else the path itself.
	Target(path string, inode uint64) (Target, error)
	// Host returns the inode of the daemon's own namespace.
	Host() (uint64, error)
	// Come blocks until there is a network namespace at path, and returns
	// nil then; or until ctx ends, and returns its error.
	Come(ctx context.Context, path string) error
	// Gone blocks until the process or path of t no longer stands for the
	// namespace t.Inode, and returns nil then; or until ctx ends, and
	// returns its error. It keeps nothing alive.
	Gone(ctx context.Context, t Target) error
}

// Target is a namespace to watch: by process or by path.
type Target struct {
	PID       int    // 0: by path
	StartTime uint64 // of the process, clock ticks since boot (proc(5), stat field 22): tells a reused PID
	Path      string
	Inode     uint64
}

// Sockets opens sockets that the rooms above serve or hold.
type Sockets interface {
	// ListenIn opens the resolver's pair of sockets inside a namespace, at
	// 127.0.0.11 and the same port for UDP and TCP. want is the port to
	// take if it is free; 0 or a taken one means any. The sockets keep the
	// namespace alive until they are closed.
	ListenIn(ctx context.Context, ns *Namespace, want uint16) (net.PacketConn, net.Listener, error)
	// DialIn connects from inside a namespace to who else answers lookups
	// there: to Resolver, port 53, past the redirect. network is udp or tcp.
	DialIn(ctx context.Context, ns *Namespace, network string) (net.Conn, error)
	// Hold binds one host port so that nothing else takes it. A port that
	// is taken is a conflict error that says so. port 0 is any free one.
	Hold(ctx context.Context, p HeldPort) (Held, error)
}

// HeldPort is a host port to hold.
type HeldPort struct {
	Proto string // tcp, udp, sctp
	IP    netip.Addr
	Port  uint16
}

// Held is a port held until it is closed.
type Held interface {
	Port() uint16
	Close() error
}

// Loopback carries connections that processes of the host make to ports
// published on its loopback addresses. (Everything else about ports is the
// firewall's.) SCTP is passed over. A port may be held (Sockets.Hold) before
// or after it is set, and let go before or after it is removed.
type Loopback interface {
	// Set adds and removes ports in one step. A port is keyed by protocol,
	// address and number; the unspecified address means every loopback
	// address of its family.
	Set(ctx context.Context, add, remove []LoopbackPort) error
	// Restore makes exactly these ports served, keeping what is right.
	Restore(ctx context.Context, ports []LoopbackPort) error
	// Name says by what: "cgroup-ebpf" or "proxy".
	Name() string
	Close() error
}

// LoopbackPort is one published port as seen from the host itself.
type LoopbackPort struct {
	Proto string // tcp, udp, sctp
	IP    netip.Addr
	Port  uint16
	To    netip.AddrPort
}

// Flows forgets tracked connections.
type Flows interface {
	// Forget removes the conntrack entries whose original destination is
	// one of the given host ports and whose reply comes from To.
	Forget(ctx context.Context, flows []Flow) error
}

// Flow is what tracked connections have in common.
type Flow struct {
	LoopbackPort            // what they were made to, and who answers
	From         netip.Addr // who made them; zero: anybody
}
