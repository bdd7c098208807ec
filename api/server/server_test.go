package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/api/server"
)

var (
	_ server.Engine     = (*client.Client)(nil) // the client has all that the API serves
	_ server.FullEngine = (*apitest.Engine)(nil)
)

// raw returns an HTTP client of the socket, for requests that ours would not
// make.
func raw(t *testing.T, host string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(host, "unix://"))
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask sends a request; ctype may be "", for none.
func ask(t *testing.T, c *http.Client, method, path, ctype, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

func TestBadRequests(t *testing.T) {
	e := apitest.New()
	if _, _, err := e.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: "front"}); err != nil {
		t.Fatal(err)
	}
	host, _ := apitest.Serve(t, e)
	c := raw(t, host)
	big := `{"name":"` + strings.Repeat("x", 10<<20) + `"}`
	for _, tc := range []struct {
		name, method, path, ctype, body string
		status                          int
		message, hint                   string // parts
	}{
		{"10 MB", "POST", "/v1/networks", api.TypeJSON, big, 413, "larger than 8388608 bytes", ""},
		{"10 MB behind", "POST", "/v1/networks", api.TypeJSON, `{"name":"n"}` + strings.Repeat(" ", 10<<20), 413, "larger than", ""},
		{"millions of nothing", "POST", "/v1/networks", api.TypeJSON, `{"name":"n","pools":[` + strings.Repeat("{},", 100_000) + `{}]}`, 413, "more than 70000 objects", "less at once"},
		{"unknown field", "POST", "/v1/networks", api.TypeJSON, `{"name":"n","colour":"red"}`, 400, `unknown field "colour"`, "openapi.yaml"},
		{"unknown inner field", "POST", "/v1/networks/bridge/connect", api.TypeJSON, `{"sandbox":"a","endpoint":{"ipv5":"1"}}`, 400, `unknown field "ipv5"`, ""},
		{"wrong type of field", "POST", "/v1/networks", api.TypeJSON, `{"name":7}`, 400, `field "name" cannot be a number`, ""},
		{"bad address", "POST", "/v1/networks/bridge/connect", api.TypeJSON, `{"sandbox":"a","endpoint":{"ipv4":"300.1.1.1"}}`, 400, "300.1.1.1", ""},
		{"no JSON", "POST", "/v1/networks", api.TypeJSON, `name=n`, 400, "invalid character", ""},
		{"empty", "POST", "/v1/networks", api.TypeJSON, ``, 400, "it is empty", ""},
		{"garbage behind", "POST", "/v1/networks", api.TypeJSON, `{"name":"n"} {}`, 400, "something behind", ""},
		{"content type", "POST", "/v1/networks", "text/plain", `{"name":"n"}`, 415, `"text/plain"`, "application/json"},
		{"no content type", "POST", "/v1/networks", "", `{"name":"n"}`, 415, `""`, "application/json"},
		{"escaped slash", "GET", "/v1/networks/a%2Fb", "", "", 400, `has a "/" in it`, "a name or ID is"},
		{"escaped dots", "DELETE", "/v1/networks/%2e%2e", "", "", 400, `begins with a "."`, ""},
		{"slash in body", "POST", "/v1/networks/bridge/connect", api.TypeJSON, `{"sandbox":"../x"}`, 400, "container", ""},
		{"name with a slash", "POST", "/v1/networks", api.TypeJSON, `{"name":"a/b"}`, 400, `"a/b"`, "a name is"},
		{"unknown parameter", "GET", "/v1/sandboxes?al=true", "", "", 400, `"al"`, "all"},
		{"bad parameter", "GET", "/v1/sandboxes?all=maybe", "", "", 400, `all: "maybe"`, ""},
		{"bad number", "GET", "/v1/sandboxes/x/logs?tail=ten", "", "", 400, `tail: "ten"`, ""},
		{"bad time", "GET", "/v1/sandboxes/x/logs?since=noon", "", "", 400, `since: "noon"`, "2026-"},
		{"bad duration", "POST", "/v1/sandboxes/x/stop?grace=-1s", "", "", 400, `grace: "-1s"`, "10s"},
		{"unknown filter", "GET", "/v1/networks?filter=colour%3Dred", "", "", 400, `"colour"`, "driver"},
		{"bad query", "GET", "/v1/networks?%zz", "", "", 400, "query", ""},
		{"no route", "GET", "/v1/nothing", "", "", 404, "/v1/nothing", "/v1/"},
		{"wrong method", "PUT", "/v1/networks", "", "", 405, "no method PUT", "GET, POST"},
		{"no network", "GET", "/v1/networks/nowhere", "", "", 404, "nowhere", ""},
		{"predefined", "DELETE", "/v1/networks/bridge", "", "", 403, "predefined", ""},
		{"taken", "POST", "/v1/networks", api.TypeJSON, `{"name":"front"}`, 409, "exists already", "another name"},
		{"predefined name", "POST", "/v1/networks", api.TypeJSON, `{"name":"bridge"}`, 403, "predefined", "another name"},
		{"exec without upgrade", "POST", "/v1/sandboxes/x/exec", api.TypeJSON, `{"args":["true"]}`, 400, "connection of its own", "Upgrade"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, b := ask(t, c, tc.method, tc.path, tc.ctype, tc.body)
			var e api.Error
			if err := json.Unmarshal(b, &e); err != nil {
				t.Fatalf("reply %q: %v", b, err)
			}
			if res.StatusCode != tc.status || !strings.Contains(e.Message, tc.message) || !strings.Contains(e.Hint, tc.hint) || e.Kind == "" {
				t.Errorf("got %d %+v\nwant %d %q %q", res.StatusCode, e, tc.status, tc.message, tc.hint)
			}
		})
	}
}

