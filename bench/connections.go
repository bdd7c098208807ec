package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	connectFor     = time.Second
	connectClients = 4
	publishedMany  = 10000
	publishedEach  = 500 // by one container
)

// connections: new connections a second from outside to a published port,
// where many are published and where it is the only one.
func connections(ctx context.Context, b *Bench) ([]Line, error) {
	many, err := connecting(ctx, b, "many", publishedMany)
	if err != nil {
		return nil, err
	}
	one, err := connecting(ctx, b, "one", 1)
	if err != nil {
		return nil, err
	}
	s, err := interleave(ctx, b.Rounds(9), many, one)
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: fmt.Sprintf("new connections a second, %d ports published", publishedMany), Ours: perSecond(s.Median(0)),
		Peer: "1 published " + perSecond(s.Median(1)), Ratio: s.Ratio(0, 1), Goal: 0.9,
	}}, nil
}

// firstPublished is the port that is connected to; the others follow.
const firstPublished = 20000

// connecting is a host with so many published ports, and a client outside of
// it.
func connecting(ctx context.Context, b *Bench, name string, ports int) (Contender, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return Contender{}, err
	}
	outside, err := b.Place(ctx)
	if err != nil {
		return Contender{}, err
	}
	for _, c := range []struct{ ns, argv string }{
		{o.host, "ip link add wire0 type veth peer name wire0 netns " + outside},
		{o.host, "ip addr add 192.0.2.1/24 dev wire0"},
		{o.host, "ip link set wire0 up"},
		{outside, "ip addr add 192.0.2.2/24 dev wire0"},
		{outside, "ip link set wire0 up"},
	} {
		if _, err := b.tool(ctx, c.ns, strings.Fields(c.argv)...); err != nil {
			return Contender{}, err
		}
	}
	for first := 0; first < ports; first += publishedEach {
		ns, err := b.Place(ctx)
		if err != nil {
			return Contender{}, err
		}
		if err := o.attach(ctx, fmt.Sprintf("p%d", first), ns, firstPublished+first, min(publishedEach, ports)); err != nil {
			return Contender{}, err
		}
		if first == 0 {
			if err := b.accept(ns, firstPublished); err != nil {
				return Contender{}, err
			}
		}
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), firstPublished)
	return Contender{name, func(context.Context, int) (float64, error) { return connectMuch(b, outside, to) }}, nil
}

// accept takes connections in a namespace until the bench ends.
func (b *Bench) accept(path string, port int) error {
	var l net.Listener
	err := b.in(path, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return err
	}
	b.close = append(b.close, l.Close)
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				c.Close()
			}
		}
	}()
	return nil
}

// connectMuch connects as fast as it can, by several at once, and returns the
// connections a second.
func connectMuch(b *Bench, from string, to netip.AddrPort) (float64, error) {
	var all sync.WaitGroup
	counts, errs := make([]int, connectClients), make([]error, connectClients)
	start := time.Now()
	for i := range connectClients {
		all.Go(func() {
			errs[i] = b.in(from, func() error {
				for time.Since(start) < connectFor {
					if err := connectOnce(to); err != nil {
						return err
					}
					counts[i]++
				}
				return nil
			})
		})
	}
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(start).Seconds(), errors.Join(errs...)
}

// connectOnce connects, and ends it with a reset: ports of ended connections
// would be used up (TIME_WAIT) in seconds.
func connectOnce(to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("set linger: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	return nil
}
