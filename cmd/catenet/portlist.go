package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// portRuns tells published ports in few words: neighbours are one range, as
// in "0.0.0.0:8000-8009->80-89/tcp", and what 0.0.0.0 and :: have in common is
// told once where merge is set.
func portRuns(ports []catenet.PortBinding, arrow string, merge bool) []string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b catenet.PortBinding) int {
		return cmp.Or(a.HostIP.Compare(b.HostIP), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port), cmp.Compare(a.HostPort, b.HostPort))
	})
	var out []string
	for i := 0; i < len(ports); {
		first, n := ports[i], 1
		for i+n < len(ports) && follows(first, ports[i+n], n) {
			n++
		}
		i += n
		host := first.Host()
		if merge && first.HostIP.IsUnspecified() {
			host = host[strings.LastIndexByte(host, ':'):]
		}
		if !first.Routed {
			host += last(first.HostPort, n)
		}
		run := fmt.Sprintf("%s%s%d%s/%s", host, arrow, first.Port, last(first.Port, n), first.Proto)
		if !slices.Contains(out, run) {
			out = append(out, run)
		}
	}
	return out
}

func follows(a, b catenet.PortBinding, n int) bool {
	return a.HostIP == b.HostIP && a.Proto == b.Proto && a.Routed == b.Routed && int(b.Port) == int(a.Port)+n &&
		(a.Routed || int(b.HostPort) == int(a.HostPort)+n)
}

func last(first uint16, n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("-%d", int(first)+n-1)
}

// portCell is the PORTS column of ps.
func portCell(sb catenet.SandboxStatus) string {
	return strings.Join(portRuns(sb.Bindings, "->", false), ", ")
}
