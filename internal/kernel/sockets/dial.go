package sockets

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// DialIn connects from inside a namespace to who else answers lookups there.
func (s *Sockets) DialIn(ctx context.Context, ns *kernel.Namespace, network string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, kernel.PassMark)
		})
		if err == nil {
			err = failed
		}
		return err
	}}
	var conn net.Conn
	err := netns.Do(ns, func() (err error) {
		// To an address, and to one only: the socket is made on this thread.
		conn, err = d.DialContext(ctx, network, netip.AddrPortFrom(kernel.Resolver, 53).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask inside namespace %s: %w", ns.Path, limit.Files(err))
	}
	return conn, nil
}
