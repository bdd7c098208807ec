package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

const netavarkPath = "/usr/lib/podman/netavark"

// netavark drives Podman's tool as Podman does: one exec, the request on
// standard input.
type netavark struct {
	b    *Bench
	host string
	dir  string // what it keeps
	next int    // last part of the next address: Podman, not netavark, hands them out
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
	return &netavark{b: b, host: host, dir: dir}, err
}

// exec runs setup or teardown for the namespace at path.
func (n *netavark) exec(ctx context.Context, verb, id, path, ip string) error {
	in, err := json.Marshal(map[string]any{
		"container_id": id, "container_name": id,
		"networks": map[string]any{"bench": map[string]any{
			"static_ips": []string{ip}, "interface_name": "eth0",
		}},
		"network_info": map[string]any{"bench": map[string]any{
			"name": "bench", "id": "53ce4390f2adb1681eb1a90ec8b48c49c015e0a8d336c197637e7f65e365fa9e",
			"driver": "bridge", "network_interface": "podman1", "created": "2026-01-01T00:00:00Z",
			"subnets":      []map[string]any{{"subnet": "10.98.0.0/16", "gateway": "10.98.0.1"}},
			"ipv6_enabled": false, "internal": false, "dns_enabled": false,
			"ipam_options": map[string]any{"driver": "host-local"},
		}},
	})
	if err != nil {
		return err
	}
	return n.b.in(n.host, func() error {
		cmd := exec.CommandContext(ctx, netavarkPath, "--config", n.dir, verb, path)
		cmd.Stdin = bytes.NewReader(in)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("netavark %s: %w: %s", verb, err, out)
		}
		return nil
	})
}

func (n *netavark) attaching() Contender {
	return Contender{"netavark", func(ctx context.Context, round int) (float64, error) {
		ns, err := n.b.Place(ctx)
		if err != nil {
			return 0, err
		}
		n.next++
		id, ip := fmt.Sprintf("c%d", n.b.made), fmt.Sprintf("10.98.%d.%d", n.next/200, n.next%200+2)
		took, err := timed(func() error { return n.exec(ctx, "setup", id, ns, ip) })
		if err != nil {
			return 0, err
		}
		return took, errors.Join(n.exec(ctx, "teardown", id, ns, ip), n.b.Forget(ctx, ns))
	}}
}
