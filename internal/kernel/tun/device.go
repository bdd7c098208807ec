package tun

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// clone is where TUN devices come from.
const clone = "/dev/net/tun"

// kind is what rtnetlink calls them.
const kind = "tun"

// device is an open device.
type device struct {
	t      *Tunnels
	name   string
	queues []*queue
	bell   bell
	usable map[kernel.Segment]bool
}

var _ kernel.PacketDevice = (*device)(nil)

// OpenDevice opens a device, as kernel.Tunnels says.
func (t *Tunnels) OpenDevice(ctx context.Context, d kernel.TunnelDevice) (_ kernel.PacketDevice, err error) {
	if d.Name == "" || len(d.Name) >= unix.IFNAMSIZ || d.MTU < 68 || d.Queues < 1 {
		return nil, catenet.Invalidf("no TUN device can be %q of %d bytes with %d queues", d.Name, d.MTU, d.Queues)
	}
	l := kernel.Link{Name: d.Name, Kind: kind, Alias: d.Alias, MTU: d.MTU, Addrs: d.Addrs, NoIPv6: true}
	if err := t.host.Admit(ctx, l); err != nil { // first: opening it would take a queue of somebody else's
		return nil, err
	}
	dev := &device{t: t, name: d.Name, usable: make(map[kernel.Segment]bool)}
	if dev.bell, err = newBell(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dev.Close())
		}
	}()
	for i := range d.Queues {
		q, err := t.openQueue(d.Name, i)
		if err != nil {
			return nil, err
		}
		q.bell = dev.bell
		dev.queues = append(dev.queues, q)
	}
	if err := t.host.Mark(ctx, d.Name, d.Alias); err != nil {
		return nil, err
	}
	if err := dev.offload(t); err != nil {
		return nil, err
	}
	failpoint.Before("tun.persist")
	err = unix.IoctlSetInt(dev.queues[0].fd, unix.TUNSETPERSIST, 1)
	failpoint.After("tun.persist")
	if err != nil {
		return nil, fmt.Errorf("make %s last: %w", d.Name, err)
	}
	if err := t.host.EnsureLink(ctx, l); err != nil {
		return nil, err
	}
	return dev, t.host.AcceptOwn(ctx, d.Name)
}

// openQueue opens one more queue of the device, which comes to be with its
// first one; until it is told to last it goes with the last one.
func (t *Tunnels) openQueue(device string, i int) (_ *queue, err error) {
	q := &queue{name: device, vectors: make([]unix.Iovec, 0, maxParts)}
	handed := q.handed(i)
	if q.fd, err = t.inherit(handed); err != nil || q.fd >= 0 {
		if err == nil {
			t.keep(handed, q.fd)
		}
		return q, err
	}
	q.fd, err = unix.Open(clone, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil, catenet.Unsupportedf("this kernel has no TUN devices: there is no %s", clone).WithHint("load the module: modprobe tun")
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", clone, limit.Files(err))
	}
	ifr, err := unix.NewIfreq(device)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(q.fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(q.fd)
		return nil, fmt.Errorf("open queue %d of %s: %w", i, device, err)
	}
	t.keep(handed, q.fd)
	return q, nil
}

func (q *queue) handed(i int) string { return fmt.Sprintf("device %s %d", q.name, i) }

// Offloads of TUNSETOFFLOAD (linux/if_tun.h). The kernel takes USO of both
// families or of none; 6.2 and later have it.
const (
	offloadTCP = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO_ECN
	offloadUDP = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// offload asks for what the kernel has.
func (d *device) offload(t *Tunnels) error {
	fd := d.queues[0].fd // they are the device's, not the queue's
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTCP|offloadUDP) == nil {
		d.usable[kernel.SegmentTCP], d.usable[kernel.SegmentUDP] = true, true
		return nil
	}
	t.log.Info("the kernel has no segmentation of UDP for TUN devices: datagrams cross them one by one", "device", d.name)
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTCP) == nil {
		d.usable[kernel.SegmentTCP] = true
		return nil
	}
	t.log.Warn("the kernel has no offloads for TUN devices: packets cross them one by one", "device", d.name)
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0); err != nil {
		return fmt.Errorf("turn offloads of %s off: %w", d.name, err)
	}
	return nil
}

func (d *device) Queues() []kernel.PacketQueue {
	all := make([]kernel.PacketQueue, len(d.queues))
	for i, q := range d.queues {
		all[i] = q
	}
	return all
}

func (d *device) Segments(s kernel.Segment) bool { return s == kernel.SegmentNone || d.usable[s] }

func (d *device) Interrupt() { d.bell.ring() }

func (d *device) Close() error {
	errs := []error{unix.Close(int(d.bell))}
	for i, q := range d.queues {
		errs = append(errs, d.t.drop(q.handed(i), q.fd))
	}
	return errors.Join(errs...)
}
