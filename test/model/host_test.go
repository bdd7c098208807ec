package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/truth"
)

// host is a real one on which operations are done.
type host struct {
	t      *testing.T
	lab    *lab.Lab
	h      *lab.Host
	truth  *truth.World
	plugin *lab.Plugin
	model  *model
	owners map[string]*exec.Cmd // the processes to attach, by place
	counts map[string]int       // of operations that succeeded, by verb
	// effective are those operations themselves.
	effective []op
	patience  time.Duration // with what happens by itself
}

var ctx = context.Background()

func newHost(t *testing.T) *host {
	t.Helper()
	l := lab.New(t)
	h := &host{t: t, lab: l, h: l.Host("a"), owners: make(map[string]*exec.Cmd), patience: soon}
	t.Cleanup(func() {
		for place := range h.owners {
			h.end(place)
		}
	})
	w, err := truth.New(h.h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Client.Close)
	h.truth, h.plugin = w, lab.NewPlugin(h.socket())
	t.Cleanup(h.plugin.Close)
	t.Cleanup(func() {
		for i := range lates {
			h.noLate(fmt.Sprint("late ", i))
		}
	})
	w.Ports, w.Names = ports, []string{"alias0", "alias1", "box0"}
	for i := range places {
		w.Netns = append(w.Netns, l.Name(fmt.Sprint("n", i)))
		h.h.MustRun("ip", "netns", "add", w.Netns[i])
		t.Cleanup(func() { h.h.MustRun("ip", "netns", "del", w.Netns[i]) })
	}
	return h
}

// again plays operations on a host that has nothing yet.
func (h *host) again(ops []op) error {
	h.h.Kill()
	r := h.h.Run(filepath.Join(lab.Binaries(h.t), "catenetd"), "--run-dir", h.h.RunDir(), "--state-dir", h.h.StateDir(), "--purge")
	if r.Code != 0 {
		h.t.Fatal(r.Text())
	}
	_, err := h.play(ops)
	return err
}

// play does operations on an empty host, with and without the daemon, until
// the two differ. It returns at which one that was.
func (h *host) play(ops []op) (at int, err error) {
	h.model, h.counts, h.effective = newModel(), make(map[string]int), nil
	for i := range lates {
		h.noLate(fmt.Sprint("late ", i))
	}
	if err := h.start(); err != nil {
		return 0, err
	}
	for i, o := range ops {
		want := h.model.apply(o)
		got := h.do(o)
		switch {
		case got == nil && want == nil:
			h.counts[o.verb]++
			h.effective = append(h.effective, o)
		case errors.Is(got, lab.ErrRefused) && want != nil: // without its kind
		case (got == nil) != (want == nil) || !slices.Contains(want, catenet.KindOf(got)):
			return i, fmt.Errorf("%s\n came to: %s\n and is to be: %v", o, fmt.Sprint(got), want)
		}
		if (i+1)%every == 0 || o.verb == "kill daemon" || o.verb == "upgrade" {
			if err := h.compare(); err != nil {
				return i, fmt.Errorf("after %s\n%w", o, err)
			}
		}
	}
	return len(ops) - 1, h.compare()
}

// start starts the daemon, and returns when it answers.
func (h *host) start() error {
	h.h.StartDaemon("--docker-plugin="+h.socket(), "--docker-host=")
	return within(soon, func() error {
		_, err := h.truth.Client.Info(ctx)
		return err
	})
}

