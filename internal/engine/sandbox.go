package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/names"
	"github.com/catenet/catenet/internal/store"
)

// CreateSandbox makes a sandbox of a program to run (OwnerRun), which is started if
// start is set, or of a namespace that exists (all other owners).
func (e *Engine) CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (catenet.SandboxStatus, error) {
	id := catenet.NewID()
	spec.Name = cmp.Or(spec.Name, catenet.ShortID(id))
	spec.Networks = slices.Clone(spec.Networks) // names are filled in
	if err := e.validateSandbox(&spec); err != nil {
		return catenet.SandboxStatus{}, err
	}
	spec.Hostname = cmp.Or(spec.Hostname, catenet.ShortID(id))
	r := &record{SandboxStatus: catenet.SandboxStatus{Sandbox: catenet.Sandbox{
		ID: id, SandboxSpec: spec, State: catenet.StateCreated, Created: time.Now(),
	}}}
	if spec.Owner == catenet.OwnerRun {
		return e.createContainer(ctx, r, start)
	}
	return e.attach(ctx, r)
}

// validateSandbox checks a spec before anything is touched, and fills in the
// default network.
func (e *Engine) validateSandbox(spec *catenet.SandboxSpec) error {
	if err := catenet.ValidateName("container", spec.Name); err != nil {
		return err
	}
	if err := validateOwner(spec); err != nil {
		return err
	}
	if err := validateMode(spec); err != nil {
		return err
	}
	for _, p := range append(append([]catenet.PortSpec(nil), spec.Ports...), spec.Expose...) {
		if err := p.Validate(); err != nil {
			return err
		}
	}
	if _, err := names.ExtraHosts(spec.ExtraHosts); err != nil {
		return err
	}
	if err := names.ValidateDNS(spec.DNS); err != nil {
		return err
	}
	if spec.Hostname != "" {
		if err := catenet.ValidateHostname(spec.Hostname); err != nil {
			return err
		}
	}
	for _, s := range spec.Networks {
		if err := checkEndpoint(s); err != nil {
			return err
		}
	}
	return nil
}

func validateOwner(spec *catenet.SandboxSpec) error {
	switch {
	case !slices.Contains(catenet.Owners, spec.Owner):
		return catenet.Invalidf("unknown owner %q", spec.Owner).WithHint("owners: %s", catenet.Owners)
	case spec.Owner != catenet.OwnerRun:
		if (spec.PID != 0) == (spec.Netns != "") {
			return catenet.Invalidf("an attach names exactly one of a process and a namespace").WithHint("give --pid PID or --netns PATH")
		}
		if spec.PID < 0 {
			return catenet.Invalidf("%d is no process ID", spec.PID)
		}
		if spec.Netns != "" && !filepath.IsAbs(spec.Netns) {
			return catenet.Invalidf("the namespace's path %q is not absolute", spec.Netns).WithHint("give the whole path, like /run/netns/NAME")
		}
		if spec.Parked && spec.Netns == "" {
			return catenet.Invalidf("a namespace that others furnish is named by its path").WithHint("give netns in place of pid")
		}
		if spec.Rootfs != "" && (spec.PID == 0 || !filepath.IsAbs(spec.Rootfs)) {
			return catenet.Invalidf("the rootfs %q is not an absolute path of a process's", spec.Rootfs).WithHint("give --pid PID, and the root as that process sees it: / once its container runs")
		}
		if spec.Process != nil {
			return catenet.Invalidf("an attached namespace runs no program of ours")
		}
		if spec.Mode != "" {
			return catenet.Invalidf("an attached namespace cannot be in mode %q", spec.Mode).WithHint("name networks instead")
		}
	default:
		if spec.Process == nil || len(spec.Process.Args) == 0 || spec.Process.Args[0] == "" {
			return catenet.Invalidf("there is no command to run").WithHint("catenet run [flags] -- COMMAND [ARG…]")
		}
		if r := spec.Process.Rootfs; r != "" && !filepath.IsAbs(r) {
			return catenet.Invalidf("the rootfs %q is not an absolute path", r)
		}
		if spec.PID != 0 || spec.Netns != "" || spec.Rootfs != "" {
			return catenet.Invalidf("a container that runs gets a namespace of its own").WithHint("catenet attach joins one that exists")
		}
		if spec.Parked {
			return catenet.Invalidf("nobody else furnishes a container of our own")
		}
		if spec.PortsHeld {
			return catenet.Invalidf("nobody else holds the ports of a container of our own")
		}
	}
	return validateRuntimeID(spec.Owner, spec.RuntimeID)
}

