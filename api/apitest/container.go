package apitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/catenet/catenet"
)

// container is a sandbox and its process.
type container struct {
	status catenet.SandboxStatus // guarded by Engine.mu
	cmd    *exec.Cmd             // likewise; nil before the first start
	done   chan struct{}         // closed at the end of its latest run
	log    logbook
}

func (c *container) kill() {
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// CreateSandbox implements server.Engine.
func (e *Engine) CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &container{done: make(chan struct{})}
	c.status.SandboxSpec = spec
	c.status.Created, c.status.State = Now, catenet.StateCreated
	c.status.ID = id("sandbox", fmt.Sprint(spec.Name, len(e.order)))
	if spec.Name == "" {
		c.status.Name = "c" + c.status.ID[:11]
	}
	if o, err := e.sandbox(c.status.Name); err == nil {
		return catenet.SandboxStatus{}, catenet.Conflictf("the name %q is taken by container %s", o.status.Name, catenet.ShortID(o.status.ID)).
			WithHint("choose another name, or remove that one: catenet rm %s", o.status.Name)
	}
	if to, ok := strings.CutPrefix(spec.Mode, catenet.ModeContainer); ok {
		o, err := e.sandbox(to)
		if err != nil {
			return catenet.SandboxStatus{}, err
		}
		c.status.Mode = catenet.ModeContainer + o.status.ID
	}
	for _, es := range spec.Networks {
		if err := e.join(c, es); err != nil {
			return catenet.SandboxStatus{}, err
		}
	}
	ports := spec.Ports
	if spec.PublishAll {
		ports = append(slices.Clone(ports), spec.Expose...)
	}
	e.publish(c, ports)
	if spec.Owner != catenet.OwnerRun {
		c.status.State, c.status.Started, c.status.InitPID = catenet.StateRunning, Now, spec.PID
	} else if start {
		if err := e.start(c); err != nil {
			return catenet.SandboxStatus{}, err
		}
	}
	e.sandboxes[c.status.ID] = c
	e.order = append(e.order, c.status.ID)
	e.tell("sandbox", "create", c.status.ID, map[string]string{"name": c.status.Name})
	for _, ep := range c.status.Endpoints {
		e.told(c, ep, "connect")
	}
	return c.status, nil
}

func (e *Engine) told(c *container, ep catenet.Endpoint, action string) {
	e.tell("network", action, ep.NetworkID, map[string]string{"name": ep.Spec.Network, "type": e.networks[ep.NetworkID].Driver, "container": c.status.ID, "container_name": c.status.Name})
}

// join gives the container an endpoint with the next address.
func (e *Engine) join(c *container, spec catenet.EndpointSpec) error {
	n, err := e.network(spec.Network)
	if err != nil {
		return err
	}
	spec.Network = n.Name
	if slices.ContainsFunc(c.status.Endpoints, func(ep catenet.Endpoint) bool { return ep.NetworkID == n.ID }) {
		return catenet.Conflictf("container %s is in network %s already", c.status.Name, n.Name).
			WithHint("catenet network disconnect %s %s first", n.Name, c.status.Name)
	}
	ep := catenet.Endpoint{ID: id("endpoint", n.Name+c.status.ID), NetworkID: n.ID, SandboxID: c.status.ID, Spec: spec, MAC: spec.MAC, Created: Now,
		Interface: fmt.Sprintf("eth%d", len(c.status.Endpoints))}
	if spec.Interface != "" {
		ep.Interface = spec.Interface
	}
	for _, p := range n.Pools {
		a, want := p.Gateway, spec.IPv4
		if p.Subnet.Addr().Is6() {
			want = spec.IPv6
		}
		for range len(e.status(n).Endpoints) + 1 {
			a = a.Next()
		}
		if want.IsValid() {
			a = want
			if !p.Subnet.Contains(a) {
				return catenet.Invalidf("address %s is in no subnet of network %s", a, n.Name)
			}
		}
		if a.Is4() {
			ep.IPv4, ep.Gateway4 = netip.PrefixFrom(a, p.Subnet.Bits()), p.Gateway
		} else {
			ep.IPv6, ep.Gateway6 = netip.PrefixFrom(a, p.Subnet.Bits()), p.Gateway
		}
	}
	if ep.MAC == "" && ep.IPv4.IsValid() {
		b := ep.IPv4.Addr().As4()
		ep.MAC = fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
	}
	c.status.Endpoints = append(c.status.Endpoints, ep)
	e.route(c)
	return nil
}

