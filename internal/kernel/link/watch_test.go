package link

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// watched runs Watch for the test and returns what it tells.
func (a *attached) watched() <-chan kernel.Loss {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	losses, ended := make(chan kernel.Loss, 1000), make(chan error, 1)
	go func() { ended <- a.h.Watch(ctx, func(l kernel.Loss) { losses <- l }) }()
	a.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			a.t.Errorf("the watch ended with %v", err)
		}
	})
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		a.h.mu.Lock()
		watching := a.h.watchers > 0
		a.h.mu.Unlock()
		if watching {
			return losses
		}
		if time.Now().After(end) {
			a.t.Fatal("the watch does not start")
		}
	}
}

// told waits until want is told, and returns what was before it.
func told(t *testing.T, losses <-chan kernel.Loss, want kernel.Loss) (others []kernel.Loss) {
	t.Helper()
	for timeout := time.After(2 * time.Second); ; {
		select {
		case got := <-losses:
			if got == want {
				return others
			}
			others = append(others, got)
		case <-timeout:
			t.Fatalf("not told of %+v, only of %+v", want, others)
		}
	}
}

func TestWatch(t *testing.T) {
	veth := vethLink(1, nil, "").Name
	for name, c := range map[string]struct {
		harm func(a *attached)
		want func(a *attached) kernel.Loss
	}{
		"bridge deleted":         {func(a *attached) { a.host.Run("ip", "link", "del", "br0") }, onHost("br0")},
		"bridge down":            {func(a *attached) { a.host.Run("ip", "link", "set", "br0", "down") }, onHost("br0")},
		"bridge address deleted": {func(a *attached) { a.host.Run("ip", "addr", "flush", "dev", "br0") }, onHost("br0")},
		"bridge's route deleted": {func(a *attached) { a.host.Run("ip", "route", "del", "10.9.0.0/16") }, onHost("br0")},
		"veth deleted":           {func(a *attached) { a.host.Run("ip", "link", "del", veth) }, onHost(veth)},
		"veth off the bridge":    {func(a *attached) { a.host.Run("ip", "link", "set", veth, "nomaster") }, onHost(veth)},
		"veth down":              {func(a *attached) { a.host.Run("ip", "link", "set", veth, "down") }, onHost(veth)},
		"inside deleted":         {func(a *attached) { a.ctr.Run("ip", "link", "del", "eth0") }, inside},
		"inside down":            {func(a *attached) { a.ctr.Run("ip", "link", "set", "eth0", "down") }, inside},
		"inside address deleted": {func(a *attached) { a.ctr.Run("ip", "addr", "del", "10.9.0.3/16", "dev", "eth0") }, inside},
		"inside route deleted":   {func(a *attached) { a.ctr.Run("ip", "route", "del", "default") }, inside},
		"inside lo down":         {func(a *attached) { a.ctr.Run("ip", "link", "set", "lo", "down") }, inside},
		"inside ruleset flushed": {func(a *attached) {
			a.ctr.Run("nft", "add table ip theirs; add table ip "+kernel.RedirectTable+"; add chain ip theirs a")
			a.ctr.Run("nft", "flush ruleset; add table ip theirs")
		}, inside},
		"inside chain deleted": {func(a *attached) {
			a.ctr.Run("nft", "add table ip "+kernel.RedirectTable+"; add chain ip "+kernel.RedirectTable+" there")
			a.ctr.Run("nft", "delete chain ip "+kernel.RedirectTable+" there")
		}, inside},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttached(t)
			losses := a.watched()
			c.harm(a)
			told(t, losses, c.want(a))
		})
	}
}

func onHost(link string) func(*attached) kernel.Loss {
	return func(*attached) kernel.Loss { return kernel.Loss{Link: link} }
}

func inside(a *attached) kernel.Loss { return kernel.Loss{Namespace: a.ns.Inode} }

