package link

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// minMTU6 is the least MTU of a link with IPv6, in bytes (RFC 8200, section 5).
// On one with less the kernel has none: no address, no sysctl.
const minMTU6 = 1280

// hasSix reports whether the kernel has IPv6: it may have been told to leave it
// out (ipv6.disable=1).
func hasSix() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// widen gives a link that is too narrow for IPv6 the MTU that it is to have, if
// that is wide enough, and looks at it again: IPv6 comes back as to a new link,
// and only then can be told what it may do there.
func (h *Host) widen(c *conn, cur *info, mtu int) (*info, error) {
	if cur.mtu >= minMTU6 || mtu < minMTU6 {
		return cur, nil
	}
	if err := h.resize(c, cur, mtu); err != nil {
		return nil, err
	}
	again, err := c.link(cur.name)
	if err == nil && again == nil {
		err = catenet.NotFoundf("set link %s: %w", cur.name, unix.ENODEV)
	}
	return again, err
}
