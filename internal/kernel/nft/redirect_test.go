package nft

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// TestRedirect asks 127.0.0.11:53 and hears who answers.
func TestRedirect(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	ports := []int{answer(t, ns, "one"), answer(t, ns, "two")}
	outfit := func(port uint16) kernel.Outfit { return kernel.Outfit{ResolverPort: port, Further: true} }
	elsewhere := func() {
		ns.MustDo(func() error { // a server of the container's own
			pc, err := net.ListenPacket("udp", "0.0.0.0:53")
			if err == nil {
				t.Cleanup(func() { pc.Close() })
			}
			return err
		})
	}
	elsewhere()
	for i, want := range []string{"one", "one", "two"} {
		port := uint16(ports[i/2])
		ns.MustDo(func() error { return Redirect(t.Context(), outfit(port)) })
		for _, network := range []string{"udp", "tcp"} {
			for _, at := range []string{"127.0.0.11", "127.128.0.1", "127.255.7.9"} {
				if got := hearAt(t, ns, network, at); got != want {
					t.Errorf("call %d, %s: %q answers at %s", i, network, got, at)
				}
			}
		}
		if rules := strings.Count(ns.Run("nft", "list", "ruleset"), "127.0.0.11"); rules != 6 {
			t.Errorf("call %d: %d rules", i, rules)
		}
	}
	// Nothing is written that is right already.
	before := ns.Run("nft", "-a", "list", "ruleset") // with handles
	ns.MustDo(func() error { return Redirect(t.Context(), outfit(uint16(ports[1]))) })
	if after := ns.Run("nft", "-a", "list", "ruleset"); after != before {
		t.Errorf("written again:\n%s\nwas\n%s", after, before)
	}
	// Who looks is told of somebody else's harm, and it is mended by who does not.
	look := func() error {
		var err error
		ns.MustDo(func() error { err = Redirect(kernel.Looking(t.Context()), outfit(uint16(ports[1]))); return nil })
		return err
	}
	if err := look(); err != nil {
		t.Error(err)
	}
	ns.Run("nft", "flush", "chain", "ip", "catenet", "there")
	for range 2 {
		if err := look(); !catenet.IsConflict(err) {
			t.Errorf("after a flush: %v, want a conflict", err)
		}
	}
	ns.MustDo(func() error { return Redirect(t.Context(), outfit(uint16(ports[1]))) })
	if got := hear(t, ns, "udp"); got != "two" {
		t.Errorf("after a flush %q answers", got)
	}
	// Who is told no further address does not pay for them.
	ns.MustDo(func() error { return Redirect(t.Context(), kernel.Outfit{ResolverPort: uint16(ports[1])}) })
	if rules := ns.Run("nft", "list", "ruleset"); strings.Contains(rules, "127.128.0.0") || strings.Count(rules, "127.0.0.11") != 5 {
		t.Errorf("without further addresses:\n%s", rules)
	}
}

// TestRedirectTellsThatNobodyListens: a lookup is refused at once, by UDP too.
func TestRedirectTellsThatNobodyListens(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	for _, o := range []kernel.Outfit{{ResolverPort: 5353}, {ResolverPort: 5353, Further: true}} {
		ns.MustDo(func() error { return Redirect(t.Context(), o) })
		for _, network := range []string{"udp", "tcp"} {
			for _, at := range []string{"127.0.0.11", "127.128.0.1", "127.255.7.9"} {
				if err := heard(ns, network, at, new(string)); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s, %s: %v", network, at, err)
				}
			}
		}
	}
}

