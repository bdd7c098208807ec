package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tunnelPair is two hosts whose containers' packets go between them in user
// space, by two programs of bench/forward.
type tunnelPair struct {
	b     *Bench
	hosts []string // namespaces
	nodes [2]*os.Process
}

// farEnd is the second host's address in the network.
const farEnd = "10.94.2.0"

// ticks of a second in /proc/PID/stat (USER_HZ, which is 100 on all machines
// that Go knows).
const ticks = 100

// tunnelling lays the wire and starts both nodes.
func tunnelling(ctx context.Context, b *Bench, kind string) (*tunnelPair, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	hosts, err := wired(ctx, b)
	if err != nil {
		return nil, err
	}
	p := &tunnelPair{b: b, hosts: hosts}
	for i := range hosts {
		own, peer := i+1, 2-i
		p.nodes[i], err = b.process(hosts[i], filepath.Join(filepath.Dir(self), "catenet-bench-forward"), kind, "flannel0",
			fmt.Sprintf("10.94.%d.0/16", own), fmt.Sprintf("10.94.%d.0/24", own), fmt.Sprintf("192.0.2.%d:8285", own),
			fmt.Sprintf("10.94.%d.0/24=192.0.2.%d:8285", peer, peer))
		if err != nil {
			return nil, err
		}
	}
	return p, until(ctx, kind+" nodes", func() bool {
		_, err := b.tool(ctx, hosts[0], "ping", "-c1", "-W1", farEnd)
		return err == nil
	})
}

// tunnels are ours and the plain one.
func tunnels(ctx context.Context, b *Bench) (pairs [2]*tunnelPair, err error) {
	for i, kind := range []string{"ours", "plain"} {
		if pairs[i], err = tunnelling(ctx, b, kind); err != nil {
			return pairs, err
		}
	}
	return pairs, nil
}

// cpu is the processor time that both nodes have taken so far, in seconds.
func (p *tunnelPair) cpu() (float64, error) {
	sum := 0
	for _, n := range p.nodes {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, f := range fields[11:13] { // utime, stime
			n, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return float64(sum) / ticks, nil
}

// tunnelStream: one TCP stream between two hosts in user space, and what that
// costs.
func tunnelStream(ctx context.Context, b *Bench) ([]Line, error) {
	pairs, err := tunnels(ctx, b)
	if err != nil {
		return nil, err
	}
	var cost [2][]float64 // CPU seconds a gigabyte
	contenders := make([]Contender, 2)
	for i, p := range pairs {
		streams, err := streaming(ctx, b, []string{"ours", "plain"}[i], p.hosts, farEnd)
		if err != nil {
			return nil, err
		}
		contenders[i] = Contender{streams.Name, func(ctx context.Context, round int) (float64, error) {
			before, err := p.cpu()
			if err != nil {
				return 0, err
			}
			bits, err := streams.Once(ctx, round)
			if err != nil {
				return 0, err
			}
			after, err := p.cpu()
			if round > 0 {
				cost[i] = append(cost[i], (after-before)/(bits/8*streamSeconds/1e9))
			}
			return bits, err
		}}
	}
	s, err := interleave(ctx, b.Rounds(9), contenders...)
	if err != nil {
		return nil, err
	}
	costs := Series{cost[0], cost[1]}
	perGB := func(v float64) string { return fmt.Sprintf("%.2f CPU s/GB", v) }
	return []Line{
		{Work: "udp transport: TCP stream", Ours: gbits(s.Median(0)), Peer: "plain forwarder " + gbits(s.Median(1)), Ratio: s.Ratio(0, 1), Goal: 8},
		{Work: "udp transport: its cost", Ours: perGB(costs.Median(0)), Peer: "plain forwarder " + perGB(costs.Median(1)),
			Ratio: costs.Ratio(0, 1), Goal: 0.2, AtMost: true},
	}, nil
}

// Small packets: as long as they are sent, and how many bytes they carry.
const (
	tunnelFor  = time.Second
	smallBytes = 64
	pourAtOnce = 64 // datagrams that are sent by one system call
)

// tunnelPackets: small datagrams that get through, a second.
func tunnelPackets(ctx context.Context, b *Bench) ([]Line, error) {
	return tunnelRow(ctx, b, func(p *tunnelPair) (float64, error) { return p.pour() },
		Line{Work: "udp transport: small packets a second", Goal: 3}, perSecond)
}

// tunnelLatency: a request and its answer, one at a time.
func tunnelLatency(ctx context.Context, b *Bench) ([]Line, error) {
	micros := func(v float64) string { return fmt.Sprintf("%.1f µs", v) }
	return tunnelRow(ctx, b, func(p *tunnelPair) (float64, error) { return p.talk() },
		Line{Work: "udp transport: request latency", Goal: 1, AtMost: true}, micros)
}

// tunnelRow measures ours and the plain forwarder.
func tunnelRow(ctx context.Context, b *Bench, once func(*tunnelPair) (float64, error), l Line, unit func(float64) string) ([]Line, error) {
	pairs, err := tunnels(ctx, b)
	if err != nil {
		return nil, err
	}
	contenders := make([]Contender, 2)
	for i, p := range pairs {
		contenders[i] = Contender{[]string{"ours", "plain"}[i], func(context.Context, int) (float64, error) { return once(p) }}
	}
	s, err := interleave(ctx, b.Rounds(11), contenders...)
	if err != nil {
		return nil, err
	}
	l.Ours, l.Peer, l.Ratio = unit(s.Median(0)), "plain forwarder "+unit(s.Median(1)), s.Ratio(0, 1)
	return []Line{l}, nil
}

// sockets opens one at either end, the first connected to the second.
func (p *tunnelPair) sockets() (near, far *net.UDPConn, err error) {
	err = p.b.in(p.hosts[1], func() error {
		far, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(farEnd)})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	err = p.b.in(p.hosts[0], func() error {
		near, err = net.DialUDP("udp4", nil, far.LocalAddr().(*net.UDPAddr))
		return err
	})
	if err != nil {
		far.Close()
	}
	return near, far, err
}
