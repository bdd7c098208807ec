package tun

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// headerLen is the size of struct virtio_net_hdr.
const headerLen = 10

// before is how many bytes are before a packet that is read, so that it is
// aligned: the last ones are the header. One piece is read sooner than two.
const before = kernel.ReadRoom - kernel.MaxPacket

func (l *lane) Read(b []byte) ([]byte, kernel.Offload, error) {
	b = b[:kernel.ReadRoom]
	n, errno := raw(unix.SYS_READ, l.device, unsafe.Pointer(&b[before-headerLen]), headerLen+kernel.MaxPacket, 0)
	switch {
	case errno == unix.EAGAIN:
		return nil, kernel.Offload{}, nil
	case errno != 0:
		return nil, kernel.Offload{}, l.lost("read from", errno)
	case n <= headerLen:
		return nil, kernel.Offload{}, fmt.Errorf("read from %s: a packet of %d bytes", l.tunnel.spec.Device, n-headerLen)
	}
	end := before + n - headerLen
	return b[before:end:end], decode((*[headerLen]byte)(b[before-headerLen:])), nil
}

func (l *lane) Write(parts [][]byte, left kernel.Offload) error {
	if len(parts) >= maxParts {
		return fmt.Errorf("write to %s: %d parts are too many", l.tunnel.spec.Device, len(parts))
	}
	encode(&l.header, left)
	v := gather(append(l.vectors[:0], unix.Iovec{Base: &l.header[0], Len: headerLen}), parts)
	if _, errno := raw(unix.SYS_WRITEV, l.device, unsafe.Pointer(&v[0]), uintptr(len(v)), 0); errno != 0 {
		return l.lost("write to", errno)
	}
	return nil
}

// lost translates why the device does not work: one that was removed is a
// not-found error.
func (l *lane) lost(what string, errno unix.Errno) error {
	if errno == unix.EBADFD {
		return catenet.NotFoundf("%s %s: the device is gone", what, l.tunnel.spec.Device)
	}
	return fmt.Errorf("%s %s: %w", what, l.tunnel.spec.Device, errno)
}

// The header's flags and kinds (linux/virtio_net.h), in the machine's order.
const (
	flagChecksum = 1    // VIRTIO_NET_HDR_F_NEEDS_CSUM
	segmentTCP4  = 1    // VIRTIO_NET_HDR_GSO_TCPV4
	segmentUDP   = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	segmentECN   = 0x80 // VIRTIO_NET_HDR_GSO_ECN: CWR is set; the packet itself says so too
)

func decode(h *[headerLen]byte) (left kernel.Offload) {
	left.Checksum = h[0]&flagChecksum != 0
	switch h[1] &^ segmentECN {
	case segmentTCP4:
		left.Segment = kernel.SegmentTCP
	case segmentUDP:
		left.Segment = kernel.SegmentUDP
	}
	left.HeaderLen = binary.NativeEndian.Uint16(h[2:])
	left.SegmentSize = binary.NativeEndian.Uint16(h[4:])
	left.ChecksumStart = binary.NativeEndian.Uint16(h[6:])
	left.ChecksumOffset = binary.NativeEndian.Uint16(h[8:])
	return left
}

func encode(h *[headerLen]byte, left kernel.Offload) {
	*h = [headerLen]byte{}
	if left.Checksum {
		h[0] = flagChecksum
		binary.NativeEndian.PutUint16(h[6:], left.ChecksumStart)
		binary.NativeEndian.PutUint16(h[8:], left.ChecksumOffset)
	}
	switch left.Segment {
	case kernel.SegmentTCP:
		h[1] = segmentTCP4
	case kernel.SegmentUDP:
		h[1] = segmentUDP
	case kernel.SegmentNone:
		return
	}
	binary.NativeEndian.PutUint16(h[2:], left.HeaderLen)
	binary.NativeEndian.PutUint16(h[4:], left.SegmentSize)
}