// route says through which endpoints the default routes go: of the highest
// priority, then of the network whose name sorts first, never an internal one.
func (e *Engine) route(c *container) {
	eps := slices.Clone(c.status.Endpoints) // somebody may be reading the earlier ones
	ranked := make([]*catenet.Endpoint, len(eps))
	for i := range eps {
		ranked[i] = &eps[i]
		eps[i].DefaultRoute4, eps[i].DefaultRoute6 = false, false
	}
	slices.SortStableFunc(ranked, func(a, b *catenet.Endpoint) int {
		return cmp.Or(b.Spec.GwPriority-a.Spec.GwPriority, strings.Compare(a.Spec.Network, b.Spec.Network))
	})
	has4, has6 := false, false
	for _, ep := range ranked {
		if e.networks[ep.NetworkID].Internal {
			continue
		}
		ep.DefaultRoute4, ep.DefaultRoute6 = ep.Gateway4.IsValid() && !has4, ep.Gateway6.IsValid() && !has6
		has4, has6 = has4 || ep.DefaultRoute4, has6 || ep.DefaultRoute6
	}
	c.status.Endpoints = eps
}

func (e *Engine) publish(c *container, specs []catenet.PortSpec) {
	for _, p := range specs {
		if p.HostPort == 0 {
			p.HostPort = e.nextPort
			e.nextPort++
		}
		ips := []netip.Addr{p.HostIP}
		if !p.HostIP.IsValid() {
			ips = c.anywhere()
		}
		for _, ip := range ips {
			c.status.Bindings = append(c.status.Bindings, catenet.PortBinding{Proto: p.Proto, HostIP: ip, HostPort: p.HostPort, Port: p.Port, SandboxID: c.status.ID})
		}
	}
}

// anywhere is all addresses of the host, in the families of the container.
func (c *container) anywhere() (ips []netip.Addr) {
	eps := c.status.Endpoints
	if slices.ContainsFunc(eps, func(ep catenet.Endpoint) bool { return ep.IPv4.IsValid() }) {
		ips = append(ips, netip.IPv4Unspecified())
	}
	if slices.ContainsFunc(eps, func(ep catenet.Endpoint) bool { return ep.IPv6.IsValid() }) {
		ips = append(ips, netip.IPv6Unspecified())
	}
	return ips
}

// start runs the container's program as a process of the host. The caller
// holds e.mu.
func (e *Engine) start(c *container) error {
	p := c.status.Process
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Dir = p.Dir
	cmd.Stdout, cmd.Stderr = c.log.writer(catenet.Stdout), c.log.writer(catenet.Stderr)
	if err := cmd.Start(); err != nil {
		return catenet.Invalidf("start container: command not found in the container: %s", p.Args[0]).
			WithHint("the path is that inside the container")
	}
	if c.cmd != nil { // not the first run
		c.done = make(chan struct{})
		c.log.begin()
	}
	c.cmd = cmd
	c.status.State, c.status.Started, c.status.InitPID = catenet.StateRunning, Now, cmd.Process.Pid
	go e.reap(c, cmd, c.done)
	return nil
}

func (e *Engine) reap(c *container, cmd *exec.Cmd, done chan struct{}) {
	defer close(done)
	_ = cmd.Wait() // the state below says how it ended
	code := cmd.ProcessState.ExitCode()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	c.log.end()
	e.mu.Lock()
	defer e.mu.Unlock()
	c.status.State, c.status.ExitCode, c.status.Finished, c.status.InitPID = catenet.StateExited, code, Now, 0
	e.tell("sandbox", "die", c.status.ID, map[string]string{"name": c.status.Name, "exitCode": fmt.Sprint(code)})
	if c.status.Process.AutoRemove {
		e.forget(c)
	}
}

func (e *Engine) forget(c *container) {
	delete(e.sandboxes, c.status.ID)
	e.order = slices.DeleteFunc(e.order, func(id string) bool { return id == c.status.ID })
}

// Connect implements server.Engine.
func (e *Engine) Connect(_ context.Context, network, sandbox string, spec catenet.EndpointSpec) (catenet.Endpoint, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(sandbox)
	if err != nil {
		return catenet.Endpoint{}, err
	}
	spec.Network = network
	if err := e.join(c, spec); err != nil {
		return catenet.Endpoint{}, err
	}
	ep := c.status.Endpoints[len(c.status.Endpoints)-1]
	e.told(c, ep, "connect")
	return ep, nil
}