// within waits until something is so.
func within(d time.Duration, so func() error) error {
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		if err := so(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// do does an operation with the daemon.
func (h *host) do(o op) (err error) {
	c := h.truth.Client
	spec := catenet.EndpointSpec{Network: o.network, IPv4: o.addr, Aliases: aliases(o)}
	sb := h.model.sandboxes[o.name]
	parked := sb != nil && sb.owner == catenet.OwnerDocker
	if parked { // by its runtime
		spec.ID = catenet.NewID()
	}
	switch o.verb {
	case "network create":
		_, _, err = c.CreateNetwork(ctx, catenet.NetworkSpec{Name: o.network, Internal: o.internal, Pools: []catenet.Pool{{Subnet: o.subnet}}})
	case "network rm":
		_, err = c.RemoveNetwork(ctx, o.network)
	case "network prune":
		_, err = c.PruneNetworks(ctx, catenet.Filter{})
	case "attach", "run", "park":
		if err = h.create(o); err == nil {
			err = h.furnish(o.name)
		}
	case "connect":
		if _, err = c.Connect(ctx, o.network, o.name, spec); err == nil {
			err = h.furnish(o.name)
		}
	case "claim":
		err = h.plugin.Claim(o.subnet)
	case "release":
		_, err = h.plugin.Call("IpamDriver.ReleasePool", lab.Ask{"PoolID": o.subnet})
	case "lease":
		_, err = h.plugin.Address(o.subnet, o.addr)
	case "give back":
		err = h.plugin.NoAddress(o.subnet, o.addr)
	case "arrive":
		err = h.arrive(o.place)
	case "depart":
		err = h.depart(o.place)
	case "disconnect":
		err = c.Disconnect(ctx, o.network, o.name, parked)
	case "rm":
		err = c.Remove(ctx, o.name, o.force)
	case "publish", "unpublish":
		err = h.publish(o)
	case "start":
		err = c.Start(ctx, o.name)
	case "stop":
		err = c.Stop(ctx, o.name, 0)
	case "kill program":
		err = h.killProgram(o.name)
	case "kill owner":
		err = h.killOwner(o.place)
	case "kill daemon":
		h.h.Kill()
		err = h.start()
	case "upgrade":
		err = h.upgrade()
	}
	return err
}

// upgrade has another program take the daemon's place.
func (h *host) upgrade() error {
	before := strings.Count(h.h.Log(), "catenetd serves")
	h.h.Upgrade()
	return within(soon, func() error {
		if strings.Count(h.h.Log(), "catenetd serves") == before {
			return errors.New("no other program has taken its place")
		}
		return nil
	})
}

// publish publishes a port in place of those that the container has, or closes
// one.
func (h *host) publish(o op) error {
	sb, err := h.truth.Client.Sandbox(ctx, o.name)
	if err != nil {
		return err
	}
	spec := []catenet.PortSpec{{Proto: catenet.TCP, HostPort: o.port, HostPortEnd: o.port, Port: o.port}}
	up := catenet.SandboxUpdate{Unpublish: spec}
	if o.verb == "publish" {
		up = catenet.SandboxUpdate{Unpublish: sb.Ports, Publish: spec}
	}
	_, err = h.truth.Client.UpdateSandbox(ctx, o.name, up)
	return err
}

func aliases(o op) []string {
	if o.alias == "" {
		return nil
	}
	return []string{o.alias}
}

func (h *host) create(o op) error {
	spec := catenet.SandboxSpec{Name: o.name, Owner: o.owner()}
	switch kind, number, _ := strings.Cut(o.place, " "); kind {
	case "netns":
		spec.Netns = "/run/netns/" + h.lab.Name("n"+number)
	case "process":
		spec.PID = h.owner(o.place)
	case "late":
		spec.Netns, spec.Parked, spec.PortsHeld = h.late(o.place), true, o.internal
	default:
		spec.Process = &catenet.Process{Args: []string{"sleep", "600"}}
	}
	for i, n := range o.networks {
		e := catenet.EndpointSpec{Network: n, Aliases: aliases(o)}
		if i == 0 {
			e.IPv4 = o.addr
		}
		spec.Networks = append(spec.Networks, e)
	}
	if o.port != 0 {
		spec.Ports = []catenet.PortSpec{{Proto: catenet.TCP, HostPort: o.port, HostPortEnd: o.port, Port: o.port}}
	}
	_, err := h.truth.Client.CreateSandbox(ctx, spec, true)
	return err
}

// owner is a process with a namespace of its own; it lives until it is killed.
func (h *host) owner(place string) int {
	if h.owners[place] == nil {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		cmd.Env = append(os.Environ(), "CATENET_LAB="+h.lab.Dir)
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
		h.owners[place] = cmd
	}
	return h.owners[place].Process.Pid
}

// end ends a process and its namespace.
func (h *host) end(place string) {
	if cmd := h.owners[place]; cmd != nil {
		delete(h.owners, place)
		if err := cmd.Process.Kill(); err != nil {
			h.t.Error(err)
		}
		cmd.Wait() // killed
	}
}

// killOwner ends a process, and waits until the daemon has noticed.
func (h *host) killOwner(place string) error {
	cmd := h.owners[place]
	if cmd == nil {
		return nil
	}
	h.end(place)
	return within(h.patience, func() error {
		all, err := h.truth.Client.Sandboxes(ctx, true)
		for _, sb := range all {
			if sb.PID == cmd.Process.Pid {
				err = errors.Join(err, fmt.Errorf("%s is there, and its process is gone", sb.Name))
			}
		}
		return err
	})
}

// killProgram ends a container's program, and waits until the daemon has
// noticed.
func (h *host) killProgram(name string) error {
	sb, err := h.truth.Client.Sandbox(ctx, name)
	if err != nil {
		return err
	}
	if sb.Owner != catenet.OwnerRun {
		return catenet.Invalidf("%s runs no program", name)
	}
	if sb.State != catenet.StateRunning {
		return nil
	}
	if err := syscall.Kill(sb.InitPID, syscall.SIGKILL); err != nil {
		return err
	}
	return within(h.patience, func() error {
		sb, err := h.truth.Client.Sandbox(ctx, name)
		if err == nil && sb.State == catenet.StateRunning {
			err = fmt.Errorf("%s runs, and its program is gone", name)
		}
		return err
	})
}

// compare wants the daemon to have what the model has, and the host to show
// just that.
func (h *host) compare() error {
	return within(h.patience, func() error {
		got, err := h.word()
		if err != nil {
			return err
		}
		if want := h.model.String(); got != want {
			return fmt.Errorf("the daemon has\n%s\nand the model\n%s", got, want)
		}
		diff, err := h.truth.Differences(ctx)
		if err == nil && len(diff) > 0 {
			err = fmt.Errorf("the daemon says -, the host has +:\n%s", strings.Join(diff, "\n"))
		}
		return err
	})
}

// word is what the daemon has, written as the model is.
func (h *host) word() (string, error) {
	ns, err := h.truth.Client.Networks(ctx)
	if err != nil {
		return "", err
	}
	sbs, err := h.truth.Client.Sandboxes(ctx, true)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, n := range ns {
		n, err := h.truth.Client.Network(ctx, n.ID)
		if err != nil {
			return "", err
		}
		for _, o := range n.Owners {
			if o.Owner == "lease" {
				lines = append(lines, fmt.Sprintf("lease %s", o.Address))
			}
		}
		if !n.Predefined {
			lines = append(lines, fmt.Sprintf("network %s %s internal=%v", n.Name, n.Pools[0].Subnet, n.Internal))
		}
	}
	for _, sb := range sbs {
		var in []string
		for _, s := range sb.Networks {
			in = append(in, s.Network)
		}
		port := uint16(0)
		for _, b := range sb.Bindings {
			port = b.HostPort
		}
		lines = append(lines, line(sb.Name, sb.Owner, sb.State == catenet.StateRunning, in, port))
		if sb.State == catenet.StateRunning && len(sb.Endpoints) != len(sb.Networks) {
			lines = append(lines, fmt.Sprintf("%s has %d endpoints", sb.Name, len(sb.Endpoints)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}