func validateRuntimeID(owner catenet.Owner, id string) error {
	switch {
	case id == "":
		return nil
	case owner == catenet.OwnerRun:
		return catenet.Invalidf("a container of our own has no other runtime, and no ID there")
	}
	return catenet.ValidateRef("runtime's ID of the container", id)
}

func validateMode(spec *catenet.SandboxSpec) error {
	target, container := strings.CutPrefix(spec.Mode, catenet.ModeContainer)
	switch {
	case spec.Mode == "":
		if len(spec.Networks) == 0 {
			spec.Networks = []catenet.EndpointSpec{{Network: catenet.NetworkBridge}}
		}
		for _, n := range spec.Networks {
			if n.Network == catenet.NetworkHost || n.Network == catenet.NetworkNone {
				return catenet.Invalidf("network %s cannot be joined beside others", n.Network).WithHint("it is a mode: --network %s alone", n.Network)
			}
		}
		return nil
	case len(spec.Networks) > 0:
		return catenet.Invalidf("mode %q and networks exclude each other", spec.Mode)
	case container && target == "":
		return catenet.Invalidf("mode %q names no container", spec.Mode).WithHint("write container:NAME")
	case !container && spec.Mode != catenet.ModeHost && spec.Mode != catenet.ModeNone:
		return catenet.Invalidf("unknown mode %q", spec.Mode).WithHint("modes: host, none, container:NAME")
	case len(spec.Ports) > 0 || spec.PublishAll:
		return catenet.Invalidf("no ports can be published of a container in mode %q", spec.Mode).
			WithHint("in mode host they are the host's already; with container:NAME publish them of that container")
	case container && len(spec.ExtraHosts)+len(spec.DNS.Servers)+len(spec.DNS.Search)+len(spec.DNS.Options) > 0:
		return catenet.Invalidf("a container in mode %q has that one's /etc/hosts and /etc/resolv.conf", spec.Mode).
			WithHint("leave --add-host, --dns, --dns-search and --dns-option out, or give them to that container")
	case container && spec.Hostname != "":
		return catenet.Invalidf("a container in mode %q has that one's hostname", spec.Mode).WithHint("leave --hostname out, or give it to that container")
	case spec.Mode == catenet.ModeHost && spec.Hostname != "":
		return catenet.Invalidf("a container in mode host has the host's name").WithHint("leave --hostname out")
	case spec.Mode == catenet.ModeNone && slices.ContainsFunc(spec.ExtraHosts, func(h catenet.HostEntry) bool { return h.Addr == catenet.HostGateway }):
		return catenet.Invalidf("a container in mode none has no way to the host: there is no gateway for --add-host").
			WithHint("give an address in place of %s", catenet.HostGateway)
	}
	return nil
}

