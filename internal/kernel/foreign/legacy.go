package foreign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyLoaded reports whether the older iptables has a table filter here.
// Asking in any other way would make one.
func legacyLoaded(v6 bool) (bool, error) {
	path := "/proc/thread-self/net/ip_tables_names"
	if v6 {
		path = "/proc/thread-self/net/ip6_tables_names"
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // this kernel has none
	}
	return slices.Contains(strings.Fields(string(b)), "filter"), err
}

// legacyDrops reports whether the chain FORWARD of the older iptables drops
// by policy. It reads the table as iptables-legacy does, through socket
// options (linux/netfilter_ipv4/ip_tables.h).
func legacyDrops(v6 bool) (bool, error) {
	loaded, err := legacyLoaded(v6)
	if err != nil || !loaded {
		return false, err
	}
	family, level := unix.AF_INET, unix.IPPROTO_IP
	if v6 {
		family, level = unix.AF_INET6, unix.IPPROTO_IPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return false, fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(fd)
	info, err := getsockopt(fd, level, getInfo, append([]byte("filter"), make([]byte, infoSize-6)...))
	if err != nil {
		return false, fmt.Errorf("read table: %w", err)
	}
	size := binary.NativeEndian.Uint32(info[infoSize-4:])
	q := make([]byte, entriesHead+int(size))
	copy(q, "filter")
	binary.NativeEndian.PutUint32(q[nameSize:], size)
	entries, err := getsockopt(fd, level, getEntries, q)
	if err != nil {
		return false, fmt.Errorf("read rules: %w", err)
	}
	underflow := binary.NativeEndian.Uint32(info[underflowAt+4*2:]) // of hook 2, forward
	return policyDrops(entries[entriesHead:], int(underflow), v6), nil
}

// Layout of struct ipt_getinfo and ipt_get_entries (and of ip6t_…).
const (
	getInfo     = 64 // IPT_SO_GET_INFO
	getEntries  = 65 // IPT_SO_GET_ENTRIES
	nameSize    = 32
	underflowAt = nameSize + 4 + 5*4
	infoSize    = underflowAt + 5*4 + 4 + 4
	entriesHead = nameSize + 8
)

// policyDrops reads the rule at which a chain of policy ends: an entry
// without matches and a standard target, whose verdict is -(NF_DROP)-1.
func policyDrops(entries []byte, at int, v6 bool) bool {
	targetOffset := 88 // in struct ipt_entry
	if v6 {
		targetOffset = 140 // in struct ip6t_entry
	}
	if at < 0 || at > len(entries) || at+targetOffset+2 > len(entries) {
		return false
	}
	verdict := at + int(binary.NativeEndian.Uint16(entries[at+targetOffset:])) + 32 // behind struct xt_entry_target
	if verdict+4 > len(entries) {
		return false
	}
	return int32(binary.NativeEndian.Uint32(entries[verdict:])) == -1
}

// getsockopt fills buf, which says what is asked for.
func getsockopt(fd, level, opt int, buf []byte) ([]byte, error) {
	n := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return nil, errno
	}
	return buf, nil
}
