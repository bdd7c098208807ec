// Package truth compares a daemon's word with its host: what the API lists of
// networks, containers and ports, with the links, addresses, routes, rules,
// pins, files, sockets and answers that there are. Both are written as lines
// of text, and what one has and the other has not is a lie or a leak.
package truth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/test/lab"
)

// World is a daemon and its host, whose networks are bridges and whose
// containers are in networks or sandboxes of none.
type World struct {
	Host   *lab.Host
	Client *client.Client
	// Ports are host ports, of TCP and UDP, that nothing but the daemon takes.
	Ports []uint16
	// Netns are names in /run/netns of namespaces that may be attached. What
	// is not must be as it was made.
	Netns []string
	// Names are looked up beside those that there are.
	Names []string
}

// New returns the world of a host whose daemon listens at its usual socket.
func New(h *lab.Host) (*World, error) {
	c, err := client.New(h.Socket())
	return &World{Host: h, Client: c}, err
}

// Differences returns what the daemon says and the host has not ("- …"), and
// what the host has and the daemon says nothing of ("+ …").
func (w *World) Differences(ctx context.Context) ([]string, error) {
	said, err := w.listen(ctx)
	if err != nil {
		return nil, err
	}
	have, err := w.look(said)
	if err != nil {
		return nil, err
	}
	want := w.expect(said)
	slices.Sort(want)
	slices.Sort(have)
	var diff []string
	for _, line := range want {
		if _, found := slices.BinarySearch(have, line); !found {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range have {
		if _, found := slices.BinarySearch(want, line); !found {
			diff = append(diff, "+ "+line)
		}
	}
	return diff, nil
}

// word is all that the daemon says.
type word struct {
	networks  []catenet.NetworkStatus
	sandboxes []catenet.SandboxStatus
	info      catenet.Info
}

func (w *World) listen(ctx context.Context) (word, error) {
	var said word
	all, err := w.Client.Networks(ctx)
	if err != nil {
		return said, fmt.Errorf("list networks: %w", err)
	}
	for _, n := range all {
		n, err := w.Client.Network(ctx, n.ID) // with the owners
		if err != nil {
			return said, fmt.Errorf("inspect network: %w", err)
		}
		said.networks = append(said.networks, n)
	}
	if said.sandboxes, err = w.Client.Sandboxes(ctx, true); err != nil {
		return said, fmt.Errorf("list containers: %w", err)
	}
	if said.info, err = w.Client.Info(ctx); err != nil {
		return said, fmt.Errorf("ask for info: %w", err)
	}
	return said, nil
}

// rooms are the namespaces to look into: those of the sandboxes that run, by
// name, and those that are not attached.
func (w *World) rooms(said word) map[string]string {
	rooms := make(map[string]string)
	for _, name := range w.Netns {
		rooms["netns "+name] = "/run/netns/" + name
	}
	for _, sb := range said.sandboxes {
		if sb.State == catenet.StateRunning && sb.Mode == "" && !sb.Expected {
			rooms[sb.Name] = sb.NetnsPath
			delete(rooms, "netns "+netnsName(sb))
		}
	}
	return rooms
}

// netnsName is what a sandbox's namespace is called in /run/netns, or "".
func netnsName(sb catenet.SandboxStatus) string {
	name, ok := strings.CutPrefix(sb.Netns, "/run/netns/")
	if !ok {
		return ""
	}
	return name
}
