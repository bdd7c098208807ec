package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/netns"
)

const (
	// resolverBuffer is the receive buffer of the UDP socket, in bytes: a
	// burst of some thousand queries. The kernel takes memory only for what
	// is queued.
	resolverBuffer = 1 << 20
	// samePortTries bounds the search for a number that is free for UDP and
	// TCP.
	samePortTries = 16
)

// ListenIn opens the resolver's sockets in a namespace, as kernel.Sockets
// says.
func (s *Sockets) ListenIn(ctx context.Context, ns *kernel.Namespace, want uint16) (net.PacketConn, net.Listener, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var udp, tcp int
	err := netns.Do(ns, func() (err error) {
		// A socket that is bound while lo is down in a namespace without a
		// route answers from the wrong address ever after: the kernel takes
		// 127.0.0.11 for a broadcast address then, and keeps it for none of
		// the socket's own (inet_addr_type, __inet_bind).
		if err = netns.RaiseLoopback(); err != nil {
			return fmt.Errorf("raise lo: %w", err)
		}
		udp, tcp, err = pair(want)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listen in namespace %s: %w", ns.Path, limit.Files(err))
	}
	// The net package takes duplicates, which its poller drives.
	u, t := os.NewFile(uintptr(udp), "resolver-udp"), os.NewFile(uintptr(tcp), "resolver-tcp")
	defer u.Close()
	defer t.Close()
	pc, err := net.FilePacketConn(u)
	if err != nil {
		return nil, nil, fmt.Errorf("wrap socket: %w", limit.Files(err))
	}
	l, err := net.FileListener(t)
	if err != nil {
		pc.Close()
		return nil, nil, fmt.Errorf("wrap socket: %w", limit.Files(err))
	}
	return pc, l, nil
}

// pair opens UDP and TCP at the port that is wanted, or else at one that is
// free for both.
func pair(want uint16) (udp, tcp int, err error) {
	tries := samePortTries
	if want != 0 {
		tries++
	}
	for range tries {
		if udp, tcp, err = pairAt(want); !errors.Is(err, unix.EADDRINUSE) {
			return udp, tcp, err
		}
		want = 0
	}
	return -1, -1, err
}

func pairAt(want uint16) (udp, tcp int, err error) {
	udp, err = bindTo(kernel.HeldPort{Proto: string(catenet.UDP), IP: kernel.Resolver, Port: want}, false, false)
	if err != nil {
		return -1, -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(udp)
		}
	}()
	port, err := boundPort(udp)
	if err != nil {
		return -1, -1, err
	}
	// Shared, so that closed connections of an earlier daemon do not cost
	// the port; it listens at once, so nobody else can.
	tcp, err = bindTo(kernel.HeldPort{Proto: string(catenet.TCP), IP: kernel.Resolver, Port: port}, true, false)
	if err != nil {
		return -1, -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(tcp)
		}
	}()
	if err := unix.Listen(tcp, unix.SOMAXCONN); err != nil {
		return -1, -1, err
	}
	// SO_RCVBUFFORCE goes beyond net.core.rmem_max and needs CAP_NET_ADMIN.
	if unix.SetsockoptInt(udp, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, resolverBuffer) != nil {
		if err := unix.SetsockoptInt(udp, unix.SOL_SOCKET, unix.SO_RCVBUF, resolverBuffer); err != nil {
			return -1, -1, err
		}
	}
	return udp, tcp, nil
}
