package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"github.com/catenet/catenet"
)

// acrossVXLAN: one TCP stream between containers of two hosts of a flannel network,
// against the same with a vxlan device by hand.
func acrossVXLAN(ctx context.Context, b *Bench) ([]Line, error) {
	hosts, err := wired(ctx, b)
	if err != nil {
		return nil, err
	}
	registry, err := b.etcd(ctx, hosts[0], "192.0.2.1:2379")
	if err != nil {
		return nil, err
	}
	mine := laid{name: "catenet"}
	for _, host := range hosts {
		folder, err := b.Folder("part")
		if err != nil {
			return nil, err
		}
		err = mine.join(ctx, b, host, catenet.NetworkSpec{Name: "across", Driver: "flannel", Options: map[string]string{
			"etcd": registry, "iface": "wire0", "subnet-file": filepath.Join(folder, "subnet.env"),
			"write-config": `{"Network": "10.94.0.0/16", "Backend": {"Type": "vxlan"}}`,
		}})
		if err != nil {
			return nil, err
		}
	}

	byHand, err := handmadeAcross(ctx, b, "vxlan device by hand", "1450", vxlanByHand)
	if err != nil {
		return nil, err
	}
	byHand.goal = 1
	tracked, err := trackedAcross(ctx, b, "vxlan device", "1450", vxlanByHand)
	if err != nil {
		return nil, err
	}
	theirs, err := flanneldAcross(ctx, b, "vxlan", "1450")
	if err != nil {
		return nil, err
	}
	return streamAcross(ctx, b, "TCP stream across hosts: vxlan", mine, byHand, tracked, theirs)
}

// vxlanByHand is a vxlan device, and what leads by it to the other host.
func vxlanByHand(own, peer int) []string {
	next := fmt.Sprintf("10.94.%d.0", peer)
	return []string{
		fmt.Sprintf("ip link add flannel.1 mtu 1450 address 02:00:00:00:00:0%d type vxlan id 1 dstport 8472 local "+hostOn+" dev wire0 nolearning", own, own),
		fmt.Sprintf("ip addr add 10.94.%d.0/32 dev flannel.1", own),
		"ip link set flannel.1 up",
		fmt.Sprintf("ip neigh add %s lladdr 02:00:00:00:00:0%d dev flannel.1 nud permanent", next, peer),
		fmt.Sprintf("bridge fdb add 02:00:00:00:00:0%d dev flannel.1 dst "+hostOn, peer, peer),
		fmt.Sprintf("ip route add %s/24 via %s dev flannel.1 onlink", next, next),
	}
}

// etcd starts one on a host, and returns its URL.
func (b *Bench) etcd(ctx context.Context, host, at string) (string, error) {
	data, err := b.Folder("etcd")
	if err != nil {
		return "", err
	}
	if _, err := b.tool(ctx, host, "ip", "link", "set", "lo", "up"); err != nil {
		return "", err
	}
	url := "http://" + at
	if err := b.daemon(host, "etcd", "--data-dir", data, "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level", "error"); err != nil {
		return "", err
	}
	return url, until(ctx, "etcd", func() bool {
		return b.in(host, func() error {
			c, err := net.Dial("tcp", at)
			if err == nil {
				err = c.Close()
			}
			return err
		}) == nil
	})
}