// attach joins a namespace that somebody else made to its networks.
func (e *Engine) attach(ctx context.Context, next *record) (st catenet.SandboxStatus, err error) {
	sb, err := e.claim(next.ID, next.Name)
	if err != nil {
		return st, err
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	var u undo
	defer u.unless(&err)
	u.add(func() { e.forget(sb) })
	if err = e.locate(ctx, sb, next, &u); err != nil {
		return st, err
	}
	next.State, next.Started = catenet.StateRunning, next.Created
	if err = e.aimLinks(sb, next.Networks); err != nil {
		return st, err
	}
	defer e.locked(func() { sb.aims = nil })
	if err = e.checkLinks(next.Name, next.Networks); err != nil {
		return st, err
	}
	if err = e.plan(nil, next, next.Networks, &u); err != nil {
		return st, err
	}
	for i, ep := range next.Endpoints {
		next.Networks[i].Network = ep.Spec.Network // its name, whatever was given
	}
	if err = e.transition(ctx, sb, nil, next); err != nil {
		return st, err
	}
	e.watch(sb, next)
	e.tellJoined(nil, next)
	e.tell("sandbox", "start", next.ID, "name", next.Name, "owner", string(next.Owner))
	return next.status(), nil
}

// locate finds the namespace of an attach and gives a nameless one a place.
func (e *Engine) locate(ctx context.Context, sb *sandbox, r *record, u *undo) error {
	if r.Parked {
		return e.expect(r)
	}
	path := r.Netns
	if r.PID != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", r.PID)
	}
	ns, err := e.o.Namespaces.Open(path)
	if err != nil {
		if r.PID != 0 && catenet.IsNotFound(err) {
			return catenet.NotFoundf("there is no process %d", r.PID)
		}
		return err
	}
	defer ns.Close()
	if err := e.strange(sb, ns); err != nil {
		return err
	}
	if r.Target, err = e.o.Namespaces.Target(path, ns.Inode); err != nil {
		return err
	}
	r.InitPID = r.Target.PID
	// A new namespace may have the inode number of one that died before its
	// links were buried; those links die with it.
	if r.Target.PID == 0 {
		r.NetnsPath = path
		return nil
	}
	r.Pin = e.netnsPath(r.ID)
	r.NetnsPath = r.Pin
	if err := e.o.Namespaces.Pin(ctx, path, r.Pin); err != nil {
		return fmt.Errorf("pin namespace of process %d: %w", r.Target.PID, err)
	}
	u.add(func() { e.report("unpin namespace", r.Name, e.o.Namespaces.Unpin(context.WithoutCancel(ctx), r.Pin)) })
	return nil
}

