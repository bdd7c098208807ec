package link

import (
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
)

// birth names the inside of a veth that we have just made: asking the kernel
// what it is like would take rtnl again, for which attaches queue up.
type birth struct {
	ns   uint64 // inode
	name string
}

// births bounds how many insides wait to be dressed. One that never is, as
// its attach failed, stays behind.
const births = 1024

// deliver notes what the inside of a new veth is like.
func (h *Host) deliver(l kernel.Link) {
	if l.Peer == nil || l.Peer.NS == nil || l.Peer.MAC == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.born) >= births {
		clear(h.born)
	}
	h.born[birth{l.Peer.NS.Inode, l.Peer.Name}] = &info{
		name: l.Peer.Name, kind: "veth", mtu: l.MTU, mac: l.Peer.MAC, peerNS: -1, outside: l.Name}
}

// delivered returns, once, what deliver noted; nil for nothing. The index is
// not known.
func (h *Host) delivered(b birth) *info {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.born[b]
	delete(h.born, b)
	return i
}

// catchUp has the bridge forward what comes from new veths whose insides are up.
// By itself the kernel notices a carrier in a worker of its own, and whatever
// the container sends until then is dropped: an ARP request among it means a
// second's wait. Looking at one link makes it notice at once (rtnl_getlink,
// since Linux 6.8).
func (h *Host) catchUp(c *conn, outsides []string) error {
	for _, name := range outsides {
		if _, err := c.link(name); err != nil {
			return err
		}
	}
	return nil
}

// syncPairs has the kernel notice, likewise, that both ends of veths are up
// now. Who is at the other end may have changed since they were looked at.
func (c *conn) syncPairs(raised []int) error {
	for _, index := range raised {
		var b batch
		b.message("look at link", unix.RTM_GETLINK, 0, ifinfo(index, 0, 0))
		i, err := c.oneLink(&b)
		if err == nil && i != nil && i.peerNS >= 0 {
			_, err = c.linkIn(i.peerNS, i.peer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
