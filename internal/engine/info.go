package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// Info describes the daemon and its host as they are now.
func (e *Engine) Info(ctx context.Context) (catenet.Info, error) {
	info := e.o.Info
	info.Drivers = e.driverNames()
	info.Options = map[string]catenet.DriverOptions{}
	for _, d := range e.o.Drivers {
		info.Options[d.Name()] = d.Options()
	}
	info.Loopback = e.o.Loopback.Name()
	for _, a := range e.o.Names.HostConf().Servers {
		info.DNSUpstreams = append(info.DNSUpstreams, netip.AddrPortFrom(a, 53))
	}
	info.NodeID = e.o.Store.NodeID()
	info.Warnings = e.o.Store.Warnings()
	e.locked(func() {
		for _, n := range e.networks {
			if n.ready && !n.removing {
				info.Networks++
			}
			if n.down != nil && !n.removing {
				info.Warnings = append(info.Warnings, fmt.Sprintf("network %s is down: %v", n.Name, n.down))
			}
			if err := n.trouble(); err != nil && !n.removing {
				info.Warnings = append(info.Warnings, fmt.Sprintf("network %s: %s", n.Name, told(err)))
			}
			if n.lingers != nil {
				info.Warnings = append(info.Warnings, fmt.Sprintf("network %s is removed, and not gone: %v", n.Name, n.lingers))
			}
		}
		for _, p := range e.handbacks {
			if p.trouble != nil {
				info.Warnings = append(info.Warnings, p.text())
			}
		}
		for _, sb := range e.sandboxes {
			if a := sb.ailment; a != nil && sb.now != nil && sb.now.State == catenet.StateRunning {
				info.Warnings = append(info.Warnings, fmt.Sprintf("container %s is not as it should be: %s", sb.name, a.why))
			}
		}
	})
	slices.Sort(info.Warnings)
	for _, r := range e.records() {
		info.Sandboxes++
		if r.State == catenet.StateRunning {
			info.Running++
		}
		info.Endpoints += len(r.Endpoints)
		info.Ports += len(r.Bindings)
	}
	obstacles, err := e.o.Firewall.Obstacles(ctx)
	if err != nil {
		info.Warnings = append(info.Warnings, "cannot tell whether another firewall is in the way: "+err.Error())
	}
	info.Obstacles = obstacles
	return info, nil
}

// tellObstacles logs the rules of others that swallow packets of ours.
func (e *Engine) tellObstacles(ctx context.Context) {
	obstacles, err := e.o.Firewall.Obstacles(ctx)
	if err != nil {
		e.log.Error("look for other firewalls", "err", err)
	}
	for _, o := range obstacles {
		e.log.Warn("another firewall's rule swallows packets of ours", "rule", o.Rule, "remedy", strings.TrimSpace(o.Remedy))
	}
}