// strange checks that a namespace is neither the host's own nor attached
// already, and claims it for sb.
func (e *Engine) strange(sb *sandbox, ns *kernel.Namespace) error {
	host, err := e.o.Namespaces.Host()
	if err != nil {
		return err
	}
	if ns.Inode == host {
		return catenet.Invalidf("%s is the host's own network namespace", ns.Path).
			WithHint("attach wants the namespace of a container; for the host's network use --network host")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, other := range e.sandboxes {
		inode := other.inode // also of an attach that is under way
		if r := other.now; r != nil && r.State == catenet.StateRunning && r.networked() {
			inode = r.Target.Inode
		}
		if inode == ns.Inode {
			return catenet.Conflictf("%s is attached already, as %s", ns.Path, other.name).
				WithHint("catenet network connect NETWORK %s joins it to one more network", other.name)
		}
	}
	sb.inode = ns.Inode
	return nil
}

// Remove removes a sandbox: detaches an attached one, deletes a container.
func (e *Engine) Remove(ctx context.Context, ref string, force bool) error {
	r, err := e.record(ref)
	if err != nil {
		return err
	}
	for {
		sb, now, err := e.lockSandbox(r.ID)
		if catenet.IsNotFound(err) {
			return nil // it removed itself on its end
		}
		if err != nil {
			return err
		}
		if now.Owner != catenet.OwnerRun || now.State != catenet.StateRunning {
			defer sb.op.Unlock()
			return e.remove(context.WithoutCancel(ctx), sb, now)
		}
		sb.op.Unlock()
		if !force {
			return catenet.Conflictf("container %s is running", r.Name).WithHint("catenet stop %s first, or catenet rm -f %s", r.Name, r.Name)
		}
		// Somebody may start it again before we have it: once more, then.
		if err := e.Stop(ctx, r.ID, 0); err != nil && !catenet.IsNotFound(err) {
			return err
		}
	}
}

// remove removes what is left of a sandbox that does not run, or was attached.
// sb.op is held.
func (e *Engine) remove(ctx context.Context, sb *sandbox, now *record) error {
	if now.Owner == catenet.OwnerRun {
		return e.deleteContainer(sb, now)
	}
	if err := e.vacate(ctx, now); err != nil {
		return err // still attached, and nothing else was touched
	}
	return e.detach(ctx, sb, now)
}

// detach forgets an attached sandbox whose namespace has nothing of ours but
// links. sb.op is held.
func (e *Engine) detach(ctx context.Context, sb *sandbox, now *record) error {
	err := e.dissolve(ctx, sb, now)
	e.tellLeft(now, nil)
	e.forget(sb)
	e.tell("sandbox", "detach", now.ID, "name", now.Name, "owner", string(now.Owner))
	return err
}

// vacate takes out of an attached namespace what would outlive our links in it.
// It comes before anything else: a daemon that dies here is still attached.
func (e *Engine) vacate(ctx context.Context, now *record) error {
	ns, err := e.open(now)
	if catenet.IsNotFound(err) {
		return nil // it went, and took everything along
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	if ns == nil {
		return nil
	}
	return errors.Join(e.unredirect(ctx, ns), e.part(ctx, ns, now.Endpoints), e.liftFiles(ctx, now))
}

// dissolve takes everything from a running sandbox: its record first, then
// names, ports and addresses at once, links behind. What fails is left to the
// next start, and told. sb.op is held.
func (e *Engine) dissolve(ctx context.Context, sb *sandbox, now *record) error {
	if sb.unwatch != nil {
		sb.unwatch()
	}
	// Links first: nobody writes its hosts any more. Then what is known by the
	// record alone: files in /etc/netns, and links that the host has no end of.
	errs := []error{e.relink(ctx, sb, nil), e.removeFiles(now), e.partFrom(ctx, now, now.Endpoints)}
	cursors := e.cursors(now.Endpoints)
	errs = append(errs, e.o.Store.Update(store.Live, func(tx *store.Tx) error {
		return errors.Join(tx.Delete(kindSandbox, sb.id), putCursors(tx, cursors))
	}))
	e.unname(sb, now)
	if len(now.Bindings) > 0 {
		errs = append(errs, e.switchPorts(ctx, nil, nil, now, now.Bindings))
		e.unhold(sb, now.Bindings, nil)
	}
	e.locked(func() {
		for _, ep := range now.Endpoints {
			e.release(ep, now)
		}
	})
	e.reaper.bury(now.Target.Inode, now.Endpoints)
	if now.Pin != "" {
		errs = append(errs, e.o.Namespaces.Unpin(ctx, now.Pin))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take down %s: %w", now.Name, err)
	}
	return nil
}

// tellJoined and tellLeft tell of endpoints that came and went.
func (e *Engine) tellJoined(now, next *record) {
	for _, ep := range endpointsBut(next, now) {
		e.tell("network", "connect", ep.NetworkID, e.joining(ep, next)...)
	}
}

func (e *Engine) tellLeft(now, next *record) {
	for _, ep := range endpointsBut(now, next) {
		e.tell("network", "disconnect", ep.NetworkID, e.joining(ep, now)...)
	}
}

// joining are the attributes of an event of one endpoint's.
func (e *Engine) joining(ep catenet.Endpoint, r *record) []string {
	kind := ""
	e.locked(func() {
		if n := e.networks[ep.NetworkID]; n != nil {
			kind = n.Driver
		}
	})
	return []string{"name", ep.Spec.Network, "type", kind, "container", r.ID, "container_name", r.Name}
}

// claim makes a sandbox known under its name, which is taken from then on.
func (e *Engine) claim(id, name string) (*sandbox, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.unclaimed(name); err != nil {
		return nil, err
	}
	sb := &sandbox{id: id, name: name, held: make(map[portKey]kernel.Held), ended: make(chan struct{})}
	e.sandboxes[id] = sb
	return sb, nil
}

// unclaimed returns an error if a name is taken. e.mu is held.
func (e *Engine) unclaimed(name string) error {
	for _, other := range e.sandboxes {
		if other.name == name || other.coming == name {
			return catenet.Conflictf("the name %q is taken by container %s", name, catenet.ShortID(other.id)).
				WithHint("choose another name, or remove that one: catenet rm %s", other.name)
		}
	}
	return nil
}

// forget is the opposite of claim.
func (e *Engine) forget(sb *sandbox) {
	e.locked(func() {
		sb.now = nil
		delete(e.sandboxes, sb.id)
	})
}
