package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// headerLen is the size of struct virtio_net_hdr.
const headerLen = 10

// maxParts is how many pieces one system call takes (UIO_MAXIOV).
const maxParts = 1024

// queue is one queue of a device.
type queue struct {
	fd   int
	bell bell
	name string // of the device

	inHeader  [headerLen]byte
	inVectors [2]unix.Iovec

	mu        sync.Mutex // held by who writes
	outHeader [headerLen]byte
	vectors   []unix.Iovec
}

var _ kernel.PacketQueue = (*queue)(nil)

func (q *queue) Read(b []byte, wait bool) (int, kernel.Offload, error) {
	q.inVectors = [2]unix.Iovec{{Base: &q.inHeader[0], Len: headerLen}, {Base: &b[0], Len: uint64(len(b))}}
	for {
		n, errno := raw(unix.SYS_READV, q.fd, unsafe.Pointer(&q.inVectors), 2, 0)
		switch {
		case errno == 0 && n < headerLen:
			return 0, kernel.Offload{}, fmt.Errorf("read from %s: %d bytes", q.name, n)
		case errno == 0:
			return n - headerLen, decode(&q.inHeader), nil
		case errno != unix.EAGAIN:
			return 0, kernel.Offload{}, q.lost("read from", errno)
		case !wait:
			return 0, kernel.Offload{}, nil
		}
		if err := q.bell.wait(q.fd, unix.POLLIN); err != nil {
			return 0, kernel.Offload{}, err
		}
	}
}

func (q *queue) Write(parts [][]byte, left kernel.Offload) error {
	if len(parts) >= maxParts {
		return fmt.Errorf("write to %s: %d parts are too many", q.name, len(parts))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	encode(&q.outHeader, left)
	q.vectors = append(q.vectors[:0], unix.Iovec{Base: &q.outHeader[0], Len: headerLen})
	q.vectors = gather(q.vectors, parts)
	_, errno := raw(unix.SYS_WRITEV, q.fd, unsafe.Pointer(&q.vectors[0]), uintptr(len(q.vectors)), 0)
	if errno != 0 {
		return q.lost("write to", errno)
	}
	return nil
}

// lost translates why a queue does not work: a device that was removed is a
// not-found error.
func (q *queue) lost(what string, errno unix.Errno) error {
	switch {
	case errors.Is(errno, unix.EBADFD):
		return catenet.NotFoundf("%s %s: the device is gone", what, q.name)
	case errors.Is(errno, unix.EBADF):
		return net.ErrClosed
	}
	return fmt.Errorf("%s %s: %w", what, q.name, errno)
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
