package kernel

import (
	"context"
	"errors"
	"net/netip"
)

// Tunnels opens what a transport in user space stands between: a device that
// the host routes packets into, and a socket that carries them to other hosts.
type Tunnels interface {
	// OpenTunnel makes the device exist as described, up, and binds the
	// socket. The device outlives its opener, routes and all: who opens it
	// again has it at once. A link of that name that is not a device of this
	// alias is a conflict, and so is an address that is taken; one that the
	// host does not have is an invalid error. DeleteLinks removes the device.
	OpenTunnel(ctx context.Context, spec TunnelSpec) (Tunnel, error)
}

// TunnelSpec describes a TUN device (bare IPv4 packets, no link layer), and a
// UDP socket of IPv4.
type TunnelSpec struct {
	Device string
	Alias  string // Mark and an ID
	MTU    int    // of the device, bytes, at least 68
	Addrs  []netip.Prefix
	Bind   netip.AddrPort
	// Lanes is how many there are, at least 1. The kernel keeps a flow in one
	// lane, and what comes from one host in one.
	Lanes int
}

// Tunnel is an open device and its socket.
type Tunnel interface {
	Lanes() []Lane
	// Segments tells whether the device takes packets that are to be cut so.
	Segments(s Segment) bool
	// PathMTU is the size in bytes of the biggest IP packet that the path to
	// a host is known to take.
	PathMTU(to netip.Addr) (int, error)
	// Refused counts how often the kernel refused an offload of the socket,
	// and datagrams went one by one instead.
	Refused() uint64
	// Overflown counts the datagrams that came while the socket was full, and
	// are lost. It can be asked at any time, and has nothing to say once the
	// tunnel is closed.
	Overflown() uint64
	// Interrupt makes every Wait return net.ErrClosed, from now on.
	Interrupt()
	// Close closes the lanes, which nobody may use any more. The device
	// stays.
	Close() error
}

// Lane is one queue of the device and one of the socket, for one goroutine.
// None of its methods but Wait waits.
type Lane interface {
	// Wait returns when there is something to read or to receive, or both.
	Wait() (packets, datagrams bool, err error)
	// Read reads one packet from the host into a part of b, which has
	// ReadRoom bytes; none if there is none. A device that was removed is a
	// not-found error, of Write too.
	Read(b []byte) (p []byte, left Offload, err error)
	// Write gives the host one packet, in parts.
	Write(parts [][]byte, left Offload) error
	// Receive fills in as many trains as there are, whose Data have room for
	// MaxPacket bytes each, and returns how many.
	Receive(trains []Arrival) (n int, err error)
	// Send sends trains in order, and returns how many went before the one
	// that err is about; the rest was not tried. No datagram is fragmented on
	// its way. While the link is busy it waits after all.
	Send(trains []Train) (n int, err error)
}

// ErrTooBig and ErrUnreachable say of a datagram that it was not sent since
// its path takes no bigger one than PathMTU says, or that there is no path.
var (
	ErrTooBig      = errors.New("the datagram is too big for its path")
	ErrUnreachable = errors.New("the host cannot be reached")
)

// MaxPacket is the most bytes that a packet has, segments together; ReadRoom is
// what reading one takes, with what the kernel says of it. MaxTrain
// and MaxTrainBytes bound a train (UDP_MAX_SEGMENTS of linux/udp.h, and what a
// UDP datagram of IPv4 can carry).
const (
	MaxPacket     = 1<<16 - 1
	ReadRoom      = 16 + MaxPacket
	MaxTrain      = 64
	MaxTrainBytes = MaxPacket - 20 - 8
)

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
