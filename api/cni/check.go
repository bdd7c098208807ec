package cni

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// check compares an attachment with what ADD has answered, and with what is
// asked for.
func (f *Front) check(ctx context.Context, c call) error {
	prev, err := c.previous()
	if err != nil {
		return err
	}
	if len(c.conf.PrevResult) == 0 {
		return coded(codeField, catenet.Invalidf("CHECK needs prevResult, which is what ADD has answered"))
	}
	defer f.busy.hold("container " + c.containerID)()
	sb, found, err := f.sandbox(ctx, c)
	if err != nil {
		return err
	}
	ep, attached := attached(sb, c.conf.Name, c.ifname)
	if !found || !attached {
		return catenet.NotFoundf("container %s is not attached by interface %s to network %s", c.containerID, c.ifname, c.conf.Name)
	}
	if err := compare(c, prev, sb, ep); err != nil {
		return err
	}
	return f.engine.Check(ctx, sb.ID)
}

// compare looks for what prevResult and the call say and the attachment is not.
func compare(c call, prev result, sb catenet.SandboxStatus, ep catenet.Endpoint) error {
	interfaces, err := prev.interfaces()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(interfaces, func(i resultInterface) bool { return i.Sandbox != "" && i.Name == c.ifname })
	if at < 0 {
		return catenet.Conflictf("prevResult has no interface %s in the container", c.ifname)
	}
	if mac := interfaces[at].MAC; mac != "" && mac != ep.MAC {
		return catenet.Conflictf("interface %s has the MAC address %s, and prevResult says %s", c.ifname, ep.MAC, mac)
	}
	for _, raw := range prev.IPs {
		var ip resultIP
		if err := json.Unmarshal(raw, &ip); err != nil {
			return coded(codeDecode, catenet.Invalidf("read prevResult: %w", err))
		}
		if ip.Interface == nil || *ip.Interface != at {
			continue
		}
		if a, err := netip.ParsePrefix(ip.Address); err != nil || a != ep.IPv4 && a != ep.IPv6 {
			return catenet.Conflictf("interface %s does not have the address %s that prevResult tells of", c.ifname, ip.Address)
		}
	}
	if want := c.conf.RuntimeConfig.Bandwidth.bandwidth(); want != ep.Spec.Bandwidth {
		return catenet.Conflictf("interface %s is not shaped as asked", c.ifname)
	}
	ports, err := c.conf.ports()
	if err != nil {
		return err
	}
	for _, p := range ports {
		if !slices.ContainsFunc(sb.Bindings, func(b catenet.PortBinding) bool {
			return b.Port == p.Port && b.Proto == p.Proto && (b.Routed || b.HostPort == p.HostPort && (!p.HostIP.IsValid() || b.HostIP == p.HostIP))
		}) {
			return catenet.Conflictf("host port %d does not lead to port %d/%s of container %s", p.HostPort, p.Port, p.Proto, sb.Name)
		}
	}
	return nil
}

// status tells whether an ADD could be served: the daemon answers, and a
// network that has to exist does.
func (f *Front) status(ctx context.Context, c call) error {
	if c.conf.Network == "" {
		return nil
	}
	if _, err := f.engine.Network(ctx, c.conf.Network); err != nil {
		return coded(codeNotReady, err)
	}
	return nil
}
