package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
)

// streamSeconds is how long one stream is measured.
const streamSeconds = 2

// stream: one TCP stream between two containers, against the same wire laid by
// hand.
func stream(ctx context.Context, b *Bench) ([]Line, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	pair, err := b.Places(ctx, 2)
	if err != nil {
		return nil, err
	}
	for i, ns := range pair {
		if err := o.attach(ctx, fmt.Sprintf("s%d", i), ns, 0, 0); err != nil {
			return nil, err
		}
	}
	server, err := o.Sandbox(ctx, "s1")
	if err != nil {
		return nil, err
	}
	byHand, addr, err := handmade(ctx, b)
	if err != nil {
		return nil, err
	}
	mine, err := streaming(ctx, b, "catenet", pair, server.Endpoints[0].IPv4.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := streaming(ctx, b, "by hand", byHand, addr)
	if err != nil {
		return nil, err
	}
	s, err := interleave(ctx, b.Rounds(11), mine, theirs)
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: "TCP stream between two containers", Ours: gbits(s.Median(0)), Peer: "bridge and veths by hand " + gbits(s.Median(1)),
		Ratio: s.Ratio(0, 1), Goal: 0.97,
	}}, nil
}

func gbits(v float64) string { return fmt.Sprintf("%.1f Gbit/s", v/1e9) }

// handmade lays a bridge and two veths with ip(8), and returns the two
// namespaces and the second's address.
func handmade(ctx context.Context, b *Bench) ([]string, string, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, "", err
	}
	pair, err := b.Places(ctx, 2)
	if err != nil {
		return nil, "", err
	}
	steps := []step{
		{host, "ip link add name hand0 type bridge"},
		{host, "ip addr add 10.95.0.1/16 dev hand0"},
		{host, "ip link set hand0 up"},
	}
	for i, ns := range pair {
		port := fmt.Sprintf("port%d", i)
		steps = append(steps,
			step{host, "ip link add " + port + " type veth peer name eth0 netns " + ns},
			step{host, "ip link set " + port + " master hand0 up"},
			step{ns, fmt.Sprintf("ip addr add 10.95.0.%d/16 dev eth0", i+2)},
			step{ns, "ip link set eth0 up"},
			step{ns, "ip route add default via 10.95.0.1"})
	}
	if err := b.steps(ctx, steps...); err != nil {
		return nil, "", err
	}
	return pair, "10.95.0.3", nil
}

// streaming is a stream from the first namespace to a server in the second,
// in bits a second.
func streaming(ctx context.Context, b *Bench, name string, pair []string, to string) (Contender, error) {
	if err := b.daemon(pair[1], "iperf3", "--server"); err != nil {
		return Contender{}, err
	}
	err := until(ctx, "iperf3", func() bool {
		return b.in(pair[0], func() error {
			c, err := net.Dial("tcp", net.JoinHostPort(to, "5201"))
			if err == nil {
				err = c.Close()
			}
			return err
		}) == nil
	})
	return Contender{name, func(ctx context.Context, _ int) (float64, error) {
		out, err := b.tool(ctx, pair[0], "iperf3", "--client", to, "--time", fmt.Sprint(streamSeconds), "--json")
		if err != nil {
			return 0, err
		}
		var report struct {
			End struct {
				Received struct {
					BitsPerSecond float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			return 0, fmt.Errorf("read iperf3's report: %w", err)
		}
		return report.End.Received.BitsPerSecond, nil
	}}, err
}
