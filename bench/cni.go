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

// cniPath is where Debian's containernetworking-plugins puts its programs.
const cniPath = "/usr/lib/cni"

// cni drives the reference plugins bridge, host-local and portmap as a runtime
// does: one exec each, the network's configuration on standard input.
type cni struct {
	b    *Bench
	host string
	data string // host-local's folder
	masq bool   // ipMasq, as goes with published ports
	path string // folder of the plugins
	env  []string
}

func startCNI(ctx context.Context, b *Bench, masq bool) (*cni, error) {
	if _, err := os.Stat(filepath.Join(cniPath, "bridge")); err != nil {
		return nil, fmt.Errorf("peer is not installed: %w", err)
	}
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	data, err := b.Folder("cni")
	return &cni{b: b, host: host, data: data, masq: masq, path: cniPath}, err
}

// exec runs one plugin in the host's namespace.
func (c *cni) exec(ctx context.Context, plugin, command, id, ns string, config map[string]any) ([]byte, error) {
	in, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	ifname := "eth0"
	if plugin == "loopback" {
		ifname = "lo"
	}
	var out bytes.Buffer
	err = c.b.in(c.host, func() error {
		cmd := exec.CommandContext(ctx, filepath.Join(c.path, plugin))
		cmd.Env = append([]string{
			"PATH=" + os.Getenv("PATH"), "CNI_PATH=" + c.path, "CNI_COMMAND=" + command,
			"CNI_CONTAINERID=" + id, "CNI_NETNS=" + ns, "CNI_IFNAME=" + ifname,
		}, c.env...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", plugin, command, err, out.Bytes())
		}
		return nil
	})
	return out.Bytes(), err
}

func (c *cni) bridge() map[string]any {
	return map[string]any{
		"cniVersion": "0.4.0", "name": "bench", "type": "bridge", "bridge": "cni0",
		"isGateway": true, "isDefaultGateway": true, "ipMasq": c.masq, "hairpinMode": true,
		"ipam": map[string]any{
			"type": "host-local", "subnet": "10.99.0.0/16", "dataDir": c.data,
		},
	}
}

// firstPort is the first that a container publishes, unless many do.
const firstPort = 20000

// mappings are what a runtime puts into a configuration for published ports.
func mappings(first, ports int) map[string]any {
	var maps []map[string]any
	for p := first; p < first+ports; p++ {
		maps = append(maps, map[string]any{"hostPort": p, "containerPort": p, "protocol": "tcp"})
	}
	return map[string]any{"portMappings": maps}
}

func (c *cni) portmap(first, ports int, prev json.RawMessage) map[string]any {
	return map[string]any{
		"cniVersion": "0.4.0", "name": "bench", "type": "portmap",
		"runtimeConfig": mappings(first, ports), "prevResult": prev,
	}
}

// add attaches the namespace at path. A runtime gives every namespace its
// loopback by a plugin of its own (containerd and CRI-O do): with bridge, which
// runs host-local, that makes three programs.
func (c *cni) add(ctx context.Context, id, path string, ports int) (json.RawMessage, error) {
	lo := map[string]any{"cniVersion": "0.4.0", "name": "lo", "type": "loopback"}
	if _, err := c.exec(ctx, "loopback", "ADD", id, path, lo); err != nil {
		return nil, err
	}
	return c.chain(ctx, id, path, firstPort, ports)
}

// chain is ADD of bridge, and of portmap where there are ports.
func (c *cni) chain(ctx context.Context, id, path string, first, ports int) (json.RawMessage, error) {
	result, err := c.exec(ctx, "bridge", "ADD", id, path, c.bridge())
	if err != nil || ports == 0 {
		return result, err
	}
	_, err = c.exec(ctx, "portmap", "ADD", id, path, c.portmap(first, ports, result))
	return result, err
}

// del detaches it again.
func (c *cni) del(ctx context.Context, id, path string, ports int, result json.RawMessage) error {
	if ports > 0 {
		if _, err := c.exec(ctx, "portmap", "DEL", id, path, c.portmap(firstPort, ports, result)); err != nil {
			return err
		}
	}
	_, err := c.exec(ctx, "bridge", "DEL", id, path, c.bridge())
	return err
}

func (c *cni) attaching(ports int) Contender {
	name := "CNI bridge"
	if ports > 0 {
		name = "CNI bridge + portmap"
	}
	return Contender{name, func(ctx context.Context, round int) (float64, error) {
		ns, err := c.b.Place(ctx)
		if err != nil {
			return 0, err
		}
		id := fmt.Sprintf("c%d", c.b.made)
		var result json.RawMessage
		took, err := timed(func() error { result, err = c.add(ctx, id, ns, ports); return err })
		if err != nil {
			return 0, err
		}
		return took, errors.Join(c.del(ctx, id, ns, ports, result), c.b.Forget(ctx, ns))
	}}
}
