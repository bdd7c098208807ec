package foreign

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestWithoutIptables: a table that looks like theirs may be there without the
// programs. There is nothing of ours to take out of it then, but nothing can
// be put into it either.
func TestWithoutIptables(t *testing.T) {
	ns := kerneltest.New(t)
	for _, family := range []string{"ip", "ip6"} {
		ns.Run("nft", "add table "+family+" filter")
		ns.Run("nft", "add chain "+family+" filter FORWARD { type filter hook forward priority 0; policy drop; }")
	}
	t.Setenv("PATH", t.TempDir())
	ns.MustDo(func() error {
		c, err := nft.Open(nft.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		r := New(c, "catenet")
		if err := r.Allow(t.Context(), Wanted{}); err != nil {
			t.Errorf("with no bridges: %v", err)
		}
		if err := r.Allow(t.Context(), Wanted{Bridges: []string{"br-1"}}); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("with a bridge: %v", err)
		}
		return nil
	})
}
