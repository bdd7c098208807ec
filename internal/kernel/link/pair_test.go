package link

import (
	"context"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// joined is a host, and two namespaces that share a pair.
type joined struct {
	t     *testing.T
	host  *kerneltest.NS
	h     *Host
	sides [2]*kerneltest.NS
	ns    [2]*kernel.Namespace
}

func newJoined(t *testing.T) *joined {
	t.Parallel()
	j := &joined{t: t, host: kerneltest.New(t)}
	j.h = openIn(t, j.host, nil)
	for i := range j.sides {
		j.sides[i] = kerneltest.New(t)
		j.ns[i] = at(t, j.sides[i].Path)
	}
	return j
}

func (j *joined) pair(i, mtu int) kernel.Link {
	inside := insideOf(i+1, "eth0")
	return kernel.Link{Name: "ctnpair", Kind: "veth", Alias: kernel.Mark + "pair", MTU: mtu, NoIPv6: true,
		Peer: &kernel.Peer{Name: inside.Name, MAC: inside.MAC, NS: j.ns[i], Alias: inside.Alias}}
}

// join gives a side its end, and dresses it.
func (j *joined) join(i int) error {
	err := j.h.JoinPair(j.t.Context(), j.pair(i, 1400))
	if err == nil {
		inside := insideOf(i+1, "eth0")
		inside.MTU = 1400
		err = j.h.Dress(j.t.Context(), j.ns[i], kernel.Outfit{Interfaces: []kernel.Interface{inside}})
	}
	return err
}

func (j *joined) mustJoin(sides ...int) {
	j.t.Helper()
	for _, i := range sides {
		if err := j.join(i); err != nil {
			j.t.Fatalf("side %d: %v", i, err)
		}
	}
}

func (j *joined) part(i int) {
	j.t.Helper()
	for range 2 { // an end that is absent is no error
		if err := j.h.PartPair(j.t.Context(), j.pair(i, 0)); err != nil {
			j.t.Fatal(err)
		}
	}
}

// meets tells whether one side reaches the other at its first try.
func (j *joined) meets() bool {
	_, err := j.sides[0].Try("ping", "-c1", "-W1", addr(2).Addr().String())
	return err == nil
}

func (j *joined) waiting() bool {
	out := j.host.Run("ip", "-o", "link")
	return strings.Contains(out, "ctnpair") && strings.Contains(out, "state DOWN") && strings.Contains(out, "alias "+kernel.Mark+"pair")
}

func TestPair(t *testing.T) {
	j := newJoined(t)
	j.mustJoin(0)
	if !j.waiting() || !strings.Contains(j.sides[0].Run("ip", "link", "show", "eth0"), "NO-CARRIER") {
		t.Errorf("alone:\n%s\n%s", j.host.Run("ip", "link"), j.sides[0].Run("ip", "link"))
	}
	j.mustJoin(1)
	if !j.meets() || strings.Contains(j.host.Run("ip", "link"), "ctnpair") {
		t.Errorf("together:\n%s\n%s", j.host.Run("ip", "link"), j.sides[0].Run("ip", "link"))
	}
	before := j.h.Writes()
	j.mustJoin(0, 1)
	if n := j.h.Writes() - before; n != 0 {
		t.Errorf("a further pass wrote %d changes", n)
	}
	for _, leaves := range []int{0, 1} {
		j.part(leaves)
		if !j.waiting() || strings.Contains(j.sides[leaves].Run("ip", "link"), "eth0") {
			t.Errorf("without side %d:\n%s", leaves, j.host.Run("ip", "link"))
		}
		j.mustJoin(leaves)
		if !j.meets() {
			t.Errorf("side %d does not find back", leaves)
		}
	}
	j.part(0)
	j.part(1)
	if out := j.host.Run("ip", "link"); strings.Contains(out, "ctn") {
		t.Errorf("nobody is left, and the host has\n%s", out)
	}
}

// TestPairResizes the end that waits as well.
func TestPairResizes(t *testing.T) {
	j := newJoined(t)
	j.mustJoin(0)
	if err := j.h.JoinPair(t.Context(), j.pair(0, 1300)); err != nil {
		t.Fatal(err)
	}
	if out := j.host.Run("ip", "link", "show", "ctnpair"); !strings.Contains(out, "mtu 1300") {
		t.Error(out)
	}
}

// TestPairIsMended where an end is gone, renamed, or leads elsewhere: both
// sides are joined again, whichever is looked at first.
func TestPairIsMended(t *testing.T) {
	for name, harm := range map[string]func(j *joined){
		"an end is deleted":        func(j *joined) { j.sides[1].Run("ip", "link", "del", "eth0") },
		"an end is renamed":        func(j *joined) { j.sides[1].Run("sh", "-c", "ip link set eth0 down; ip link set eth0 name other") },
		"an end is taken away":     func(j *joined) { j.sides[1].Run("ip", "link", "set", "eth0", "netns", kerneltest.New(j.t).Path) },
		"an end came home by hand": func(j *joined) { j.sides[1].Run("ip", "link", "set", "eth0", "netns", j.host.Path) },
	} {
		for _, order := range [][]int{{0, 1, 0}, {1, 0}} {
			t.Run(name, func(t *testing.T) {
				j := newJoined(t)
				j.mustJoin(0, 1)
				harm(j)
				j.mustJoin(order...)
				if !j.meets() {
					t.Errorf("in the order %v they are not joined:\n%s\n%s\n%s", order, j.host.Run("ip", "link"), j.sides[0].Run("ip", "link"), j.sides[1].Run("ip", "link"))
				}
			})
		}
	}
}

// TestPairLeavesStrangers: what somebody else called so stays, and is in the
// way.
func TestPairLeavesStrangers(t *testing.T) {
	j := newJoined(t)
	j.sides[0].Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "own")
	before := j.sides[0].Run("ip", "link")
	if err := j.join(0); !catenet.IsConflict(err) {
		t.Errorf("a new end: %v, want a conflict", err)
	}
	j.mustJoin(1)
	if err := j.join(0); !catenet.IsConflict(err) || !j.waiting() {
		t.Errorf("an end that waits: %v, want a conflict", err)
	}
	j.part(0)
	if got := j.sides[0].Run("ip", "link"); got != before {
		t.Errorf("it was\n%s\nand is\n%s", before, got)
	}
	j.part(1)
	j.sides[0].Run("ip", "link", "del", "own")
	j.host.Run("ip", "link", "add", "ctnpair", "type", "bridge")
	if err := j.join(1); !catenet.IsConflict(err) {
		t.Errorf("the place where an end would wait: %v, want a conflict", err)
	}
}

// TestPairAtATime: who comes at the same time finds the other.
func TestPairAtATime(t *testing.T) {
	j := newJoined(t)
	for range 10 {
		done := make(chan error)
		for i := range j.sides {
			go func() { done <- j.join(i) }()
		}
		for range j.sides {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if !j.meets() {
			t.Fatalf("they are not joined:\n%s\n%s", j.host.Run("ip", "link"), j.sides[0].Run("ip", "link"))
		}
		for i := range j.sides {
			go func() { done <- j.h.PartPair(context.WithoutCancel(t.Context()), j.pair(i, 0)) }()
		}
		for range j.sides {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if out := j.host.Run("ip", "link"); strings.Contains(out, "ctn") {
			t.Fatalf("left: %s", out)
		}
	}
}