// TestChunkedBody sends 10 MB without saying so first.
func TestChunkedBody(t *testing.T) {
	host, _ := apitest.Serve(t, apitest.New())
	body := io.MultiReader(strings.NewReader(`{"name":"`), io.LimitReader(xs{}, 10<<20))
	res, err := raw(t, host).Post("http://x/v1/networks", api.TypeJSON, body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %s", res.Status)
	}
}

type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// odd is an engine that misbehaves.
type odd struct {
	*apitest.Engine
	err     error
	created chan error // what a creation's context said after its client had gone
	waiting chan struct{}
}

func (odd) Endpoints(context.Context) ([]catenet.Endpoint, error) { panic("boom") }

func (o odd) Ports(context.Context) ([]catenet.PortBinding, error) { return nil, o.err }

func (o odd) CreateNetwork(ctx context.Context, _ catenet.NetworkSpec) (catenet.Network, []string, error) {
	o.waiting <- struct{}{}
	<-o.waiting
	o.created <- ctx.Err()
	return catenet.Network{}, nil, nil
}

func (o odd) Wait(ctx context.Context, _ string, _ func()) (int, error) {
	o.waiting <- struct{}{}
	<-ctx.Done()
	o.created <- ctx.Err()
	return 0, ctx.Err()
}

func TestPanicIsAnswered(t *testing.T) {
	_, c := apitest.Serve(t, odd{Engine: apitest.New()})
	_, err := c.Endpoints(t.Context())
	if err == nil || !strings.Contains(err.Error(), "bug: boom") || catenet.KindOf(err) != catenet.KindInternal {
		t.Errorf("error %v", err)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestErrorsComeBackWhole(t *testing.T) {
	for k := catenet.KindInternal; k <= catenet.KindUnavailable; k++ {
		_, c := apitest.Serve(t, odd{Engine: apitest.New(), err: catenet.Errorf(k, "no %s", "good").WithHint("do better")})
		_, err := c.Ports(t.Context())
		if catenet.KindOf(err) != k || err.Error() != "no good" || catenet.HintOf(err) != "do better" {
			t.Errorf("kind %s came back as %v %q (%s)", k, err, catenet.HintOf(err), catenet.KindOf(err))
		}
	}
}

// TestDeadClient: a change goes on without its client, a wait does not.
func TestDeadClient(t *testing.T) {
	o := odd{Engine: apitest.New(), created: make(chan error), waiting: make(chan struct{})}
	_, c := apitest.Serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-o.waiting; cancel() }()
	if _, _, err := c.CreateNetwork(ctx, catenet.NetworkSpec{Name: "n"}); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	time.Sleep(50 * time.Millisecond) // time for the server to notice
	o.waiting <- struct{}{}
	if err := <-o.created; err != nil {
		t.Errorf("the creation was told %v", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	go func() { <-o.waiting; cancel() }()
	if _, err := c.Wait(ctx, "x", func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := <-o.created; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait was told %v", err)
	}
}

func TestEvents(t *testing.T) {
	e := apitest.New()
	_, c := apitest.Serve(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := c.Events(ctx, catenet.Filter{"event": {"create"}, "network": {"front"}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"back", "front"} {
		if _, _, err := c.CreateNetwork(ctx, catenet.NetworkSpec{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case ev := <-ch:
		if ev.Type != "network" || ev.Action != "create" || ev.Attributes["name"] != "front" || !ev.Time.Equal(apitest.Now) {
			t.Errorf("event %+v", ev)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no event came")
	}
	cancel()
	for deadline := time.Now().Add(5 * time.Second); e.Subscribers() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server still reads events for a client that is gone")
		}
	}
}

// TestShutdownEndsStreams: nobody who waits or listens holds up a shutdown,
// and each is told.
func TestShutdownEndsStreams(t *testing.T) {
	e := apitest.New()
	t.Cleanup(e.Close)
	path := t.TempDir() + "/s"
	log := slog.New(slog.DiscardHandler)
	l, err := server.Listen(t.Context(), path, "", log)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(e, log)
	go s.Serve(l)
	c, err := client.New("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	spec := catenet.SandboxSpec{Name: "a", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sh", "-c", "echo up; exec sleep 60"}}}
	if _, err := c.CreateSandbox(t.Context(), spec, true); err != nil {
		t.Fatal(err)
	}
	events, err := c.Events(t.Context(), nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	up := make(chan struct{})
	go func() {
		errs <- c.Logs(t.Context(), "a", catenet.LogOptions{Follow: true, Tail: -1}, func() {}, func(string, time.Time, []byte) error { close(up); return nil })
	}()
	go func() { _, err := c.Wait(t.Context(), "a", func() {}); errs <- err }()
	pr, pw := io.Pipe()
	go func() {
		_, err := c.Exec(t.Context(), "a", catenet.ExecSpec{Args: []string{"sh", "-c", "echo up; exec sleep 60"}}, nil, pw, pw)
		errs <- err
	}()
	<-up
	if _, err := pr.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
	if _, open := <-events; open {
		t.Error("the events go on")
	}
	for range 3 {
		if err := <-errs; err == nil {
			t.Error("a stream ended as if it were whole")
		}
	}
}

func TestLogsBytes(t *testing.T) {
	e := apitest.New()
	t.Cleanup(e.Close)
	_, c := apitest.Serve(t, e)
	spec := catenet.SandboxSpec{Name: "a", Owner: catenet.OwnerRun, Process: &catenet.Process{AutoRemove: true, Args: []string{"sh", "-c", `printf 'a\377b\n'; echo err >&2`}}}
	if _, err := c.CreateSandbox(t.Context(), spec, false); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		var out bytes.Buffer
		err := c.Logs(t.Context(), "a", catenet.LogOptions{Follow: true, Tail: -1}, func() {}, func(s string, _ time.Time, line []byte) error {
			out.WriteString(s + ":" + string(line) + "\n")
			return nil
		})
		if err != nil {
			out.WriteString(err.Error())
		}
		got <- out.String()
	}()
	time.Sleep(20 * time.Millisecond) // it waits for a container that has not begun
	if err := c.Start(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if g := <-got; !strings.Contains(g, "stdout:a\xffb\n") || !strings.Contains(g, "stderr:err\n") {
		t.Errorf("log %q", g)
	}
}

// TestEveryPortFitsIn: a container may publish all ports, with the longest of
// host addresses.
func TestEveryPortFitsIn(t *testing.T) {
	_, c := apitest.Serve(t, apitest.New())
	ports, err := catenet.ParsePort("[2001:db8:1111:2222:3333:4444:5555:6666]:1-65535:1-65535/sctp")
	if err != nil {
		t.Fatal(err)
	}
	sb, err := c.CreateSandbox(t.Context(), catenet.SandboxSpec{Name: "all", Owner: catenet.OwnerAttach, PID: 1, Ports: ports}, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(sb.Bindings) != 65535 {
		t.Errorf("%d ports are published", len(sb.Bindings))
	}
}

// TestNothingIsMissed: who has begun to wait before a start learns how even
// the shortest container ended, and what it wrote.
func TestNothingIsMissed(t *testing.T) {
	e := apitest.New()
	t.Cleanup(e.Close)
	_, c := apitest.Serve(t, e)
	for range 50 {
		spec := catenet.SandboxSpec{Owner: catenet.OwnerRun, Process: &catenet.Process{AutoRemove: true, Args: []string{"sh", "-c", "echo x; exit 3"}}}
		sb, err := c.CreateSandbox(t.Context(), spec, false)
		if err != nil {
			t.Fatal(err)
		}
		found := make(chan struct{}, 2)
		ready := func() { found <- struct{}{} }
		lines, codes := make(chan int, 1), make(chan int, 1)
		go func() {
			n := 0
			if err := c.Logs(t.Context(), sb.ID, catenet.LogOptions{Follow: true, Tail: -1}, ready, func(string, time.Time, []byte) error { n++; return nil }); err != nil {
				t.Errorf("log: %v", err)
			}
			lines <- n
		}()
		go func() {
			code, err := c.Wait(t.Context(), sb.ID, ready)
			if err != nil {
				t.Errorf("wait: %v", err)
			}
			codes <- code
		}()
		<-found
		<-found
		if err := c.Start(t.Context(), sb.ID); err != nil {
			t.Fatal(err)
		}
		if code, n := <-codes, <-lines; code != 3 || n != 1 {
			t.Fatalf("it ended with %d, having written %d lines", code, n)
		}
	}
}
