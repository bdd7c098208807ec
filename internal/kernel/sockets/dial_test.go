package sockets

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// TestDialIn asks who else answers at 127.0.0.11:53 inside, past our redirect,
// which takes all others to us; by way of his own, as he may have one.
func TestDialIn(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	s := newSockets(t)
	serve := func(name string) uint16 {
		pc, l, err := s.ListenIn(ctx, openNS(t, ns), 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close(); l.Close() })
		go func() {
			for b := make([]byte, 100); ; {
				_, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				pc.WriteTo([]byte(name), from)
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.ReadFull(c, make([]byte, 1))
				io.WriteString(c, name)
				c.Close()
			}
		}()
		return portOf(t, l.Addr())
	}
	ours, theirs := serve("ours"), serve("they")
	ns.MustDo(func() error { return nft.Redirect(t.Context(), kernel.Outfit{ResolverPort: ours}) })
	to := net.JoinHostPort("127.0.0.11", strconv.Itoa(int(theirs)))
	ns.Run("nft", "table ip theirs { chain o { type nat hook output priority -100; "+
		"ip daddr 127.0.0.11 udp dport 53 dnat to "+to+"; ip daddr 127.0.0.11 tcp dport 53 dnat to "+to+"; }; }")
	for _, network := range []string{"udp", "tcp"} {
		past, err := s.DialIn(ctx, openNS(t, ns), network)
		if err != nil {
			t.Fatal(err)
		}
		var plain net.Conn
		ns.MustDo(func() (err error) {
			plain, err = net.Dial(network, "127.0.0.11:53")
			return err
		})
		for c, want := range map[net.Conn]string{past: "they", plain: "ours"} {
			c.SetDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, 4)
			if _, err := c.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
				t.Errorf("%s: %q answers (%v), want %s", network, b, err, want)
			}
			c.Close()
		}
	}
}
