package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

// TestCorruptRecords damages the files of records under a daemon that was
// killed. The next one keeps the file aside and says so; whatever ran goes on
// as it was, without a break; and what is removed then is gone.
func TestCorruptRecords(t *testing.T) {
	g := newGround(t)
	host := g.Name("hand")
	g.a.MustRun("ip", "netns", "add", host)
	defer g.a.MustRun("ip", "netns", "del", host)
	g.a.Catenet("network", "create", "--ipv6", "--label", "team=blue", "front")
	g.a.Catenet("network", "create", "--internal", "back")
	g.serve("web", "--network", "front", "--network-alias", "www", "-p", "8080:80")
	g.idle("near", "--network", "front", "--network", "back")
	g.idle("later", "--network", "front", "--ip", g.addr4("web").Next().Next().Next().String())
	g.a.Catenet("stop", "-t", "0", "later")
	g.a.Catenet("attach", "--name", "hand", "--netns", "/run/netns/"+host, "--network", "front", "-p", "8081:80")
	g.a.Serve("/run/netns/"+host, 80, "hand")
	pings := []*lab.Ping{
		g.a.Ping(g.ns("near"), g.addr4("web").String(), 120),
		g.a.Ping(g.ns("near"), g.addr6("hand").String(), 120),
		g.a.Ping(g.ns("near"), g.out.Addr4.String(), 120),
	}
	before := g.all()
	durable, live := filepath.Join(g.a.StateDir(), "catenet.db"), filepath.Join(g.a.RunDir(), "live.db")
	garbage := func(from, bytes int64) func(*testing.T, string) {
		return func(t *testing.T, path string) { overwrite(t, path, from, bytes) }
	}
	length := func(n int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.Truncate(path, n); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		what   string
		damage func(t *testing.T, path string)
		paths  []string
	}{
		{"garbage for a header", garbage(0, 8192), []string{durable}},
		{"garbage for a header", garbage(0, 8192), []string{live}},
		{"garbage in the middle", garbage(8192, 1<<20), []string{durable}},
		{"garbage in the middle", garbage(8192, 1<<20), []string{live}},
		{"cut short", length(5000), []string{durable}},
		{"cut short", length(5000), []string{live}},
		{"empty", length(0), []string{durable, live}},
		{"garbage all over", garbage(0, 1<<20), []string{durable, live}},
		{"garbage in the journal too", garbage(0, 1<<20), []string{durable, filepath.Join(g.a.StateDir(), "catenet.journal")}},
	} {
		g.a.Kill()
		for _, path := range c.paths {
			c.damage(t, path)
		}
		g.a.Daemon()
		what := fmt.Sprintf("%s: %s", filepath.Base(c.paths[0]), c.what)
		if now := g.all(); now != before {
			t.Errorf("%s: there was\n%s\nand there is\n%s", what, before, now)
		}
		g.alive(what)
		if c.what == "empty" {
			continue // there is nothing to keep
		}
		for _, path := range c.paths {
			if filepath.Ext(path) == ".db" {
				g.keptAside(what, path)
			}
		}
	}
	for _, p := range pings {
		if sent, lost := p.Stop(); lost != 0 || sent == 0 {
			t.Errorf("%d of %d packets were lost", lost, sent)
		}
	}
	g.a.Catenet("start", "later")
	g.a.Catenet("detach", "hand")
	g.a.Catenet("network", "disconnect", "back", "near")
	g.a.Catenet("rm", "-f", "web", "near", "later")
	g.a.Catenet("network", "rm", "front", "back")
	if got := g.a.MustRun("nsenter", "--net=/run/netns/"+host, "--", "ip", "-br", "link"); strings.Contains(got, "eth0") {
		t.Errorf("the namespace that was left has\n%s", got)
	}
	g.silent(g.out, "", "tcp", at(g.a.Addr4, 8080))
}

// all is what is on record, as people are shown it: networks, and these
// containers, or all.
func (g *ground) all(ids ...string) string {
	g.T.Helper()
	var info catenet.Info
	g.a.Inspect(&info, "info")
	if len(ids) == 0 {
		ids = strings.Fields(g.a.Catenet("ps", "-aq"))
	}
	return strings.Join([]string{
		info.NodeID,
		g.a.Catenet("network", "ls", "--format", "{{.ID}} {{.Name}} {{.Driver}}"),
		g.a.Catenet(append([]string{"network", "inspect"}, strings.Fields(g.a.Catenet("network", "ls", "-q"))...)...),
		g.a.Catenet(append([]string{"inspect"}, ids...)...),
	}, "\n")
}

