// Package holder finds out who has a port that somebody else wants.
package holder

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/catenet/catenet/internal/kernel"
)

// Search finds out who has a port. It reads every process's descriptors, so it
// is asked only when a port is taken, and finds nothing when it was asked a
// moment ago: a range of taken ports is gone through without it.
type Search struct{ last time.Time }

// Pause is how long a search keeps others from being made.
const Pause = 100 * time.Millisecond

// Find returns something like "nginx (process 123)", or "" if it does not
// know; own is what this process's is called.
func (h *Search) Find(key kernel.HeldPort, own string) string {
	if time.Since(h.last) < Pause {
		return ""
	}
	defer func() { h.last = time.Now() }()
	inodes := make(map[string]bool)
	for _, table := range []string{key.Proto, key.Proto + "6"} {
		socketsOf("/proc/thread-self/net/"+table, key, inodes)
	}
	if len(inodes) == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		if pid == strconv.Itoa(os.Getpid()) {
			return own
		}
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return "process " + pid
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
	}
	return ""
}

// socketsOf adds the sockets of a table of /proc/net that are in the port's
// way, as links of /proc/PID/fd show them. See proc(5); a line is
//
//	sl local_address rem_address st queues timer retrnsmt uid timeout inode …
//	0: 0100007F:1F90 00000000:0000 0A …
func socketsOf(table string, key kernel.HeldPort, inodes map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return // no such family or protocol here
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		w := strings.Fields(lines.Text())
		if len(w) < 10 || w[9] == "0" {
			continue
		}
		a, ok := procAddr(w[1])
		if !ok || a.Port() != key.Port {
			continue
		}
		here := a.Addr() == key.IP || key.IP.IsUnspecified() && (key.IP.Is6() || a.Addr().Is4()) || a.Addr().IsUnspecified()
		if here {
			inodes["socket:["+w[9]+"]"] = true
		}
	}
}

// procAddr reads an address of /proc/net: 32-bit words in the byte order of
// the machine, and the port, all in hexadecimal. An IPv4-mapped one comes out
// as IPv4.
func procAddr(s string) (netip.AddrPort, bool) {
	ip, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(ip)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		word := binary.NativeEndian.Uint32(b[i:])
		b[i], b[i+1], b[i+2], b[i+3] = byte(word>>24), byte(word>>16), byte(word>>8), byte(word)
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
