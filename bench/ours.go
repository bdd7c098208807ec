package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// ours is catenet on a host of its own: the real daemon, driven through its
// API as the CLI does.
type ours struct {
	b      *Bench
	host   string // path of its namespace
	socket string // path of its socket
	*client.Client
}

// network is the name of the network that all of ours join.
const network = "bench"

// startOurs starts a daemon, with more flags if given, and makes the network.
func startOurs(ctx context.Context, b *Bench, flags ...string) (*ours, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	return startOursAt(ctx, b, host, flags...)
}

// startOursAt is startOurs on a host that there is.
func startOursAt(ctx context.Context, b *Bench, host string, flags ...string) (*ours, error) {
	state, err := b.Folder("state")
	if err != nil {
		return nil, err
	}
	run, err := b.RunFolder("run")
	if err != nil {
		return nil, err
	}
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	daemon := []string{filepath.Join(bin, "catenetd"), "--run-dir", run, "--state-dir", state}
	// After the daemon's end.
	b.close = append(b.close, func() error {
		_, err := b.tool(context.Background(), host, append(slices.Clone(daemon), "--purge")...)
		return err
	})
	if err := b.daemon(host, append(slices.Clone(daemon), flags...)...); err != nil {
		return nil, err
	}
	o := &ours{b: b, host: host, socket: filepath.Join(run, "catenet.sock")}
	if o.Client, err = client.New("unix://" + o.socket); err != nil {
		return nil, err
	}
	err = until(ctx, "catenetd", func() bool { _, err := o.Info(ctx); return err == nil })
	if err != nil {
		return nil, err
	}
	_, _, err = o.CreateNetwork(ctx, catenet.NetworkSpec{Name: network})
	return o, err
}

// programs finds the folder of the built programs: beside this one, else
// ./bin.
func programs() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{os.Getenv("CATENET_BIN"), filepath.Dir(self), "bin"} {
		if dir, err = filepath.Abs(dir); err != nil {
			return "", err
		}
		if _, err := os.Stat(filepath.Join(dir, "catenetd")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("catenetd is not built: make build")
}

// attach joins the namespace at path to the network, with n ports published
// from first on.
func (o *ours) attach(ctx context.Context, name, path string, first, n int) error {
	spec := catenet.SandboxSpec{
		Name: name, Owner: catenet.OwnerAttach, Netns: path,
		Networks: []catenet.EndpointSpec{{Network: network}},
	}
	for p := first; p < first+n; p++ {
		spec.Ports = append(spec.Ports, catenet.PortSpec{
			Proto: catenet.TCP, HostPort: uint16(p), HostPortEnd: uint16(p), Port: uint16(p),
		})
	}
	_, err := o.CreateSandbox(ctx, spec, true)
	return err
}

// links counts the links of endpoints that its host still has.
func (o *ours) links() (int, error) {
	n := 0
	err := o.b.in(o.host, func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			if strings.HasPrefix(l.Name, "ctn") {
				n++
			}
		}
		return err
	})
	return n, err
}

// attaching is ours as a contender: fresh namespace, attach (this is the
// figure), detach.
func (o *ours) attaching(ports int) Contender {
	return Contender{"catenet", func(ctx context.Context, round int) (took float64, err error) {
		ns, err := o.b.Place(ctx)
		if err != nil {
			return 0, err
		}
		name := fmt.Sprintf("c%d", o.b.made)
		took, err = timed(func() error { return o.attach(ctx, name, ns, 20000, ports) })
		if err != nil {
			return 0, err
		}
		return took, errors.Join(o.Remove(ctx, name, true), o.b.Forget(ctx, ns))
	}}
}