// alive wants the containers of TestCorruptRecords to be reached, and reach
// each other by name.
func (g *ground) alive(what string) {
	g.T.Helper()
	for port, who := range map[int]string{8080: "web", 8081: "hand"} {
		for _, to := range []string{at(g.a.Addr4, port), at(g.a.Addr6, port)} {
			if got := g.hears(g.out, "", "tcp", to); !strings.HasPrefix(got, who+" ") {
				g.T.Errorf("%s: %s answers %q, want %s's", what, to, got, who)
			}
		}
	}
	g.answers(g.a, "", "tcp", "127.0.0.1:8080", "web")
	for _, name := range []string{"web", "www", "hand.front"} {
		want := g.addr4(strings.NewReplacer("www", "web", ".front", "").Replace(name)).String()
		if got := g.a.Exec("near", "dig", "+short", name).Text(); got != want {
			g.T.Errorf("%s: %s is %q, want %s", what, name, got, want)
		}
	}
}

// keptAside wants a file to be kept, and that to be told; then it is removed,
// and nothing is told any more.
func (g *ground) keptAside(what, path string) {
	g.T.Helper()
	kept, _ := filepath.Glob(path + ".corrupt-*")
	if len(kept) != 1 {
		g.T.Errorf("%s: kept aside: %q", what, kept)
		return
	}
	var info catenet.Info
	g.a.Inspect(&info, "info")
	if w := strings.Join(info.Warnings, "\n"); !strings.Contains(w, kept[0]) {
		g.T.Errorf("%s: the warnings are %q", what, w)
	}
	if !strings.Contains(g.a.Log(), "kept="+kept[0]) {
		g.T.Errorf("%s: the log does not tell of %s", what, kept[0])
	}
	if err := os.Remove(kept[0]); err != nil {
		g.T.Error(err)
	}
}

// overwrite lays garbage over a file, no further than it goes.
func overwrite(t *testing.T, path string, from, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Repeat([]byte("garbage\xff\x00\n\"{"), 1+int(n/12))
	if _, err := f.WriteAt(b[:max(0, min(n, info.Size()-from))], from); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsOfAnEarlierVersion are read and kept; those of a later one are
// refused, and left as they are.
func TestRecordsOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	if err := os.Mkdir(h.StateDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.StateDir(), "catenet.db")
	if err := os.WriteFile(path, gunzip(t, "../../internal/store/testdata/schema-1.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.Daemon()
		if got := h.Catenet("network", "ls", "--format", "{{.Name}}"); got != "bridge\nfront\nhost\nnone" {
			t.Errorf("networks %q", got)
		}
		got := status(h, "web")
		if got.State != catenet.StateExited || len(got.Ports) != 1 || got.Ports[0].HostPort != 8080 || fmt.Sprint(got.Networks[0].IPv4) != "10.77.0.99" {
			t.Errorf("web is %+v", got)
		}
		h.Kill()
	}
	h.Daemon()
	h.Catenet("start", "web")
	if got := status(h, "web").Endpoints[0].IPv4.String(); got != "10.77.0.99/24" {
		t.Errorf("web has %s", got)
	}
	h.Stop()

	setSchema(t, path, "99")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := h.Run(filepath.Join(lab.Binaries(t), "catenetd"), "--run-dir", h.RunDir(), "--state-dir", h.StateDir())
		if r.Code != 1 || !strings.Contains(r.Text(), "of a later catenet") || !strings.Contains(r.Text(), "start the later catenetd again") {
			t.Errorf("with records of a later version: exit %d, %s", r.Code, r.Text())
		}
		if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, was) {
			t.Errorf("the file was changed, %v", err)
		}
	}
	setSchema(t, path, "2")
	h.Daemon()
	if got := status(h, "web"); got.State != catenet.StateRunning {
		t.Errorf("web is %s", got.State)
	}
}

// setSchema writes the number of a file's schema, as another version would.
func setSchema(t *testing.T, path, schema string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte(schema)) }); err != nil {
		t.Fatal(err)
	}
}

func gunzip(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
