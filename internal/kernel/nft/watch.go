package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch calls changed when somebody else has changed one of the tables, or
// may have; it is called once more than needed rather than once too few, and
// at the beginning. Watch returns when ctx ends, with its error, or when it
// cannot go on. It must be called on a thread of the namespace to watch.
func (c *Conn) Watch(ctx context.Context, refs []Ref, changed func()) error {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open nf_tables monitor: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { nl.Close() }) // its error has no reader
	defer func() {
		if stop() {
			nl.Close()
		}
	}()
	if err := nl.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("join nf_tables monitor: %w", err)
	}
	changed()
	for {
		msgs, err := nl.Receive()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, unix.ENOBUFS) { // more was told than the socket could hold
			changed()
			continue
		}
		if err != nil {
			return fmt.Errorf("read nf_tables monitor: %w", err)
		}
		if slices.ContainsFunc(msgs, func(m netlink.Message) bool { return c.concerns(m, refs) }) {
			c.settle(nl)
			changed()
		}
	}
}

// concerns reports whether a notification is about one of the tables, and
// not of our own doing.
func (c *Conn) concerns(m netlink.Message, refs []Ref) bool {
	if m.Header.PID == c.nl.PID() || m.Header.Type == messageType(unix.NFT_MSG_NEWGEN) {
		return false
	}
	ref, _, err := message(m)
	return err != nil || slices.Contains(refs, ref)
}

// settle reads on for a moment: a flush is told in as many messages as there
// were rules.
func (c *Conn) settle(nl *netlink.Conn) {
	end := time.Now().Add(5 * time.Millisecond)
	if nl.SetReadDeadline(end) != nil {
		return // closed: the next read says so
	}
	for {
		if _, err := nl.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			break
		}
	}
	_ = nl.SetReadDeadline(time.Time{}) // likewise
}
