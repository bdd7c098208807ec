package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
)

// dockerAPI is the version of Docker's API that Debian's dockerd serves too.
const dockerAPI = "v1.41"

// dockerConnect: how long a running container takes to join one more network
// through Docker's API, ours and dockerd's own.
func dockerConnect(ctx context.Context, b *Bench) ([]Line, error) {
	mine, err := oursDocker(ctx, b)
	if err != nil {
		return nil, err
	}
	theirs, err := dockerd(ctx, b)
	if err != nil {
		return nil, err
	}
	s, err := interleave(ctx, b.Rounds(15), mine.connecting("catenet"), theirs.connecting("dockerd"))
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: "docker network connect, by the API", Ours: ms(s.Median(0)), Peer: "dockerd " + ms(s.Median(1)),
		Ratio: s.Ratio(1, 0), Goal: 20,
	}}, nil
}

// dockerSocket is a daemon that speaks Docker's API.
type dockerSocket struct {
	http.Client
	started func() // told when a container has been started; nil: nobody
}

func dockerAt(path string) *dockerSocket {
	return &dockerSocket{Client: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// post sends a request whose answer is read and of no interest.
func (d *dockerSocket) post(ctx context.Context, path, body string) error {
	return d.do(ctx, http.MethodPost, path, body)
}

func (d *dockerSocket) do(ctx context.Context, method, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker/"+dockerAPI+path, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := d.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s %s", path, res.Status, answer)
	}
	return err
}

// connecting joins container guest to network two and takes it out again.
func (d *dockerSocket) connecting(name string) Contender {
	return Contender{name, func(ctx context.Context, _ int) (float64, error) {
		took, err := timed(func() error { return d.post(ctx, "/networks/two/connect", `{"Container":"guest"}`) })
		if err != nil {
			return 0, err
		}
		return took, d.post(ctx, "/networks/two/disconnect", `{"Container":"guest"}`)
	}}
}

// oursDocker is catenet with a container guest and a network two.
func oursDocker(ctx context.Context, b *Bench) (*dockerSocket, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	ns, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	d := dockerAt(o.socket)
	return d, errors.Join(o.attach(ctx, "guest", ns, 0, 0), d.post(ctx, "/networks/create", `{"Name":"two"}`))
}

// dockerd is Debian's, with the same.
func dockerd(ctx context.Context, b *Bench) (*dockerSocket, error) {
	host, err := b.Place(ctx)
	if err != nil {
		return nil, err
	}
	d, docker, err := startDockerd(ctx, b, host)
	if err != nil {
		return nil, err
	}
	b.close = append(b.close, func() error { return docker(context.Background(), "rm", "-f", "guest") })
	return d, errors.Join(docker(ctx, "run", "-d", "--name", "guest", "bench", "/bin/busybox", "sleep", "100000"), docker(ctx, "network", "create", "two"))
}

// startDockerd starts Debian's dockerd on a host, with an image bench, and returns
// it and its CLI.
func startDockerd(ctx context.Context, b *Bench, host string) (*dockerSocket, func(context.Context, ...string) error, error) {
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, nil, fmt.Errorf("peer is not installed: %w", err)
	}
	dir, err := b.Folder("docker")
	if err != nil {
		return nil, nil, err
	}
	run, err := b.RunFolder("docker")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(run, "docker.sock")
	err = b.daemon(host, "dockerd", "--host", "unix://"+socket, "--data-root", dir,
		"--exec-root", filepath.Join(run, "exec"), "--pidfile", filepath.Join(run, "pid"), "--storage-driver", "vfs")
	if err != nil {
		return nil, nil, err
	}
	docker := func(ctx context.Context, argv ...string) error {
		_, err := b.tool(ctx, host, append([]string{"docker", "--host", "unix://" + socket}, argv...)...)
		return err
	}
	if err := until(ctx, "dockerd", func() bool { return docker(ctx, "version") == nil }); err != nil {
		return nil, nil, err
	}
	// There is no registry to ask: one static program is an image.
	image := "mkdir -p " + dir + "/root/bin && cp \"$(command -v busybox)\" " + dir + "/root/bin/ && tar -C " + dir + "/root -c . | docker --host unix://" + socket + " import - bench"
	_, err = b.tool(ctx, host, "sh", "-c", image)
	return dockerAt(socket), docker, err
}
