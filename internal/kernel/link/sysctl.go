package link

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// setting is one sysctl of one link: /proc/sys/net shows those of the
// namespace of the thread that opens it.
type setting struct {
	path       string
	value, old string
}

// read returns the value of a sysctl. Raw system calls: the os package would
// offer the descriptor to the poller, which doubles the time.
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

func (s setting) write(value string) error {
	fd, err := unix.Open(s.path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		unix.Close(fd)
	}
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ERANGE:
		return catenet.Invalidf("set %s: the kernel does not take %q", s.path, value)
	}
	return fmt.Errorf("set %s to %q: %w", s.path, value, err)
}

// wantSysctls returns the keys that a link is to have, IFNAME and all: what
// was asked for goes before what we would choose.
func wantSysctls(noIPv6, hasIPv6 bool, asked map[string]string) map[string]string {
	want := map[string]string{"net.ipv6.conf.IFNAME.accept_ra": "0"}
	if noIPv6 {
		want["net.ipv6.conf.IFNAME.disable_ipv6"] = "1"
	} else if hasIPv6 {
		want["net.ipv6.conf.IFNAME.disable_ipv6"] = "0"
		// The link-local address, too, must serve at once: while it is
		// tentative the host asks for no neighbour from it (RFC 4862, 5.4).
		want["net.ipv6.conf.IFNAME.accept_dad"] = "0"
	}
	maps.Copy(want, asked)
	return want
}

// planSysctls adds what differs from want on the link that is called name
// now.
func (p *plan) planSysctls(name string, want map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		path, err := sysctlPath(key, name)
		if err != nil {
			return err
		}
		old, err := readSysctl(path)
		if err == unix.ENOENT {
			if strings.HasPrefix(key, "net.ipv6.conf.IFNAME.") && (strings.HasSuffix(key, ".accept_ra") || want[key] == "1" && strings.HasSuffix(key, ".disable_ipv6")) {
				continue // a kernel without IPv6 hears no advertisement
			}
			return catenet.Invalidf("this kernel has no sysctl %s", strings.Replace(key, "IFNAME", name, 1))
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if !slices.Equal(strings.Fields(old), strings.Fields(want[key])) {
			p.sysctls = append(p.sysctls, setting{path, want[key], old})
		}
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
