package kernel

import (
	"context"
	"errors"
	"net/netip"
)

// Tunnels opens what a transport in user space stands between: a device that
// the host routes packets into, and a socket that carries them to other hosts.
// Both have queues, so that several threads can work side by side.
type Tunnels interface {
	// OpenDevice makes the device exist as described, up, and opens its
	// queues. It outlives its opener, routes and all: who opens it again has
	// it at once. A link of that name that is not a device of this alias is a
	// conflict. DeleteLinks removes it.
	OpenDevice(ctx context.Context, d TunnelDevice) (PacketDevice, error)
	// OpenSocket binds a UDP socket. An address that is taken is a conflict,
	// one that the host does not have an invalid error.
	OpenSocket(ctx context.Context, s TunnelSocket) (DatagramSocket, error)
}

// TunnelDevice describes a TUN device: bare IPv4 packets, no link layer.
type TunnelDevice struct {
	Name  string
	Alias string // Mark and an ID
	MTU   int    // bytes, at least 68
	Addrs []netip.Prefix
	// Queues is how many it has, at least 1: the kernel keeps a flow in one.
	Queues int
}

// TunnelSocket describes a UDP socket of IPv4.
type TunnelSocket struct {
	Bind netip.AddrPort
	// Queues is how many sockets share the address, at least 1: the kernel
	// keeps what comes from one host in one.
	Queues int
}

// ErrTooBig and ErrUnreachable say of a datagram that it was not sent since
// its path takes no bigger one than PathMTU says, or that there is no path.
var (
	ErrTooBig      = errors.New("the datagram is too big for its path")
	ErrUnreachable = errors.New("the host cannot be reached")
)

// PacketDevice is an open TUN device.
type PacketDevice interface {
	Queues() []PacketQueue
	// Segments says which offloads Write takes, besides SegmentNone.
	Segments(s Segment) bool
	// Interrupt makes every Read return net.ErrClosed, from now on.
	Interrupt()
	// Close closes the queues, which nobody may use any more. The device
	// stays.
	Close() error
}

// PacketQueue is one queue of a device. One goroutine may read; any may write.
type PacketQueue interface {
	// Read reads one packet into b, which holds the biggest, MaxPacket. If
	// there is none it waits, or returns 0 at once.
	Read(b []byte, wait bool) (n int, left Offload, err error)
	// Write gives the host one packet, in parts.
	Write(parts [][]byte, left Offload) error
}

// MaxPacket is the most bytes that a packet has, segments together.
const MaxPacket = 1<<16 - 1

// Offload is what is still to be done to a packet by whoever passes it on,
// as in struct virtio_net_hdr (linux/virtio_net.h).
type Offload struct {
	// Checksum: the bytes from ChecksumStart on are to be summed, and the sum
	// stored ChecksumOffset bytes behind that, where the sum of the
	// pseudo-header is now.
	Checksum                      bool
	ChecksumStart, ChecksumOffset uint16
	// Segment, unless SegmentNone, says that the packet is several, which
	// share its headers: each has SegmentSize bytes of what is behind them,
	// the last may have fewer.
	Segment     Segment
	SegmentSize uint16
	HeaderLen   uint16 // of all headers, bytes; of what was read, only a hint
}

// Segment is how a packet is to be cut.
type Segment uint8

// Ways to cut a packet.
const (
	SegmentNone Segment = iota
	SegmentTCP
	SegmentUDP
)

// DatagramSocket is a bound UDP socket, or several that share an address.
type DatagramSocket interface {
	Queues() []DatagramQueue
	// PathMTU is the size in bytes of the biggest IP packet that the path to
	// a host is known to take.
	PathMTU(to netip.Addr) (int, error)
	// Refused counts how often the kernel refused an offload, and datagrams
	// went one by one instead.
	Refused() uint64
	// Interrupt makes every Receive return net.ErrClosed, from now on.
	Interrupt()
	// Close closes the queues, which nobody may use any more.
	Close() error
}

// MaxTrain and MaxTrainBytes bound a train (UDP_MAX_SEGMENTS of linux/udp.h,
// and what a UDP datagram of IPv4 can carry).
const (
	MaxTrain      = 64
	MaxTrainBytes = MaxPacket - 20 - 8
)

// DatagramQueue is one queue of a socket. One goroutine may receive; any may
// send.
type DatagramQueue interface {
	// Send sends trains in order, and returns how many went before the one
	// that err is about; the rest was not tried. No datagram is fragmented on
	// its way.
	Send(trains []Train) (n int, err error)
	// Receive waits until something has arrived, fills in as many trains as
	// there are, whose Data have room for MaxPacket bytes each, and returns
	// how many.
	Receive(trains []Arrival) (n int, err error)
}

// Train is one or more datagrams to one host: Size bytes each, the last may
// have fewer. Their bytes are the Parts, one behind the other.
type Train struct {
	To    netip.AddrPort
	Size  int
	Parts [][]byte
}

// Arrival is a train that arrived.
type Arrival struct {
	From netip.AddrPort
	Size int
	Data []byte
}
