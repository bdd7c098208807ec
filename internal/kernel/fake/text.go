package fake

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/catenet/catenet/internal/kernel"
)

// String returns the state as the commands that would make it, one a line,
// sorted within the host and each namespace. Namespaces go by their first
// path.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, l := range k.links {
		out = append(out, k.linkText(l)...)
	}
	for _, r := range k.reach {
		out = append(out, reachText(r)...)
	}
	if k.forward4 {
		out = append(out, "sysctl -w net.ipv4.ip_forward=1")
	}
	if k.forward6 {
		out = append(out, "sysctl -w net.ipv6.conf.all.forwarding=1")
	}
	slices.Sort(out)
	seen := map[uint64]string{}
	for _, path := range slices.Sorted(maps.Keys(k.places)) {
		inode := k.places[path]
		if first, ok := seen[inode]; ok {
			out = append(out, fmt.Sprintf("mount --bind %s %s", first, path))
			continue
		}
		seen[inode] = path
		out = append(out, "ip netns add "+path)
		out = append(out, k.inside[inode].text(path)...)
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n") + "\n"
}

func (k *Kernel) linkText(l kernel.Link) []string {
	var b strings.Builder
	fmt.Fprintf(&b, "ip link add %s mtu %d", l.Name, l.MTU)
	if l.MAC != nil {
		fmt.Fprintf(&b, " address %s", l.MAC)
	}
	fmt.Fprintf(&b, " type %s", l.Kind)
	if v := l.VXLAN; v != nil {
		fmt.Fprintf(&b, " id %d dstport %d", v.VNI, cmp.Or(v.Port, 8472))
		if v.Local.IsValid() {
			fmt.Fprintf(&b, " local %s", v.Local)
		}
		if v.Under != "" {
			fmt.Fprintf(&b, " dev %s", v.Under)
		}
		if !v.Learning {
			b.WriteString(" nolearning")
		}
		if v.GBP {
			b.WriteString(" gbp")
		}
	}
	if p := l.Peer; p != nil {
		fmt.Fprintf(&b, " peer name %s", p.Name)
		if p.MAC != nil {
			fmt.Fprintf(&b, " address %s", p.MAC)
		}
		if p.NS != nil {
			fmt.Fprintf(&b, " netns %s", p.NS.Path)
		}
	}
	out := []string{b.String()}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if l.Alias != "" {
		add("ip link set %s alias %s", l.Name, l.Alias)
	}
	if l.Master != "" {
		add("ip link set %s master %s", l.Name, l.Master)
	}
	if l.Isolated {
		add("bridge link set dev %s isolated on", l.Name)
	}
	if l.Hairpin {
		add("bridge link set dev %s hairpin on", l.Name)
	}
	if l.NoIPv6 {
		add("sysctl -w net.ipv6.conf.%s.disable_ipv6=1", l.Name)
	}
	for _, a := range l.Addrs {
		add("ip addr add %s dev %s", a, l.Name)
	}
	return out
}

func (in *inside) text(path string) []string {
	var out []string
	add := func(format string, args ...any) {
		out = append(out, "ip -n "+path+" "+fmt.Sprintf(format, args...))
	}
	for name := range in.parked {
		if _, worn := in.interfaces[name]; !worn {
			add("link show %s", name)
		}
	}
	for name, i := range in.interfaces {
		add("link set %s up mtu %d address %s alias %s", name, i.MTU, i.MAC, i.Alias)
		if i.NoIPv6 {
			add("sysctl -w net.ipv6.conf.%s.disable_ipv6=1", name)
		}
		for _, a := range i.Addrs {
			add("addr add %s dev %s", a, name)
		}
		for _, r := range i.Routes {
			gateway := ""
			if r.Gateway.IsValid() {
				gateway = " via " + r.Gateway.String()
			}
			metric := ""
			if r.Metric != 0 {
				metric = fmt.Sprintf(" metric %d", r.Metric)
			}
			add("route add %s%s dev %s%s", r.Dst, gateway, name, metric)
		}
		for key, value := range i.Sysctls {
			add("sysctl -w %s=%s", strings.Replace(key, "IFNAME", name, 1), value)
		}
	}
	if in.resolver != 0 {
		add("nft redirect 127.0.0.11:53 to :%d", in.resolver)
	}
	if in.further {
		add("nft redirect 127.128.0.0/9 to 127.0.0.11")
	}
	slices.Sort(out)
	return out
}
