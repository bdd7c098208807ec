package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// flanneldProgram is where tools/flanneld.sh puts what it builds.
const flanneldProgram = "/var/cache/catenet-flanneld/v0.28.10/flanneld"

// flanneldAcross is a bridge and a container by hand on each of two hosts, with a
// flanneld that hides what leaves the network, as its own unit has it.
func flanneldAcross(ctx context.Context, b *Bench, backend, mtu string) (laid, error) {
	l, err := handmadeAcross(ctx, b, "flanneld", mtu, func(int, int) []string { return nil })
	if err != nil {
		return l, err
	}
	l.goal = 1
	url, err := b.etcd(ctx, l.hosts[0], "192.0.2.1:2379")
	if err != nil {
		return l, err
	}
	config := fmt.Sprintf(`{"Network": "10.94.0.0/16", "Backend": {"Type": %q}}`, backend)
	_, err = b.tool(ctx, l.hosts[0], "etcdctl", "--endpoints="+url, "put", "/coreos.com/network/config", config)
	if err != nil {
		return l, err
	}
	for i, host := range l.hosts {
		if err := b.flanneld(ctx, host, url, i+1); err != nil {
			return l, err
		}
	}
	return l, nil
}

// flanneld starts one that takes the subnet by that number: the one that its file
// says it had.
func (b *Bench) flanneld(ctx context.Context, host, url string, n int) error {
	folder, err := b.Folder("flanneld")
	if err != nil {
		return err
	}
	file := filepath.Join(folder, "subnet.env")
	had := fmt.Sprintf("FLANNEL_NETWORK=10.94.0.0/16\nFLANNEL_SUBNET=10.94.%d.1/24\n", n)
	if err := os.WriteFile(file, []byte(had), 0o600); err != nil {
		return err
	}
	if err := b.daemon(host, flanneldProgram, "--etcd-endpoints="+url, "--iface=wire0", "--ip-masq", "--subnet-file="+file); err != nil {
		return err
	}
	return until(ctx, "flanneld", func() bool {
		now, err := os.ReadFile(file)
		return err == nil && string(now) != had
	})
}
