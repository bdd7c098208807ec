package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// callsGoal is what all calls of ours in one docker run may take, in milliseconds.
const callsGoal = 5

// dockerRun: how long dockerd takes to create and start a container on a network
// of ours, whose plugin we are, and on a bridge of its own; and how much of that
// our answers take.
func dockerRun(ctx context.Context, b *Bench) ([]Line, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	calls, err := plugIn(ctx, b, host)
	if err != nil {
		return nil, err
	}
	d, docker, err := startDockerd(ctx, b, host)
	if err != nil {
		return nil, err
	}
	err = errors.Join(docker(ctx, "network", "create", "theirs"),
		docker(ctx, "network", "create", "-d", calls.plugin, "--ipam-driver", calls.plugin, "ours"))
	if err != nil {
		return nil, err
	}
	b.close = append(b.close, func() error { return docker(context.Background(), "network", "rm", "ours", "theirs") })
	var spent []float64
	mine := d.running("catenet", "ours", 18080)
	counted := Contender{mine.Name, func(ctx context.Context, round int) (float64, error) {
		calls.took.Store(0)
		took, err := mine.Once(ctx, round)
		spent = append(spent, float64(calls.before.Load())/1e6)
		return took, err
	}}
	d.started = func() { calls.before.Store(calls.took.Load()) }
	s, err := interleave(ctx, b.Rounds(10), counted, d.running("docker", "theirs", 18081))
	if err != nil {
		return nil, err
	}
	answers := median(spent)
	return []Line{
		{Work: "docker run with a port, by the API", Ours: ms(s.Median(0)), Peer: "Docker's bridge " + ms(s.Median(1)), Ratio: s.Ratio(1, 0), Goal: 1},
		{Work: "of that, all answers of ours", Ours: ms(answers), Peer: fmt.Sprintf("at most %d ms", callsGoal), Ratio: callsGoal / answers, Goal: 1},
	}, nil
}

// plugged is catenet as dockerd's plugin, and how long it has taken to answer.
type plugged struct {
	plugin string       // its name
	took   atomic.Int64 // nanoseconds, since the run began
	before atomic.Int64 // the same, when the container had been started
	http.Transport
}

// RoundTrip passes a call of dockerd's on, and measures it.
func (p *plugged) RoundTrip(req *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := p.Transport.RoundTrip(req)
	p.took.Add(int64(time.Since(began)))
	return res, err
}

// plugIn starts catenet, and stands between dockerd and it.
func plugIn(ctx context.Context, b *Bench, host string) (*plugged, error) {
	run, err := b.RunFolder("plugin")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(run, "plugin.sock")
	if _, err := startOursAt(ctx, b, host, "--docker-plugin="+socket, "--docker-host="); err != nil {
		return nil, err
	}
	p := &plugged{plugin: fmt.Sprintf("cnbench%d", os.Getpid())}
	p.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	const folder = "/run/docker/plugins" // dockerd looks nowhere else for sockets
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(folder, p.plugin+".sock"))
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "catenet"})
	proxy.Transport = p
	s := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go s.Serve(l) // until it is closed
	b.close = append(b.close, s.Close)
	return p, nil
}

// running creates and starts a container on a network, and removes it.
func (d *dockerSocket) running(name, network string, port int) Contender {
	return Contender{name, func(ctx context.Context, round int) (float64, error) {
		guest := fmt.Sprintf("%s%d", name, round)
		body := fmt.Sprintf(`{"Image":"bench","Cmd":["/bin/busybox","sleep","100000"],"ExposedPorts":{"80/tcp":{}},"HostConfig":{"NetworkMode":%q,"PortBindings":{"80/tcp":[{"HostPort":"%d"}]}}}`, network, port)
		took, err := timed(func() error {
			return errors.Join(d.post(ctx, "/containers/create?name="+guest, body), d.post(ctx, "/containers/"+guest+"/start", ""))
		})
		if d.started != nil {
			d.started()
		}
		return took, errors.Join(err, d.do(ctx, http.MethodDelete, "/containers/"+guest+"?force=1", ""))
	}}
}
