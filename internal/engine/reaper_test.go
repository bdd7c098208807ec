package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/catenet/catenet"
)

// TestSettleWaitsForItsOwnBatchOnly has links come to be buried without end.
func TestSettleWaitsForItsOwnBatchOnly(t *testing.T) {
	address := func(i byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 24) }
	begin, end := make(chan struct{}), make(chan struct{})
	r := newReaper(t.Context(), slog.New(slog.DiscardHandler), func(context.Context, []catenet.Endpoint) error {
		begin <- struct{}{}
		<-end
		return nil
	})
	r.bury(1, []catenet.Endpoint{{ID: "one", IPv4: address(1)}})
	<-begin
	r.bury(2, []catenet.Endpoint{{ID: "two", IPv4: address(2)}})
	settled := make(chan error, 1)
	go func() { settled <- r.settle(t.Context(), []netip.Addr{address(1).Addr()}, 0) }()
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.settle(short, nil, 2); err == nil {
		t.Error("a link that only waits counts as buried")
	}
	if err := r.settle(short, []netip.Addr{address(3).Addr()}, 3); err != nil {
		t.Errorf("nobody's address: %v", err)
	}
	end <- struct{}{}
	<-begin // the next batch is at work
	if err := <-settled; err != nil {
		t.Error(err)
	}
	if err := r.settle(short, []netip.Addr{address(1).Addr()}, 1); err != nil {
		t.Errorf("a buried link is waited for: %v", err)
	}
	end <- struct{}{}
	r.wait()
	if err := r.settle(short, nil, 2); err != nil {
		t.Errorf("everything is buried: %v", err)
	}
}

// TestLinksThatCannotBeRemovedAreTriedAgain and keep nobody waiting.
func TestLinksThatCannotBeRemovedAreTriedAgain(t *testing.T) {
	var tries []string
	r := newReaper(t.Context(), slog.New(slog.DiscardHandler), func(_ context.Context, eps []catenet.Endpoint) error {
		tries = append(tries, eps[0].ID)
		if len(tries) < 3 {
			return errors.New("the kernel says no")
		}
		return nil
	})
	r.bury(1, []catenet.Endpoint{{ID: "one"}})
	for range 4 {
		r.wait()
		if err := r.settle(t.Context(), nil, 1); err != nil {
			t.Error(err)
		}
		r.again()
	}
	r.wait()
	if len(tries) != 3 {
		t.Errorf("tried %d times, want 3", len(tries))
	}
}
