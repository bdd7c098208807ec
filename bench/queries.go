package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// The load is made here rather than by dnsperf, which takes a system call for
// every query: on two cores it is busier than a server that is quick, and the
// figure would be its own.
const (
	askers   = 4  // sockets that ask, each on its own
	inFlight = 25 // queries that each has open at a time
	askFor   = 2 * time.Second
)

// askMuch asks the server of a namespace for the names, as fast as it answers,
// and returns the answers a second. One that is lost or no good is an error.
func askMuch(ctx context.Context, b *Bench, ns string, names []string) (float64, error) {
	queries := make([][]byte, len(names))
	for i, name := range names {
		var err error
		if queries[i], err = new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).Pack(); err != nil {
			return 0, err
		}
	}
	conns := make([]net.Conn, askers)
	err := b.in(ns, func() (err error) {
		for i := range conns {
			if conns[i], err = net.Dial("udp4", net.JoinHostPort(resolver, "53")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	counts, errs := make([]int, askers), make([]error, askers)
	start := time.Now()
	for i, c := range conns {
		all.Go(func() {
			defer c.Close()
			counts[i], errs[i] = ask(ctx, c, queries, start.Add(askFor))
		})
	}
	all.Wait()
	took := time.Since(start)
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / took.Seconds(), errors.Join(errs...)
}

// ask keeps a window of queries open on one socket until the time is over, and
// returns how many were answered.
func ask(ctx context.Context, c net.Conn, queries [][]byte, end time.Time) (int, error) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := c.SetReadDeadline(end.Add(time.Second)); err != nil {
		return 0, err
	}
	p := ipv4.NewPacketConn(c.(*net.UDPConn))
	out, in := make([]ipv4.Message, inFlight), make([]ipv4.Message, inFlight)
	for i := range in {
		out[i].Buffers = [][]byte{make([]byte, 0, 512)}
		in[i].Buffers = [][]byte{make([]byte, 512)}
	}
	sent, answered, free := 0, 0, inFlight
	for {
		if time.Now().After(end) {
			free = 0
		}
		for i := range free {
			q := out[i].Buffers[0][:0]
			q = append(q, queries[(sent+i)%len(queries)]...)
			binary.BigEndian.PutUint16(q, uint16(sent+i)) // the ID
			out[i].Buffers[0] = q
		}
		for done := 0; done < free; {
			n, err := p.WriteBatch(out[done:free], 0)
			if err != nil {
				return 0, fmt.Errorf("ask: %w", err)
			}
			done += n
		}
		sent += free
		if answered == sent {
			return answered, nil
		}
		var err error
		if free, err = p.ReadBatch(in, 0); err != nil {
			return 0, fmt.Errorf("%d of %d queries got no answer: %w", sent-answered, sent, err)
		}
		for _, m := range in[:free] {
			if err := good(m.Buffers[0][:m.N]); err != nil {
				return 0, err
			}
		}
		answered += free
	}
}

// good says whether an answer is a response without an error (RFC 1035, 4.1.1).
func good(answer []byte) error {
	if len(answer) < 12 || answer[2]&0x80 == 0 || answer[3]&0x0f != dns.RcodeSuccess {
		return fmt.Errorf("no good answer: % x", answer)
	}
	return nil
}