// TestRedirectBeside: who else answers has the word while nobody listens where
// lookups are sent, and no longer.
func TestRedirectBeside(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		ns := kerneltest.New(t)
		ours, theirs := answer(t, ns, "ours"), answer(t, ns, "theirs")
		ns.Run("nft", fmt.Sprintf("table ip nat { chain o { type nat hook output priority -100; "+
			"ip daddr 127.0.0.11 %s dport 53 dnat to 127.0.0.11:%d; }; }", network, theirs))
		lead := func(port int) {
			ns.MustDo(func() error { return Redirect(t.Context(), kernel.Outfit{ResolverPort: uint16(port), Beside: true}) })
		}
		lead(ours)
		for range 3 {
			if got := hear(t, ns, network); got != "ours" {
				t.Errorf("%s: %q answers", network, got)
			}
		}
		lead(5353) // where nobody listens
		if err := heard(ns, network, "127.0.0.11", new(string)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: the first that finds nobody: %v", network, err)
		}
		for range 3 {
			if got := hear(t, ns, network); got != "theirs" {
				t.Errorf("%s: asked again, %q answers", network, got)
			}
		}
		lead(5353) // once more
		if err := heard(ns, network, "127.0.0.11", new(string)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: after a start it is not tried: %v", network, err)
		}
		lead(ours)
		if got := hear(t, ns, network); got != "ours" {
			t.Errorf("%s: after a start %q answers", network, got)
		}
	}
}

// TestRedirectBesideTracking: answers are told from strangers' by a container
// that tracks its connections.
func TestRedirectBesideTracking(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	port := answer(t, ns, "one")
	ns.MustDo(func() error {
		return Redirect(t.Context(), kernel.Outfit{ResolverPort: uint16(port), Further: true})
	})
	ns.Run("nft", "table ip own { chain i { type filter hook input priority 0; ct state established accept; ip saddr 127.0.0.11 drop; th sport 53 drop; }; chain o { type nat hook output priority -100; }; }")
	for _, network := range []string{"udp", "tcp"} {
		for _, at := range []string{"127.0.0.11", "127.128.0.1"} {
			if got := hearAt(t, ns, network, at); got != "one" {
				t.Errorf("%s: %q answers at %s", network, got, at)
			}
		}
	}
}

// answer serves its name at 127.0.0.11 on a port that it returns.
func answer(t *testing.T, ns *kerneltest.NS, name string) int {
	var l net.Listener
	var pc net.PacketConn
	ns.MustDo(func() (err error) {
		if l, err = net.Listen("tcp", "127.0.0.11:0"); err == nil {
			pc, err = net.ListenPacket("udp", l.Addr().String())
		}
		return err
	})
	t.Cleanup(func() { l.Close(); pc.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, name)
			c.Close()
		}
	}()
	go func() {
		for b := make([]byte, 100); ; {
			_, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo([]byte(name), from)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// hear asks the resolver at its usual address.
func hear(t *testing.T, ns *kerneltest.NS, network string) string {
	t.Helper()
	return hearAt(t, ns, network, "127.0.0.11")
}

func hearAt(t *testing.T, ns *kerneltest.NS, network, address string) (said string) {
	t.Helper()
	if err := heard(ns, network, address, &said); err != nil {
		t.Errorf("%s: %v", address, err)
	}
	return said
}

// heard asks once.
func heard(ns *kerneltest.NS, network, address string, said *string) error {
	return ns.Do(func() error {
		c, err := net.DialTimeout(network, address+":53", time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err = c.Write([]byte("?")); err != nil {
			return err
		}
		b := make([]byte, 100)
		n, err := c.Read(b)
		*said = string(b[:n])
		return err
	})
}

// BenchmarkRedirect is the first call in a new namespace, with and without further
// addresses in turns, and a repeated one.
func BenchmarkRedirect(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		spent := make(map[bool][]time.Duration)
		for b.Loop() {
			for _, further := range []bool{false, true} {
				kerneltest.New(b).MustDo(func() error {
					start := time.Now()
					err := Redirect(b.Context(), kernel.Outfit{ResolverPort: 5353, Further: further})
					spent[further] = append(spent[further], time.Since(start))
					return err
				})
			}
		}
		for further, unit := range map[bool]string{false: "µs/p50", true: "µs/p50-further"} {
			slices.Sort(spent[further])
			b.ReportMetric(float64(spent[further][len(spent[further])/2].Microseconds()), unit)
		}
	})
	b.Run("again", func(b *testing.B) {
		kerneltest.New(b).MustDo(func() error {
			for b.Loop() {
				if err := Redirect(b.Context(), kernel.Outfit{ResolverPort: 5353}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
