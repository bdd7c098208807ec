package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// socket is the plugin's.
func (h *host) socket() string { return filepath.Join(h.h.Dir, "plugin.sock") }

// late is the path of a namespace that comes and goes.
func (h *host) late(place string) string {
	return "/run/netns/" + h.lab.Name(strings.ReplaceAll(place, " ", ""))
}

// came reports whether the namespace is there.
func (h *host) came(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// arrive makes a namespace, and furnishes it for who waits for it.
func (h *host) arrive(place string) error {
	path := h.late(place)
	if h.came(path) {
		return nil
	}
	name := filepath.Base(path)
	h.h.MustRun("ip", "netns", "add", name)
	h.h.MustRun("ip", "-n", name, "link", "set", "lo", "up")
	h.truth.Netns = append(h.truth.Netns, name)
	all, err := h.truth.Client.Sandboxes(ctx, true)
	for _, sb := range all {
		if sb.Netns == path {
			err = errors.Join(err, h.furnish(sb.Name))
		}
	}
	return err
}

// furnish takes the links of a sandbox into the namespace that it waited for, if
// that is there, as its runtime would, and waits until the daemon has noticed.
func (h *host) furnish(name string) error {
	sb, err := h.truth.Client.Sandbox(ctx, name)
	if err != nil || !sb.Parked || !h.came(sb.Netns) {
		return err
	}
	for _, ep := range sb.Endpoints {
		h.h.Run("ip", "link", "set", ep.Parked.Link, "netns", filepath.Base(sb.Netns)) // unless it is there already
	}
	return within(h.patience, func() error {
		sb, err := h.truth.Client.Sandbox(ctx, name)
		if err == nil && sb.Expected {
			err = fmt.Errorf("%s waits for a namespace that is there", name)
		}
		return err
	})
}

// depart removes a namespace, and waits until the daemon has noticed.
func (h *host) depart(place string) error {
	path := h.late(place)
	h.noLate(place)
	return within(h.patience, func() error {
		all, err := h.truth.Client.Sandboxes(ctx, true)
		if slices.ContainsFunc(all, func(sb catenet.SandboxStatus) bool { return sb.Netns == path && !sb.Expected }) {
			err = errors.Join(err, fmt.Errorf("the namespace of %s is gone", place))
		}
		return err
	})
}

// noLate removes a namespace if it is there.
func (h *host) noLate(place string) {
	if path := h.late(place); h.came(path) {
		h.h.MustRun("ip", "netns", "del", filepath.Base(path))
		h.truth.Netns = slices.DeleteFunc(h.truth.Netns, func(name string) bool { return name == filepath.Base(path) })
	}
}
