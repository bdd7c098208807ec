package tun

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
)

// clone is where TUN devices come from.
const clone = "/dev/net/tun"

// asLink is the device as rtnetlink knows it.
func asLink(s kernel.TunnelSpec) kernel.Link {
	return kernel.Link{Name: s.Device, Kind: "tun", Alias: s.Alias, MTU: s.MTU, Addrs: s.Addrs, NoIPv6: true}
}

// openQueue opens one more queue of a device, which comes to be with its first
// one; until it is told to last it goes with the last one.
func openQueue(device string) (int, error) {
	fd, err := unix.Open(clone, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return -1, catenet.Unsupportedf("this kernel has no TUN devices: there is no %s", clone).WithHint("load the module: modprobe tun")
	}
	if err != nil {
		return -1, err
	}
	ifr, err := unix.NewIfreq(device)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EINVAL) {
			return -1, catenet.Unsupportedf("this kernel's TUN devices have no queues, or no room for what is left to be done to a packet (%w)", err).
				WithHint("Linux has had both since 3.8")
		}
		return -1, err
	}
	return fd, nil
}

// settle makes the device, of which a queue is open, as it should be.
func (n *tunnel) settle(ctx context.Context) error {
	if err := n.t.host.Mark(ctx, n.spec.Device, n.spec.Alias); err != nil {
		return err
	}
	fd := n.lanes[0].device // all that follows is the device's, not the queue's
	if err := n.offload(fd); err != nil {
		return err
	}
	failpoint.Before("tun.persist")
	err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	failpoint.After("tun.persist")
	if err != nil {
		return fmt.Errorf("make %s last: %w", n.spec.Device, err)
	}
	if err := n.t.host.EnsureLink(ctx, asLink(n.spec)); err != nil {
		return err
	}
	return n.t.host.AcceptOwn(ctx, n.spec.Device)
}

// Offloads of TUNSETOFFLOAD (linux/if_tun.h). The kernel takes USO of both
// families or of none; 6.2 and later have it.
const (
	offloadTCP = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO_ECN
	offloadUDP = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// offload asks for what the kernel has.
func (n *tunnel) offload(fd int) error {
	log := n.t.log.With("device", n.spec.Device)
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTCP|offloadUDP) == nil {
		n.usable[kernel.SegmentTCP], n.usable[kernel.SegmentUDP] = true, true
		return nil
	}
	log.Info("the kernel has no segmentation of UDP for TUN devices: datagrams cross them one by one")
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloadTCP) == nil {
		n.usable[kernel.SegmentTCP] = true
		return nil
	}
	log.Warn("the kernel has no offloads for TUN devices: packets cross them one by one")
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0); err != nil {
		return fmt.Errorf("turn offloads of %s off: %w", n.spec.Device, err)
	}
	return nil
}
