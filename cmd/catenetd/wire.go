package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/internal/config"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/driver/flannel"
	"github.com/catenet/catenet/internal/driver/mode"
	"github.com/catenet/catenet/internal/driver/ptp"
	"github.com/catenet/catenet/internal/driver/routed"
	"github.com/catenet/catenet/internal/engine"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/client"
	"github.com/catenet/catenet/internal/firewall"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/bpf"
	"github.com/catenet/catenet/internal/kernel/flows"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/limit"
	"github.com/catenet/catenet/internal/kernel/link"
	"github.com/catenet/catenet/internal/kernel/mounts"
	"github.com/catenet/catenet/internal/kernel/netns"
	"github.com/catenet/catenet/internal/kernel/nft"
	"github.com/catenet/catenet/internal/kernel/process"
	"github.com/catenet/catenet/internal/kernel/sockets"
	"github.com/catenet/catenet/internal/kernel/tun"
	"github.com/catenet/catenet/internal/names"
	"github.com/catenet/catenet/internal/store"
)

// reunion is longer than the CLI waits for a daemon to come back.
const reunion = 45 * time.Second

// drivers are the kinds of network there are, in the order in which they are
// listed. A new one is one line here.
func drivers(tunnels kernel.Tunnels, log *slog.Logger) []driver.Driver {
	return []driver.Driver{
		bridge.New(),
		routed.New(bridge.New()),
		flannel.New(bridge.New(), tunnels, openEtcd, log),
		ptp.New(),
		mode.New("host", catenet.ModeHost, catenet.NetworkHost),
		mode.New("null", catenet.ModeNone, catenet.NetworkNone),
	}
}

// openEtcd opens a store that is asked later.
func openEtcd(c etcd.Config) (etcd.Store, error) { return client.New(c) }

// daemon is everything that is wired.
type daemon struct {
	engine   *engine.Engine
	firewall *firewall.Firewall
	names    *names.Names
	closers  []func() error // in the order in which things were opened
	sockets  *sockets.Sockets
	tunnels  *tun.Tunnels
	offers   []offer // what else is handed over
	plugin   *plugin // nil: dockerd is not served
	// takeBack removes what would outlive a start that fails.
	takeBack func() error
}

// close closes what was opened, last first.
func (d *daemon) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

// later registers what close has to close.
func (d *daemon) later(fn func() error) { d.closers = append(d.closers, fn) }

// open opens every room. What it returns is to be closed even if it fails.
func open(c config.Config, given *handover.Parcel, log *slog.Logger) (*daemon, error) {
	d := &daemon{takeBack: func() error { return nil }}
	claim, err := claimHost(given)
	if err != nil {
		return d, err
	}
	d.later(claim.Close)
	records, err := store.Open(store.Options{StateDir: c.StateDir, RunDir: c.RunDir, Log: log})
	if err != nil {
		return d, err
	}
	d.later(records.Close)
	rules, err := nft.Open(nft.Options{Inherited: given.Take(rulesSocket)})
	if err != nil {
		return d, err
	}
	d.later(rules.Close)
	d.offers = []offer{{claimSocket, claim}, {rulesSocket, rules}}
	links, err := link.Open(nft.Redirect, log)
	if err != nil {
		return d, err
	}
	d.later(links.Close)
	d.tunnels = tun.New(links, log)
	d.tunnels.Inherit(given)
	held := sockets.New(log)
	held.Inherit(given)
	d.sockets = held
	// Last of what can fail: it leaves something.
	loopback, err := d.openLoopback(c, held, log)
	if err != nil {
		return d, err
	}
	d.later(loopback.Close)
	if err := d.openNames(given, log); err != nil {
		return d, err
	}
	runner := process.New(process.Options{Log: log, Adopt: true})
	d.later(runner.Close)
	d.firewall = firewall.New(rules, foreign.New(rules, "catenet"), log)
	d.engine = engine.New(engine.Options{
		RunDir: c.RunDir, StateDir: c.StateDir, Log: log,
		Store: records, Host: links, Namespaces: netns.New(), Mounts: mounts.New(), Sockets: held, Loopback: loopback,
		Flows: flows.New(), Processes: runner, Logs: process.Logs,
		Firewall: d.firewall, Names: d.names, Drivers: drivers(d.tunnels, log), Pools: c.AddressPools,
		Reunion: reunion, Files: limit.Enough, Progress: (&progress{log: log}).set,
		Info: about(c, rules.Caps().Owner),
	})
	d.later(d.engine.Close)
	return d, nil
}

// openNames opens the resolver, with the lookups that an earlier program has
// left to it.
func (d *daemon) openNames(given *handover.Parcel, log *slog.Logger) error {
	d.names = names.New(names.Options{Log: log})
	d.later(d.names.Close)
	lookups, err := inheritLookups(given)
	if err != nil {
		return err
	}
	d.names.Inherit(lookups)
	return nil
}

// openLoopback opens what carries ports on loopback: eBPF where the kernel
// has it, else the proxy.
func (d *daemon) openLoopback(c config.Config, held *sockets.Sockets, log *slog.Logger) (kernel.Loopback, error) {
	pins := filepath.Join(c.RunDir, "bpf")
	if c.Loopback != "proxy" {
		l, err := bpf.Open(bpf.Options{Dir: pins, Log: log})
		if err == nil {
			if l.Fresh() {
				d.takeBack = func() error { return bpf.Remove(pins) }
			}
			return l, nil
		}
		if c.Loopback != "auto" || !catenet.IsUnsupported(err) {
			return nil, fmt.Errorf("open loopback ports: %w", err)
		}
		log.Warn("ports on loopback are carried by a proxy in the daemon", "because", err)
	}
	// Programs of an earlier run would go on leading connections away.
	if err := bpf.Remove(pins); err != nil {
		return nil, fmt.Errorf("remove earlier loopback programs: %w", err)
	}
	return held.Proxy(), nil
}

// about is what does not change of the daemon's description.
func about(c config.Config, owner bool) catenet.Info {
	info := catenet.Info{
		Version: catenet.BuildVersion(), RunDir: c.RunDir, StateDir: c.StateDir,
		Firewall: catenet.FirewallInfo{Backend: "nftables", Owner: owner},
	}
	if name, err := os.Hostname(); err == nil {
		info.Hostname = name
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		info.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		info.Memory = memory(b)
	}
	return info
}

// memory is the size of the host's, in bytes, of proc_meminfo(5); 0 if that does
// not tell.
func memory(meminfo []byte) (size uint64) {
	for line := range strings.Lines(string(meminfo)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &size); err == nil {
			return size << 10
		}
	}
	return 0
}

// keep has a socket made anew when its file is gone.
func (d *daemon) keep(ctx context.Context, l *server.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	d.later(func() error { cancel(); <-done; return nil })
	go func() { defer close(done); l.Keep(ctx) }()
}

// watchFirewall has the firewall put back what somebody else flushes.
func (d *daemon) watchFirewall(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	d.later(func() error { cancel(); <-done; return nil })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := d.firewall.Watch(ctx); err != nil && ctx.Err() == nil {
				log.Error("watch firewall; trying again", "err", err)
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		}
	}()
}