// What we do ourselves, and what happens to links of others, is no loss.
func TestWatchTellsOnlyLosses(t *testing.T) {
	a := newAttached(t)
	losses := a.watched()
	a.host.Run("ip", "link", "add", "theirs", "type", "bridge")
	a.host.Run("ip", "addr", "add", "169.254.0.1/24", "scope", "link", "dev", "theirs")
	a.host.Run("ip", "link", "del", "theirs")
	a.ctr.Run("ip", "addr", "add", "10.9.7.7/32", "dev", "eth0")
	a.ctr.Run("ip", "addr", "del", "10.9.7.7/32", "dev", "eth0")
	a.ctr.Run("ip", "route", "add", "10.77.0.0/16", "dev", "eth0")
	a.ctr.Run("ip", "route", "del", "10.77.0.0/16", "dev", "eth0")
	a.ctr.Run("nft", "add table ip theirs; add chain ip theirs a")
	a.ctr.Run("nft", "flush ruleset")
	a.attachDual(dualInside())
	for i := range 3 {
		if err := a.h.EnsureLink(t.Context(), vethLink(10+i, a.ns, "tmp")); err != nil {
			t.Fatal(err)
		}
		if err := a.h.DeleteLinks(t.Context(), vethLink(10+i, nil, "").Name); err != nil {
			t.Fatal(err)
		}
	}
	ifb, veth := shapedLinks(a, 3, "tmp", false)
	a.shape(ifb, veth)
	a.shape(ifb, veth) // looks
	a.host.Run("ip", "link", "set", "br0", "down")
	if others := told(t, losses, kernel.Loss{Link: "br0"}); len(others) > 0 {
		t.Errorf("told of %+v", others)
	}
}

// TestWatchTellsOfWhatStayed: a link that could not be removed, or was not
// there, is expected to go no more.
func TestWatchTellsOfWhatStayed(t *testing.T) {
	a := newAttached(t)
	losses := a.watched()
	a.host.Run("ip", "link", "set", "lo", "alias", kernel.Mark+"lo")
	if err := a.h.DeleteLinks(t.Context(), "lo"); err == nil {
		t.Fatal("lo was removed")
	}
	a.host.Run("ip", "link", "set", "lo", "down")
	told(t, losses, kernel.Loss{Link: "lo"})
	if err := a.h.with(t.Context(), func(c *conn) error { return a.h.remove(c, "never", "ever") }); err != nil {
		t.Fatal(err)
	}
	a.h.mu.Lock()
	defer a.h.mu.Unlock()
	if len(a.h.removing) > 0 {
		t.Errorf("still expected to go: %v", a.h.removing)
	}
}

// A slow listener loses events, and is told that it did.
func TestWatchSurvivesAFlood(t *testing.T) {
	a := newAttached(t)
	held, release := make(chan struct{}), make(chan struct{})
	losses := make(chan kernel.Loss, 100000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	first := true
	go func() {
		ended <- a.h.Watch(ctx, func(l kernel.Loss) {
			if first {
				first = false
				close(held)
				<-release
			}
			losses <- l
		})
	}()
	defer func() { cancel(); <-ended }()
	for wait := true; wait; {
		a.host.Run("ip", "link", "set", "br0", "down")
		a.host.Run("ip", "link", "set", "br0", "up")
		select {
		case <-held:
			wait = false
		default:
		}
	}
	err := a.h.with(ctx, func(c *conn) error {
		index, err := c.index("br0")
		for i := 0; i < 20000 && err == nil; i++ {
			var b batch
			b.message("alias", unix.RTM_NEWLINK, 0, ifinfo(index, 0, 0))
			b.attr(unix.IFLA_IFALIAS, []byte(kernel.Mark+string(rune('a'+i%2))))
			err = must(c, &b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	told(t, losses, kernel.Loss{})
	a.host.Run("ip", "link", "del", "br0")
	told(t, losses, kernel.Loss{Link: "br0"})
}

// The watch keeps no namespace alive: the veth of one that ends goes with it.
func TestWatchHoldsNoNamespace(t *testing.T) {
	a := newAttached(t)
	losses := a.watched()
	var name string
	t.Run("short", func(t *testing.T) {
		short := kerneltest.New(t)
		ns := at(t, short.Path)
		l := vethLink(5, ns, "eth0")
		name = l.Name
		if err := a.h.EnsureLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if err := a.h.Dress(t.Context(), ns, kernel.Outfit{Interfaces: []kernel.Interface{insideOf(5, "eth0")}}); err != nil {
			t.Fatal(err)
		}
	})
	told(t, losses, kernel.Loss{Link: name})
}
