// Command forward is one node of a network whose packets go between hosts in
// user space, in datagrams without a header: by this project's transport, or as
// simply as can be. The benchmark starts two, in namespaces of its own, with one
// peer each:
//
//	forward plain|ours DEVICE ADDRESS/LEN SUBNET BIND:PORT PEER-SUBNET=VIA:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/tun"
	"github.com/catenet/catenet/internal/transport"
)

// node is what a node is told.
type node struct {
	device  string
	mtu     int // of the device, bytes
	address netip.Prefix
	local   netip.Prefix
	bind    netip.AddrPort
	subnet  netip.Prefix // of the peer
	via     netip.AddrPort
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	if len(args) != 6 {
		return errors.New("usage: forward plain|ours DEVICE ADDRESS/LEN SUBNET BIND:PORT PEER-SUBNET=VIA:PORT")
	}
	n := node{device: args[1], mtu: 1500 - 28}
	subnet, via, _ := strings.Cut(args[5], "=")
	var errs [5]error
	n.address, errs[0] = netip.ParsePrefix(args[2])
	n.local, errs[1] = netip.ParsePrefix(args[3])
	n.bind, errs[2] = netip.ParseAddrPort(args[4])
	n.subnet, errs[3] = netip.ParsePrefix(subnet)
	n.via, errs[4] = netip.ParseAddrPort(via)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if args[0] == "plain" {
		return plain(ctx, n)
	}
	return ours(ctx, n)
}

// ours is a node as the daemon has it.
func ours(ctx context.Context, n node) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	host, err := link.Open(nil, log)
	if err != nil {
		return err
	}
	defer host.Close()
	tunnels := tun.New(host, log)
	tunnel, err := tunnels.OpenTunnel(ctx, kernel.TunnelSpec{
		Device: n.device, Alias: kernel.Mark + "bench", MTU: n.mtu, Addrs: []netip.Prefix{n.address}, Bind: n.bind, Lanes: 1,
	})
	if err != nil {
		return err
	}
	defer tunnel.Close()
	table := new(transport.Table)
	if err := table.Set(transport.Peer{Subnet: n.subnet, Via: n.via}); err != nil {
		return err
	}
	t, err := transport.New(tunnel, table, n.address.Addr(), log)
	if err != nil {
		return err
	}
	t.SetLocal(n.local)
	err = t.Run(ctx)
	log.Info("done", "traffic", t.Traffic())
	return err
}

func run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}