// Disconnect implements server.Engine.
func (e *Engine) Disconnect(_ context.Context, network, sandbox string, force bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(sandbox)
	if err != nil {
		if force && catenet.IsNotFound(err) {
			return nil
		}
		return err
	}
	n, err := e.network(network)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.status.Endpoints, func(ep catenet.Endpoint) bool { return ep.NetworkID == n.ID })
	if i < 0 {
		if force {
			return nil
		}
		return catenet.NotFoundf("container %s is not in network %s", c.status.Name, n.Name)
	}
	e.told(c, c.status.Endpoints[i], "disconnect")
	c.status.Endpoints = slices.Concat(c.status.Endpoints[:i], c.status.Endpoints[i+1:])
	e.route(c)
	return nil
}

// Leave implements server.Engine.
func (e *Engine) Leave(_ context.Context, sandbox string, endpoints []string, ports []catenet.PortSpec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(sandbox)
	if err != nil {
		return nil //nolint:nilerr // as asked
	}
	c.status.Endpoints = slices.DeleteFunc(c.status.Endpoints, func(ep catenet.Endpoint) bool { return slices.Contains(endpoints, ep.ID) })
	c.status.Ports = slices.DeleteFunc(c.status.Ports, func(p catenet.PortSpec) bool { return slices.Contains(ports, p) })
	if len(c.status.Endpoints) == 0 && c.status.Owner != catenet.OwnerRun {
		e.forget(c)
		return nil
	}
	e.route(c)
	return nil
}

// Sandboxes implements server.Engine.
func (e *Engine) Sandboxes(_ context.Context, all bool) (out []catenet.SandboxStatus, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range slices.Backward(e.order) {
		if c := e.sandboxes[id]; all || c.status.State == catenet.StateRunning {
			out = append(out, c.status)
		}
	}
	return out, nil
}

// Sandbox implements server.Engine.
func (e *Engine) Sandbox(_ context.Context, ref string) (catenet.SandboxStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(ref)
	if err != nil {
		return catenet.SandboxStatus{}, err
	}
	return c.status, nil
}

// Start implements server.Engine.
func (e *Engine) Start(_ context.Context, ref string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(ref)
	if err != nil {
		return err
	}
	if c.status.Owner != catenet.OwnerRun {
		return catenet.Invalidf("%s is an attached namespace: catenet does not start it", c.status.Name)
	}
	if c.status.State == catenet.StateRunning {
		return nil
	}
	return e.start(c)
}

// Stop implements server.Engine.
func (e *Engine) Stop(_ context.Context, ref string, grace time.Duration) error {
	e.mu.Lock()
	c, err := e.sandbox(ref)
	if err != nil || c.cmd == nil {
		e.mu.Unlock()
		return err
	}
	done := c.done
	e.mu.Unlock()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-done:
	case <-time.After(grace):
		c.kill()
	}
	return nil
}

// Remove implements server.Engine.
func (e *Engine) Remove(_ context.Context, ref string, force bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.sandbox(ref)
	if err != nil {
		return err
	}
	if c.status.Owner == catenet.OwnerRun && c.status.State == catenet.StateRunning {
		if !force {
			return catenet.Conflictf("container %s is running", c.status.Name).WithHint("catenet stop %s first, or catenet rm -f %s", c.status.Name, c.status.Name)
		}
		e.mu.Unlock()
		c.kill()
		e.mu.Lock()
	}
	e.forget(c)
	e.tell("sandbox", "destroy", c.status.ID, map[string]string{"name": c.status.Name})
	return nil
}

// Wait implements server.Engine.
func (e *Engine) Wait(ctx context.Context, ref string, found func()) (int, error) {
	e.mu.Lock()
	c, err := e.sandbox(ref)
	if err != nil {
		e.mu.Unlock()
		return 0, err
	}
	done := c.done
	e.mu.Unlock()
	found()
	select {
	case <-done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.status.ExitCode, nil
}

// Exec implements server.Engine.
func (e *Engine) Exec(ctx context.Context, ref string, spec catenet.ExecSpec, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	cmd := exec.CommandContext(ctx, spec.Args[0], spec.Args[1:]...)
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	in, err := cmd.StdinPipe() // not cmd.Stdin: Wait would wait for its end
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, catenet.Invalidf("cannot run %s: %v", spec.Args[0], err)
	}
	go func() {
		defer in.Close()
		_, _ = io.Copy(in, stdin)
	}()
	err = cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), err
}

// Logs implements server.Engine.
func (e *Engine) Logs(ctx context.Context, ref string, o catenet.LogOptions, found func(), emit func(string, time.Time, []byte) error) error {
	e.mu.Lock()
	c, err := e.sandbox(ref)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	found()
	return c.log.read(ctx, o, emit)
}
