package main

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"
)

// pour sends as many small datagrams as it can, and returns how many arrived a
// second. Both ends move many by one system call: what is measured is the way
// between them.
func (p *tunnelPair) pour() (float64, error) {
	near, far, err := p.sockets()
	if err != nil {
		return 0, err
	}
	defer near.Close()
	defer far.Close()
	if err := far.SetReadBuffer(4 << 20); err != nil {
		return 0, err
	}
	type count struct {
		n   int
		err error
	}
	arrived := make(chan count, 1)
	start := time.Now()
	go func() {
		n, err := drain(far, start.Add(tunnelFor))
		arrived <- count{n, err}
	}()
	messages := batch(smallBytes)
	out := ipv4.NewPacketConn(near)
	for time.Since(start) < tunnelFor {
		if _, err := out.WriteBatch(messages, 0); err != nil {
			return 0, err
		}
	}
	got := <-arrived
	return float64(got.n) / tunnelFor.Seconds(), got.err
}

// batch is the messages of one system call.
func batch(size int) []ipv4.Message {
	messages := make([]ipv4.Message, pourAtOnce)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, size)}
	}
	return messages
}

// drain counts what arrives until then.
func drain(c *net.UDPConn, until time.Time) (n int, err error) {
	if err := c.SetReadDeadline(until); err != nil {
		return 0, err
	}
	in, messages := ipv4.NewPacketConn(c), batch(2048)
	for {
		got, err := in.ReadBatch(messages, 0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += got
	}
}

// talk sends a small request again and again, each when the one before was
// answered, and returns how long each took, in microseconds.
func (p *tunnelPair) talk() (float64, error) {
	near, far, err := p.sockets()
	if err != nil {
		return 0, err
	}
	defer near.Close()
	go func() { // until far is closed
		b := make([]byte, 2048)
		for {
			n, from, err := far.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if _, err := far.WriteToUDPAddrPort(b[:n], from); err != nil {
				return
			}
		}
	}()
	defer far.Close()
	b, n := make([]byte, smallBytes), 0
	start := time.Now()
	for time.Since(start) < tunnelFor {
		if _, err := near.Write(b); err != nil {
			return 0, err
		}
		if err := near.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return 0, err
		}
		if _, err := near.Read(b); err != nil {
			return 0, err
		}
		n++
	}
	return float64(time.Since(start).Microseconds()) / float64(n), nil
}
