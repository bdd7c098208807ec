package link

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

// EnableForwarding lets the host route for a family.
//
// A host that forwards IPv6 is a router, and a router heeds no router
// advertisement: the kernel drops the routes it learnt from them the moment
// forwarding goes on, save on links with accept_ra=2 (ip-sysctl.rst). So
// those that heed them are told first. A link that appears later follows the
// defaults, which are left as they are.
func (h *Host) EnableForwarding(ctx context.Context, v4, v6 bool) error {
	return h.with(ctx, func(c *conn) error {
		if v4 {
			if err := h.raise(c, "/proc/sys/net/ipv4/ip_forward"); err != nil {
				return err
			}
		}
		const all = "/proc/sys/net/ipv6/conf/all/forwarding"
		if on, err := readSysctl(all); !v6 || err == nil && on == "1" {
			return nil
		}
		if c.looks {
			return catenet.Conflictf("it is not as it should be: the host does not route IPv6")
		}
		if err := h.keepAdvertisements(c); err != nil {
			return err
		}
		return h.raise(c, all)
	})
}

// keepAdvertisements tells links that heed router advertisements to do so on
// a router too.
func (h *Host) keepAdvertisements(c *conn) error {
	links, err := c.links()
	if err != nil {
		return err
	}
	for _, l := range links {
		s := setting{key: "net.ipv6.conf.IFNAME.accept_ra", path: "/proc/sys/net/ipv6/conf/" + l.name + "/accept_ra"}
		if now, err := readSysctl(s.path); err != nil || now != "1" {
			continue // without IPv6, or it heeds none
		}
		h.count(c, 1)
		if _, err := s.set("2"); err != nil {
			return fmt.Errorf("keep router advertisements on %s: %w", l.name, err)
		}
	}
	return nil
}

// raise sets a switch to 1.
func (h *Host) raise(c *conn, path string) error {
	switch now, err := readSysctl(path); {
	case errors.Is(err, unix.ENOENT):
		return catenet.Unsupportedf("this kernel has no %s", path)
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	case now == "1":
		return nil
	}
	if c.looks {
		return catenet.Conflictf("it is not as it should be: %s is off", path)
	}
	h.count(c, 1)
	s := setting{path: path}
	_, err := s.set("1")
	return err
}
