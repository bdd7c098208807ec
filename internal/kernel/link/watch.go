package link

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// atHost stands for the host where an event says in which namespace it was.
const atHost = -1

// Watch tells of links set down or removed or not shaped as they were, of
// addresses and routes and, inside, redirects removed, of neighbours of tunnels,
// and of what other hosts may be behind: links of others that come up or take other
// packets, and their addresses that come or go. Sockets on the host hear all namespaces that
// the host has a number for (NETLINK_LISTEN_ALL_NSID, netlink(7)): those that a
// veth of it leads to. They keep none of them alive. What DeleteLinks removes
// on the host is not told. A Loss with neither field set says that events were
// lost, or that one came from a namespace not dressed since the start:
// everything may be affected. lost is called from two goroutines.
func (h *Host) Watch(ctx context.Context, lost func(kernel.Loss)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var links, tables *os.File
	err := h.there(func() (err error) {
		if links, err = hearLinks(); err == nil {
			tables, err = hearTables()
		}
		return err
	})
	defer links.Close()
	defer tables.Close()
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	h.watching(1)
	defer h.watching(-1)
	w := watch{h: h, lost: lost, names: map[int]string{}, tunnels: map[int]bool{}, shapes: map[int]shaping{}, mtus: map[int]int{}}
	if err := h.with(ctx, w.learn); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A deadline in the past wakes the receive; it fails where f is closed.
	stop := context.AfterFunc(ctx, func() {
		_ = links.SetReadDeadline(time.Unix(1, 0))
		_ = tables.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { cancel(listen(links, w.take, func() error { return w.restart(ctx) })) })
	both.Go(func() { cancel(listen(tables, w.tables, func() error { lost(kernel.Loss{}); return nil })) })
	both.Wait()
	if asked.Err() == nil {
		return fmt.Errorf("watch links: %w", context.Cause(ctx))
	}
	return asked.Err()
}

// listen takes events until something fails. After some were lost it has the
// listener start again.
func listen(f *os.File, take func(nsid int, b []byte), again func() error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	buf, oob := make([]byte, 64<<10), make([]byte, 128)
	overrun := false
	for {
		var n, oobn int
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, rerr = unix.Recvmsg(int(fd), buf, oob, 0)
			return rerr != unix.EAGAIN || overrun
		})
		switch {
		case err != nil:
			return err
		case rerr == nil:
			take(nsidOf(oob[:oobn]), buf[:n])
		case rerr == unix.ENOBUFS:
			overrun = true // until the buffer is empty the kernel drops in silence
		case rerr == unix.EAGAIN && overrun:
			overrun = false
			if err := again(); err != nil {
				return err
			}
		case rerr != unix.EINTR:
			return rerr
		}
	}
}

// restart goes on after events were lost.
func (w *watch) restart(ctx context.Context) error {
	w.h.mu.Lock()
	clear(w.h.removing) // the events that would have ended the entries may be lost
	w.h.mu.Unlock()
	if err := w.h.with(ctx, w.learn); err != nil {
		return err
	}
	w.lost(kernel.Loss{})
	return nil
}

// nsidOf returns the number of the namespace that a message came from.
func nsidOf(oob []byte) int {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return atHost
	}
	for _, m := range cmsgs {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(m.Data) >= 4 {
			return int(int32(native.Uint32(m.Data)))
		}
	}
	return atHost
}

// watching counts the Watch calls, for expect.
func (h *Host) watching(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers += n; h.watchers == 0 {
		clear(h.removing)
	}
}

// watch is one Watch.
type watch struct {
	h       *Host
	lost    func(kernel.Loss)
	names   map[int]string // index → name of the host's links that are ours
	tunnels map[int]bool   // those of them that have neighbours of ours
	shapes  map[int]shaping
	mtus    map[int]int // of the host's links that are others'
}

// learn reads which links of the host are ours.
func (w *watch) learn(c *conn) error {
	all, err := c.links()
	if err != nil {
		return err
	}
	clear(w.names)
	clear(w.tunnels)
	clear(w.shapes)
	clear(w.mtus)
	for _, i := range all {
		if !i.ours() {
			w.mtus[i.index] = i.mtu
			continue
		}
		w.know(i)
		w.shapes[i.index] = shaping{bucket: &bucket{}, to: new(int)} // not known: whatever is heard is told
	}
	return nil
}

func (w *watch) know(i info) {
	w.names[i.index] = i.name
	if i.kind == "vxlan" {
		w.tunnels[i.index] = true
	}
}

// take reads what one receive returned.
func (w *watch) take(nsid int, b []byte) {
	for m := range wire.Messages(b) {
		switch m.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			w.link(nsid, m)
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			w.address(nsid, m)
		case unix.RTM_DELROUTE:
			w.route(nsid, m)
		case unix.RTM_DELNEIGH:
			if nsid == atHost && len(m.Data) >= ndmsgLen && w.tunnels[int(native.Uint32(m.Data[4:]))] {
				w.lost(kernel.Loss{Reach: true})
			}
		case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
			w.shaped(nsid, m)
		case unix.RTM_DELNSID:
			w.forget(m.Data)
		}
	}
}

