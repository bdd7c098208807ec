package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

const (
	aardvarkPath = "/usr/lib/podman/aardvark-dns"
	dnsNames     = 10
	// resolver is where each of the servers is asked, in a namespace of its
	// own: no server's way is longer than another's, save for our redirect.
	resolver = "127.0.0.11"
)

// lookups: queries a second at full load, and the 99th percentile at a load that
// all can carry.
func lookups(ctx context.Context, b *Bench) ([]Line, error) {
	queries := filepath.Join(b.Dir, "queries")
	var list strings.Builder
	names := make([]string, dnsNames)
	for i := range names {
		names[i] = fmt.Sprintf("name%d", i)
		list.WriteString(names[i] + " A\n")
	}
	if err := os.WriteFile(queries, []byte(list.String()), 0o600); err != nil {
		return nil, err
	}
	mine, err := oursDNS(ctx, b)
	if err != nil {
		return nil, err
	}
	aardvark, err := aardvarkDNS(ctx, b)
	if err != nil {
		return nil, err
	}
	bare, err := bareDNS(ctx, b)
	if err != nil {
		return nil, err
	}
	rate := func(name, ns string) Contender {
		return Contender{name, func(ctx context.Context, _ int) (float64, error) {
			return askMuch(ctx, b, ns, names)
		}}
	}
	delay := func(name, ns string) Contender {
		return Contender{name, func(ctx context.Context, _ int) (float64, error) {
			return dnsDelay(ctx, b, ns, queries)
		}}
	}
	q, err := interleave(ctx, b.Rounds(5), rate("catenet", mine), rate("aardvark-dns", aardvark), rate("bare responder", bare))
	if err != nil {
		return nil, err
	}
	p, err := interleave(ctx, b.Rounds(5), delay("catenet", mine), delay("aardvark-dns", aardvark))
	if err != nil {
		return nil, err
	}
	line := func(i int, peer string, goal float64) Line {
		return Line{
			Work: "DNS queries a second", Ours: perSecond(q.Median(0)), Peer: peer + " " + perSecond(q.Median(i)),
			Ratio: q.Ratio(0, i), Goal: goal,
		}
	}
	return []Line{
		line(1, "aardvark-dns", 2), line(2, "bare responder", 0.5),
		{
			Work: fmt.Sprintf("DNS p99 at %d a second", dnsLoad), Ours: micros(p.Median(0)),
			Peer: "aardvark-dns " + micros(p.Median(1)), Ratio: p.Ratio(0, 1), Goal: 1, AtMost: true,
		},
	}, nil
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }
func micros(v float64) string    { return fmt.Sprintf("%.0f µs", v) }

// oursDNS returns the namespace of a container in a network of all the names.
func oursDNS(ctx context.Context, b *Bench) (string, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return "", err
	}
	all, err := b.Places(ctx, dnsNames)
	if err != nil {
		return "", err
	}
	for i, ns := range all {
		if err := o.attach(ctx, fmt.Sprintf("name%d", i), ns, 0, 0); err != nil {
			return "", err
		}
	}
	return all[0], nil
}

// aardvarkDNS starts Podman's server as netavark does, on a file of the same
// names.
func aardvarkDNS(ctx context.Context, b *Bench) (string, error) {
	if _, err := os.Stat(aardvarkPath); err != nil {
		return "", fmt.Errorf("peer is not installed: %w", err)
	}
	ns, err := b.Place(ctx)
	if err != nil {
		return "", err
	}
	dir, err := b.RunFolder("aardvark")
	if err != nil {
		return "", err
	}
	config := resolver + "\n"
	for i := range dnsNames {
		config += fmt.Sprintf("%064d 10.96.0.%d  name%d\n", i, i+2, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "bench"), []byte(config), 0o600); err != nil {
		return "", err
	}
	if _, err := b.tool(ctx, ns, aardvarkPath, "--config", dir, "--port", "53", "run"); err != nil {
		return "", err
	}
	// It has gone to the background by itself and left its process ID.
	pidfile := filepath.Join(dir, "aardvark.pid")
	pid := 0
	err = until(ctx, "aardvark-dns", func() bool {
		text, err := os.ReadFile(pidfile)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	if err != nil {
		return "", err
	}
	b.close = append(b.close, func() error {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("end aardvark-dns: %w", err)
		}
		return until(context.Background(), "the end of aardvark-dns", func() bool { return syscall.Kill(pid, 0) != nil })
	})
	return ns, nil
}

// bareDNS is the floor: a server that parses nothing. It receives a query,
// sets the bit that makes it a response, and sends it back.
func bareDNS(ctx context.Context, b *Bench) (string, error) {
	ns, err := b.Place(ctx)
	if err != nil {
		return "", err
	}
	var conn *net.UDPConn
	err = b.in(ns, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(resolver), Port: 53})
		return err
	})
	if err != nil {
		return "", err
	}
	b.close = append(b.close, conn.Close)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			if n > 2 {
				buf[2] |= 0x80
			}
			if _, err := conn.WriteToUDPAddrPort(buf[:n], from); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	return ns, nil
}

var tookLine = regexp.MustCompile(`(?m)^> NOERROR \S+ A ([0-9.]+)`)

// dnsLoad is the load at which delays are compared, in queries a second.
const dnsLoad = 5000

// dnsDelay returns the 99th percentile of the delay, in microseconds.
func dnsDelay(ctx context.Context, b *Bench, ns, queries string) (float64, error) {
	out, err := b.tool(ctx, ns, "dnsperf", "-s", resolver, "-d", queries, "-l", "2", "-c", "4", "-v", "-Q", fmt.Sprint(dnsLoad))
	if err != nil {
		return 0, err
	}
	var all []float64
	for _, m := range tookLine.FindAllStringSubmatch(out, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		all = append(all, v*1e6)
	}
	if len(all) < dnsLoad {
		return 0, fmt.Errorf("only %d queries were answered", len(all))
	}
	return quantile(all, 0.99), nil
}
