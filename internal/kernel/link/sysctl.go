package link

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
)

// setting is one sysctl of one link: /proc/sys/net shows those of the
// namespace of the thread that opens it.
type setting struct {
	key, path  string
	value, old string // old: before set changed it
}

// set gives the sysctl its value, if it has another, and tells whether it did.
// One open for both: finding the file is what costs. Raw system calls: the os
// package would offer the descriptor to the poller, which doubles the time.
func (s *setting) set(value string) (changed bool, err error) {
	fd, err := unix.Open(s.path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		if strings.HasPrefix(s.key, "net.ipv6.conf.IFNAME.") && (strings.HasSuffix(s.key, ".accept_ra") || value == "1" && strings.HasSuffix(s.key, ".disable_ipv6")) {
			return false, nil // a kernel without IPv6 hears no advertisement
		}
		return false, catenet.Invalidf("this kernel has no sysctl %s", s.path)
	}
	if err == unix.EACCES { // for root too: it can only be read
		return false, catenet.Invalidf("the kernel lets nobody set %s", s.path)
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", s.path, err)
	}
	defer unix.Close(fd)
	var buf [256]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", s.path, err)
	}
	s.old = string(bytes.TrimSpace(buf[:n]))
	if sameWords(s.old, value) {
		return false, nil
	}
	failpoint.Before("link.sysctl")
	_, err = unix.Pwrite(fd, []byte(value), 0)
	failpoint.After("link.sysctl")
	switch err {
	case nil:
		return true, nil
	case unix.EINVAL, unix.ERANGE:
		return false, catenet.Invalidf("set %s: the kernel does not take %q", s.path, value)
	}
	return false, fmt.Errorf("set %s to %q: %w", s.path, value, err)
}

// sameWords compares values of a sysctl as the kernel does.
func sameWords(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// readSysctl returns the value of a sysctl.
func readSysctl(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [256]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(buf[:n])), nil
}

// wantSysctls returns the keys that a link is to have, IFNAME and all: what
// was asked for goes before what we would choose.
func wantSysctls(noIPv6, hasIPv6 bool, asked map[string]string) map[string]string {
	want := make(map[string]string)
	if noIPv6 { // which hears no advertisements either, and finding a file is what costs
		want["net.ipv6.conf.IFNAME.disable_ipv6"] = "1"
	} else {
		want["net.ipv6.conf.IFNAME.accept_ra"] = "0"
	}
	if hasIPv6 && !noIPv6 {
		want["net.ipv6.conf.IFNAME.disable_ipv6"] = "0"
		// The link-local address, too, must serve at once: while it is
		// tentative the host asks for no neighbour from it (RFC 4862, 5.4).
		want["net.ipv6.conf.IFNAME.accept_dad"] = "0"
	}
	maps.Copy(want, asked)
	return want
}

// planSysctls plans what the link that is called name now is to have.
func (p *plan) planSysctls(name string, want map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		path, err := sysctlPath(key, name)
		if err != nil {
			return err
		}
		p.sysctls = append(p.sysctls, setting{key: key, path: path, value: want[key]})
	}
	return nil
}

// sysctlPath returns the file of a key like net.ipv4.conf.IFNAME.forwarding.
func sysctlPath(key, link string) (string, error) {
	words := strings.Split(key, ".")
	if words[0] != "net" || !slices.Contains(words, "IFNAME") || strings.ContainsAny(key, "/\x00") || slices.Contains(words, "") {
		return "", catenet.Invalidf("%q is no sysctl of a link", key).
			WithHint("like net.ipv4.conf.IFNAME.forwarding, with IFNAME just so")
	}
	for i, w := range words {
		if w == "IFNAME" {
			words[i] = link // which may hold dots
		}
	}
	return "/proc/sys/" + strings.Join(words, "/"), nil
}
