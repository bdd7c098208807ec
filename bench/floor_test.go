package main

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// The floor is only a floor if the namespace it makes can be used: the
// gateway answers, and the resolver's address leads to the redirect's port.
func TestFloorAttaches(t *testing.T) {
	ctx := context.Background()
	b, err := newBench(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	f, err := startFloor(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := b.Place(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.attach("f0", ns, netip.MustParseAddr("10.97.0.2")); err != nil {
		t.Fatal(err)
	}
	if out, err := b.tool(ctx, ns, "ping", "-c1", "-W2", "10.97.0.1"); err != nil {
		t.Error(out, err)
	}
	if out, err := b.tool(ctx, ns, "ip", "route"); err != nil || !strings.Contains(out, "default via 10.97.0.1 dev eth0") {
		t.Error(out, err)
	}
	err = b.in(ns, func() error {
		l, err := net.Listen("tcp", "127.0.0.1:40053")
		if err != nil {
			return err
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Write([]byte("resolver\n"))
				c.Close()
			}
		}()
		c, err := net.Dial("tcp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if line != "resolver\n" {
			t.Errorf("port 53 answers %q", line)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRatioIsOfPairs(t *testing.T) {
	turn := 0.0
	grows := func(by float64) Contender {
		return Contender{"x", func(context.Context, int) (float64, error) { turn++; return by * turn, nil }}
	}
	s, err := interleave(context.Background(), 3, grows(1), grows(0))
	if err != nil {
		t.Fatal(err)
	}
	if len(s[0]) != 3 || len(s[1]) != 3 {
		t.Fatalf("the first round counts: %v", s)
	}
	if r := (Series{{10, 20, 90}, {1, 4, 9}}).Ratio(0, 1); r != 10 {
		t.Errorf("ratio %v, want the median of 10, 5, 10", r)
	}
	if q := quantile([]float64{5, 1, 3, 2, 4}, 0.99); q != 5 {
		t.Errorf("p99 %v, want 5", q)
	}
}
