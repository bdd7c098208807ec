package link

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// watchBuffer is the receive buffer of a watch, in bytes: a container that
// comes or goes makes some ten events of about 2 KiB in kernel memory.
const watchBuffer = 8 << 20

// Instructions of a socket's filter (classic BPF, linux/filter.h). A word of
// a message is loaded as if it were in network order.
const (
	loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
	loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	ifEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K // else skip Jf, then skip Jt
	ret      = unix.BPF_RET | unix.BPF_K                // so many bytes are let through
	whole    = 1 << 31
)

// Places in a message: nlmsg_type, and rtm_protocol of a route (rtnetlink(7)).
const (
	typeAt     = 4
	protocolAt = unix.SizeofNlMsghdr + 5
)

// hearLinks opens the socket that hears of links, addresses and traffic control,
// and of our routes that go, and the kernel's own: those of others, a router's, may
// be a million; and of neighbours that go.
func hearLinks() (*os.File, error) {
	return hear(unix.NETLINK_ROUTE, []unix.SockFilter{
		{Code: loadHalf, K: typeAt},
		{Code: ifEqual, K: asLoaded(unix.RTM_NEWROUTE), Jt: 6},
		{Code: ifEqual, K: asLoaded(unix.RTM_NEWNEIGH), Jt: 5},
		{Code: ifEqual, K: asLoaded(unix.RTM_DELROUTE), Jf: 3},
		{Code: loadByte, K: protocolAt},
		{Code: ifEqual, K: unix.RTPROT_KERNEL, Jt: 1},
		{Code: ifEqual, K: kernel.RouteProtocol, Jf: 1},
		{Code: ret, K: whole},
		{Code: ret},
	}, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_NSID,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_TC,
		unix.RTNLGRP_NEIGH)
}

// hearTables opens the socket that hears of nf_tables that go: of transactions
// that begin with that, as those do that flush a ruleset.
func hearTables() (*os.File, error) {
	return hear(unix.NETLINK_NETFILTER, []unix.SockFilter{
		{Code: loadHalf, K: typeAt},
		{Code: ifEqual, K: asLoaded(delTable), Jt: 2},
		{Code: ifEqual, K: asLoaded(delChain), Jt: 1},
		{Code: ifEqual, K: asLoaded(delRule), Jf: 1},
		{Code: ret, K: whole},
		{Code: ret},
	}, unix.NFNLGRP_NFTABLES)
}

// Types of messages of nf_tables.
const (
	delTable = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE
	delChain = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELCHAIN
	delRule  = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELRULE
)

// asLoaded is a type of message as a filter sees it.
func asLoaded(messageType uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(native.AppendUint16(nil, messageType)))
}

// hear opens a socket that hears what the filter lets through, of the host and
// of all namespaces that it has a number for.
func hear(protocol int, filter []unix.SockFilter, groups ...int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "netlink")
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, watchBuffer),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
	)
	var all uint32
	for _, g := range groups {
		all |= 1 << (g - 1)
	}
	if err = errors.Join(err, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: all})); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
