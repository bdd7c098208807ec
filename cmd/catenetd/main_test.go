package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// stubborn are neighbours whose rules nobody can change.
type stubborn struct{}

var errStubborn = errors.New("stubborn")

func (stubborn) Obstacles(context.Context) ([]foreign.Obstacle, error) { return nil, nil }
func (stubborn) Allow(context.Context, foreign.Wanted) error           { return errStubborn }

// TestForwardingThatIsNotAskedForStopsNoStart: what cannot be taken away is
// logged; what was asked for and cannot be done is an error.
func TestForwardingThatIsNotAskedForStopsNoStart(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	d := daemon{firewall: firewall.New(nft.NewMemory(), stubborn{}, log)}
	if err := d.forwarding(t.Context(), false, log); err != nil {
		t.Errorf("not asked for: %v", err)
	}
	if err := d.forwarding(t.Context(), true, log); !errors.Is(err, errStubborn) {
		t.Errorf("asked for: %v", err)
	}
}
