package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const netavarkPath = "/usr/lib/podman/netavark"

// netavark drives Podman's tool, or ours in its place, as Podman does: one exec,
// the request on standard input.
type netavark struct {
	b       *Bench
	host    string
	program string
	env     []string
	dir     string // what it keeps
	next    int    // last part of the next address: Podman, not netavark, hands them out
}

func startNetavark(ctx context.Context, b *Bench) (*netavark, error) {
	if _, err := os.Stat(netavarkPath); err != nil {
		return nil, fmt.Errorf("peer is not installed: %w", err)
	}
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := b.RunFolder("netavark")
	return &netavark{b: b, host: host, program: netavarkPath, dir: dir}, err
}

// netavark is our program in its place.
func (o *ours) netavark() (*netavark, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := o.b.RunFolder("front")
	return &netavark{
		b: o.b, host: o.host, program: filepath.Join(bin, "catenet-netavark"), env: []string{"CATENET_HOST=unix://" + o.socket}, dir: dir,
	}, err
}

// exec runs setup or teardown for the namespace at path, with n ports published.
func (n *netavark) exec(ctx context.Context, verb, id, path, ip string, ports int) error {
	var mappings []map[string]any
	for p := 20000; p < 20000+ports; p++ {
		mappings = append(mappings, map[string]any{"host_ip": "", "host_port": p, "container_port": p, "protocol": "tcp", "range": 1})
	}
	in, err := json.Marshal(map[string]any{
		"container_id": id, "container_name": id, "port_mappings": mappings,
		"networks": map[string]any{"podman": map[string]any{
			"static_ips": []string{ip}, "interface_name": "eth0",
		}},
		"network_info": map[string]any{"podman": map[string]any{
			"name": "podman", "id": "53ce4390f2adb1681eb1a90ec8b48c49c015e0a8d336c197637e7f65e365fa9e",
			"driver": "bridge", "network_interface": "podman1", "created": "2026-01-01T00:00:00Z",
			"subnets": []map[string]any{{
				"subnet": "10.98.0.0/16", "gateway": "10.98.0.1",
				"lease_range": map[string]any{"start_ip": "10.98.0.1", "end_ip": "10.98.127.255"},
			}},
			"ipv6_enabled": false, "internal": false, "dns_enabled": false,
			"ipam_options": map[string]any{"driver": "host-local"},
		}},
	})
	if err != nil {
		return err
	}
	return n.b.in(n.host, func() error {
		cmd := exec.CommandContext(ctx, n.program, "--config", n.dir, verb, path)
		cmd.Env = append(os.Environ(), n.env...)
		cmd.Stdin = bytes.NewReader(in)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("netavark %s: %w: %s", verb, err, out)
		}
		return nil
	})
}

// attaching is one setup of the whole program as a contender: fresh namespace,
// setup (this is the figure), teardown.
func (n *netavark) attaching(name string, ports int) Contender {
	return Contender{name, func(ctx context.Context, round int) (float64, error) {
		ns, err := n.b.Place(ctx)
		if err != nil {
			return 0, err
		}
		n.next++
		id, ip := fmt.Sprintf("c%d", n.b.made), fmt.Sprintf("10.98.%d.%d", n.next/200, n.next%200+2)
		took, err := timed(func() error { return n.exec(ctx, "setup", id, ns, ip, ports) })
		if err != nil {
			return 0, err
		}
		return took, errors.Join(n.exec(ctx, "teardown", id, ns, ip, ports), n.b.Forget(ctx, ns))
	}}
}

// netavarkSetup: the time that Podman waits for its network, with ports
// published.
func netavarkSetup(ports int, goal float64) func(context.Context, *Bench) ([]Line, error) {
	return func(ctx context.Context, b *Bench) ([]Line, error) {
		o, err := startOurs(ctx, b)
		if err != nil {
			return nil, err
		}
		front, err := o.netavark()
		if err != nil {
			return nil, err
		}
		theirs, err := startNetavark(ctx, b)
		if err != nil {
			return nil, err
		}
		rounds := 30
		if ports > 10 {
			rounds = 5
		}
		s, err := interleave(ctx, b.Rounds(rounds), front.attaching("catenet-netavark", ports), theirs.attaching("netavark", ports))
		if err != nil {
			return nil, err
		}
		return []Line{{
			Work: fmt.Sprintf("netavark setup, whole process, ports: %d", ports), Ours: ms(s.Median(0)),
			Peer: "netavark " + ms(s.Median(1)), Ratio: s.Ratio(1, 0), Goal: goal,
		}}, nil
	}
}
