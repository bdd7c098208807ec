package scale

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/lab"
)

// watch sees from outside what is written to the kernel: events of rtnetlink
// on the host and in all namespaces that a link of it leads to, and the
// generation of each namespace's ruleset, which every transaction counts up.
type watch struct {
	places      []string // the host's is the first
	events      int      // a socket
	generations []uint32
}

func watchHost(t *testing.T, h *lab.Host, places []string) *watch {
	t.Helper()
	w := &watch{places: append([]string{h.NS.Path}, places...)}
	err := h.NS.Do(func() (err error) {
		w.events, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		if err := errors.Join(
			unix.SetsockoptInt(w.events, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptInt(w.events, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1),
			unix.Bind(w.events, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		); err != nil {
			return err
		}
		for _, group := range []int{
			unix.RTNLGRP_LINK, unix.RTNLGRP_TC, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
			unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
		} {
			if err := unix.SetsockoptInt(w.events, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.events) })
	return w
}

// begin forgets what was seen so far, once it is quiet: the kernel itself has
// things to do for a while after a link has come.
func (w *watch) begin(t *testing.T) {
	t.Helper()
	for quiet := 0; quiet < 5; quiet++ {
		time.Sleep(50 * time.Millisecond)
		if w.count(t) > 0 {
			quiet = 0
		}
	}
	w.generations = w.generation(t)
}

// end returns how many transactions there were on the host and inside of the
// namespaces since begin, and how many events.
func (w *watch) end(t *testing.T) (host, inside, events int) {
	t.Helper()
	for i, g := range w.generation(t) {
		n := int(g - w.generations[i])
		if i == 0 {
			host = n
		} else {
			inside += n
		}
	}
	return host, inside, w.count(t)
}

// count reads all events.
func (w *watch) count(t *testing.T) (n int) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		switch got, _, err := unix.Recvfrom(w.events, buf, 0); err {
		case nil:
			// A bridge tells of a port (AF_BRIDGE) by itself when the port's
			// forward delay is over, 15 s after it has come.
			if got > unix.SizeofNlMsghdr && buf[unix.SizeofNlMsghdr] != unix.AF_BRIDGE {
				n++
			}
		case unix.EAGAIN:
			return n
		default:
			t.Fatal(err)
		}
	}
}

// generation asks for the number of each namespace's ruleset.
func (w *watch) generation(t *testing.T) (all []uint32) {
	t.Helper()
	for _, p := range w.places {
		var g uint32
		if err := kerneltest.In(p, func() (err error) { g, err = generation(); return err }); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		all = append(all, g)
	}
	return all
}

func generation() (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// A header (struct nlmsghdr), and a struct nfgenmsg of zeros.
	ask := binary.NativeEndian.AppendUint32(nil, 20)
	ask = binary.NativeEndian.AppendUint16(ask, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN)
	ask = append(binary.NativeEndian.AppendUint16(ask, unix.NLM_F_REQUEST), make([]byte, 12)...)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return 0, err
	}
	const id = 20 + 4 // the first attribute is NFTA_GEN_ID
	if n < id+4 || binary.NativeEndian.Uint16(buf[id-2:]) != unix.NFTA_GEN_ID {
		return 0, fmt.Errorf("%w: %x", os.ErrInvalid, buf[:n])
	}
	return binary.BigEndian.Uint32(buf[id:]), nil
}