// route reads an event about a route that is gone: one of ours, says the filter, or
// one that the kernel had made, with an address of a link of ours.
func (w *watch) route(nsid int, m wire.Message) {
	r, ok := readRoute(m.Data, unix.RT_TABLE_MAIN)
	switch name := w.names[r.index]; {
	case !ok:
	case r.protocol == kernel.RouteProtocol && nsid != atHost:
		w.inside(nsid)
	case r.protocol == kernel.RouteProtocol:
		w.lost(kernel.Loss{Reach: true})
	case nsid == atHost && name != "" && !w.h.isRemoving(name, false):
		w.lost(kernel.Loss{Link: name})
	}
}

// tables reads what one receive returned of nf_tables.
func (w *watch) tables(nsid int, b []byte) {
	if nsid == atHost {
		return
	}
	const header = 4 // struct nfgenmsg, whose first byte is the family
	for m := range wire.Messages(b) {
		if m.Type != delTable && m.Type != delChain && m.Type != delRule || len(m.Data) < header || m.Data[0] != unix.NFPROTO_IPV4 {
			continue
		}
		for kind, v := range wire.Attrs(m.Data[header:]) {
			if kind == unix.NFTA_TABLE_NAME && wire.Text(v) == kernel.RedirectTable { // of chains and rules too
				w.inside(nsid)
				return
			}
		}
	}
}

// link reads an event about a link.
func (w *watch) link(nsid int, m wire.Message) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return
	}
	i := readInfo(m.Data)
	if m.Data[0] == unix.AF_BRIDGE { // of a bridge about its port: it left
		if m.Type == unix.RTM_DELLINK && nsid == atHost && w.names[i.index] != "" && !w.h.isRemoving(i.name, false) {
			w.lost(kernel.Loss{Link: i.name})
		}
		return
	}
	// change is all ones where it is not about the flags.
	lowered := !i.up() && i.change&unix.IFF_UP != 0 && i.change != ^uint32(0)
	if nsid != atHost && i.name == "lo" && lowered { // where the resolver is
		w.inside(nsid)
	}
	if !i.ours() {
		if nsid == atHost {
			w.theirs(i, m.Type == unix.RTM_DELLINK)
		}
		return
	}
	gone := m.Type == unix.RTM_DELLINK
	if nsid != atHost {
		if lowered || gone {
			w.inside(nsid)
		}
		return
	}
	w.know(i)
	if gone {
		delete(w.names, i.index)
		delete(w.tunnels, i.index)
		delete(w.shapes, i.index)
	}
	if gone && w.h.isRemoving(i.name, true) {
		return
	}
	if (lowered || gone) && !w.h.isRemoving(i.name, false) {
		w.lost(kernel.Loss{Link: i.name})
	}
}

// isRemoving tells whether DeleteLinks takes the link away; done if this was
// the last event about it.
func (h *Host) isRemoving(name string, done bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.removing[name]
	if done {
		delete(h.removing, name)
	}
	return ok
}

// theirs reads an event about a link of somebody else's on the host.
func (w *watch) theirs(i info, gone bool) {
	if gone {
		delete(w.mtus, i.index)
		return
	}
	// When it went down, its routes went without a word.
	raised := i.up() && i.change&unix.IFF_UP != 0 && i.change != ^uint32(0)
	was, known := w.mtus[i.index]
	w.mtus[i.index] = i.mtu
	if raised || known && was != i.mtu {
		w.lost(kernel.Loss{Reach: true})
	}
}

// address reads an event about an address.
func (w *watch) address(nsid int, m wire.Message) {
	a, ok := readAddress(m.Data)
	if ok && nsid == atHost && !a.ours && m.Data[3] == unix.RT_SCOPE_UNIVERSE {
		w.lost(kernel.Loss{Reach: true}) // other hosts may know this one by it
	}
	if !ok || !a.ours || m.Type != unix.RTM_DELADDR {
		return
	}
	if nsid != atHost {
		w.inside(nsid)
		return
	}
	if name := w.names[a.index]; name != "" && !w.h.isRemoving(name, false) {
		w.lost(kernel.Loss{Link: name})
	}
}

// inside tells of a loss in a namespace.
func (w *watch) inside(nsid int) {
	w.h.mu.Lock()
	inode := w.h.known[nsid]
	w.h.mu.Unlock()
	w.lost(kernel.Loss{Namespace: inode})
}

// forget drops the number of a namespace that is gone.
func (w *watch) forget(body []byte) {
	if len(body) < 4 {
		return
	}
	for kind, v := range wire.Attrs(body[4:]) {
		if kind == unix.NETNSA_NSID {
			w.h.mu.Lock()
			delete(w.h.known, int(int32(number(v))))
			w.h.mu.Unlock()
		}
	}
}
