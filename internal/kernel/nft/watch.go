package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// Watch calls changed when somebody else has changed one of the tables, or
// may have; it is called once more than needed rather than once too few, and
// at the beginning. Watch returns when ctx ends, with its error, or when it
// cannot go on. It must be called on a thread of the namespace to watch.
func (c *Conn) Watch(ctx context.Context, refs []Ref, changed func()) error {
	s, err := newSocket(unix.NFNLGRP_NFTABLES)
	if err != nil {
		return fmt.Errorf("watch nf_tables: %w", err)
	}
	defer s.close()
	// A deadline in the past ends the read that waits, and those to come.
	stop := context.AfterFunc(ctx, func() { _ = s.patient(-1) })
	defer stop()
	changed()
	for {
		msgs, err := s.receive()
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
		if slices.ContainsFunc(msgs, func(m wire.Message) bool { return c.concerns(m, refs) }) {
			s.settle(ctx)
			changed()
		}
	}
}

// concerns reports whether a notification is about one of the tables, and
// not of our own doing.
func (c *Conn) concerns(m wire.Message, refs []Ref) bool {
	if m.Port == c.s.port || m.Type == messageType(unix.NFT_MSG_NEWGEN) {
		return false
	}
	ref, _, err := nftables(m)
	return err != nil || slices.Contains(refs, ref)
}

// settle reads on for a moment: a flush is told in as many messages as there
// were rules.
func (s *socket) settle(ctx context.Context) {
	if s.patient(5*time.Millisecond) != nil {
		return // the next read says why
	}
	for {
		if _, err := s.receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			break
		}
	}
	_ = s.f.SetReadDeadline(time.Time{}) // likewise
	if ctx.Err() != nil {
		_ = s.patient(-1)
	}
}
