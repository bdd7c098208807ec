package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

const flanneldLong = `Take this host into a flannel network, for containers that somebody else makes, as
flanneld does: the host gets a subnet from the registry in etcd, reaches the other
hosts' subnets, and --subnet-file tells of it. Then, for Docker:

  . /run/flannel/subnet.env
  dockerd --bip=$FLANNEL_SUBNET --mtu=$FLANNEL_MTU

The daemon does it, by a network of the driver flannel without a bridge, which this
program asks for and looks after. When it ends, that network goes on; catenet
network rm flannel ends it. Started again with other flags, the network is made anew,
with the same subnet.

The flags are flanneld's, also with one dash, and each can be given by the environment,
as in FLANNELD_ETCD_ENDPOINTS; flags come first. What was for Kubernetes or for
iptables is refused, and said what to do instead.`

// flanneldFlags are those of flanneld that have a meaning here.
type flanneldFlags struct {
	network, endpoints, prefix  string
	keyFile, certFile, caFile   string
	user, password              string
	ifaces, ifaceRegexes        []string
	canReach                    string
	publicIP, publicIPv6        string
	subnetFile                  string
	margin, healthPort, verbose int
	healthIP                    string
	masquerade, version         bool
}

func (c *cli) flanneld() *cobra.Command {
	var f flanneldFlags
	cmd := &cobra.Command{
		Use:   "flanneld",
		Short: "Stand in for flanneld: this host's part of a flannel network, for Docker",
		Long:  flanneldLong,
		Args:  args(cobra.NoArgs),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.network, "network", "flannel", "`name` of the daemon's network")
	fl.StringVar(&f.endpoints, "etcd-endpoints", "http://127.0.0.1:4001,http://127.0.0.1:2379", "`URLs` of etcd's servers, separated by commas")
	fl.StringVar(&f.prefix, "etcd-prefix", "/coreos.com/network", "where the network is in etcd: a `key`")
	fl.StringVar(&f.keyFile, "etcd-keyfile", "", "private key of this host's certificate for etcd: a `file`")
	fl.StringVar(&f.certFile, "etcd-certfile", "", "certificate of this host for etcd: a `file`")
	fl.StringVar(&f.caFile, "etcd-cafile", "", "certificates of who vouches for etcd: a `file`")
	fl.StringVar(&f.user, "etcd-username", "", "`name` of etcd's user")
	fl.StringVar(&f.password, "etcd-password", "", "his `password`; FLANNELD_ETCD_PASSWORD is seen by fewer")
	fl.StringArrayVar(&f.ifaces, "iface", nil, "`link` that the other hosts are behind, or an address of it; of several, the first that there is")
	fl.StringArrayVar(&f.ifaceRegexes, "iface-regex", nil, "the same, of which the name or an address matches an `expression`")
	fl.StringVar(&f.canReach, "iface-can-reach", "", "the same, by which an `address` is reached")
	fl.StringVar(&f.publicIP, "public-ip", "", "`address` at which the other hosts reach this one")
	fl.StringVar(&f.publicIPv6, "public-ipv6", "", "the same `address` of IPv6")
	fl.StringVar(&f.subnetFile, "subnet-file", "/run/flannel/subnet.env", "`file` that tells of the subnet")
	fl.IntVar(&f.margin, "subnet-lease-renew-margin", 60, "`minutes` before its end in which the lease is renewed, 1 to 1439")
	fl.BoolVar(&f.masquerade, "ip-masq", false, "hide containers behind this host where they reach out of the network")
	fl.StringVar(&f.healthIP, "healthz-ip", "0.0.0.0", "`address` at which /healthz and /readyz are answered")
	fl.IntVar(&f.healthPort, "healthz-port", 0, "`port` of that; 0: nowhere")
	fl.IntVarP(&f.verbose, "v", "v", 0, "log more: 1 tells of each host that comes and goes; a `number`")
	fl.BoolVar(&f.version, "version", false, "print which build this is")
	refuseFlags(fl)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(fl); err != nil {
			return usage(err)
		}
		if f.version {
			fmt.Fprintln(c.out, catenet.BuildVersion().Version)
			return nil
		}
		return c.standIn(cmd.Context(), f)
	}
	return cmd
}

// standIn asks for the network and looks after it until it is told to end.
func (c *cli) standIn(ctx context.Context, f flanneldFlags) error {
	spec, err := f.spec()
	if err != nil {
		return usage(err)
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	level := slog.LevelInfo
	if f.verbose > 0 {
		level = slog.LevelDebug
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	release, err := alone(c.host, f.network)
	if err != nil {
		return err
	}
	defer release()
	s := &standIn{flags: f, spec: spec, daemon: cl, log: slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level}))}
	end, err := s.answerHealth(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.writeUser(); err != nil {
		return err
	}
	return s.run(ctx)
}
