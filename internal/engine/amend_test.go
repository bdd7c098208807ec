package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// update changes a container.
func (w *world) update(ref string, up catenet.SandboxUpdate) error {
	_, err := w.UpdateSandbox(ctx, ref, up)
	return err
}

func renamed(to string) catenet.SandboxUpdate { return catenet.SandboxUpdate{Name: &to} }

// bindings are the published ports of a container.
func (w *world) bindings(name string) string {
	w.t.Helper()
	st, err := w.Sandbox(ctx, name)
	must(w.t, err)
	return published(st)
}

// TestPortsComeAndGo of a container that runs: those that stay keep their host
// ports, in the firewall, on the host and after a start of the daemon.
func TestPortsComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8080:80", "81", "82", "9000-9009:83"), PublishAll: true, Expose: specs(t, "84")})
	must(t, err)
	host := make(map[uint16]string)
	for _, b := range st.Bindings {
		host[b.Port] = fmt.Sprintf("%d->%s", b.Port, b.Host())
	}
	wants := func(when string, want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := w.bindings("a"); got != strings.Join(want, " ") {
			t.Errorf("%s: %s, want %q", when, got, want)
		}
	}
	must(t, w.update("a", catenet.SandboxUpdate{Publish: specs(t, "8090:90")}))
	wants("one more", "80->0.0.0.0:8080", host[81], host[82], host[83], host[84], "90->0.0.0.0:8090")

	_, chosen, _ := strings.Cut(host[82], "->")
	must(t, w.update("a", catenet.SandboxUpdate{Unpublish: specs(t, "81", chosen+":82", "9000:83", "84")}))
	wants("closed by what they are, and by what they were given", "80->0.0.0.0:8080", "90->0.0.0.0:8090")

	must(t, w.update("a", catenet.SandboxUpdate{Unpublish: specs(t, "8080:80"), Publish: specs(t, "8080:85")}))
	wants("led elsewhere", "85->0.0.0.0:8080", "90->0.0.0.0:8090")

	// What is left does not take the place of what is closed.
	must(t, w.update("a", catenet.SandboxUpdate{Publish: specs(t, "8005:90", "8000-8009:90")}))
	must(t, w.update("a", catenet.SandboxUpdate{Unpublish: specs(t, "8005:90"), Publish: specs(t, "8005:85")}))
	wants("led elsewhere beside others", "85->0.0.0.0:8080", "90->0.0.0.0:8090", "90->0.0.0.0:8000", "85->0.0.0.0:8005")
	must(t, w.update("a", catenet.SandboxUpdate{Unpublish: specs(t, "8000:90", "8005:85")}))

	other := catenet.SandboxSpec{Name: "b", Ports: specs(t, "8090:80")}
	if _, err := w.attachSpec(other); !catenet.IsConflict(err) {
		t.Errorf("another container gets its port: %v", err)
	}
	must(t, w.update("a", catenet.SandboxUpdate{Unpublish: specs(t, "90")}))
	_, err = w.attachSpec(other)
	must(t, err)
	before := w.state()
	w.restart()
	wants("after a start", "85->0.0.0.0:8080")
	if after := w.state(); random.ReplaceAllString(after, "") != random.ReplaceAllString(before, "") {
		t.Errorf("a start makes\n%s\nof\n%s", after, before)
	}
}

// TestAChangeThatIsRefusedChangesNothing.
func TestAChangeThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "in", Internal: true})
	_, err := w.attachSpec(catenet.SandboxSpec{Name: "a", Ports: specs(t, "8080:80")})
	must(t, err)
	w.mustAttach("b", catenet.EndpointSpec{Network: "in"})
	_, err = w.run(catenet.SandboxSpec{Name: "none", Mode: catenet.ModeNone})
	must(t, err)
	before := w.mark()
	for what, c := range map[string]struct {
		ref  string
		up   catenet.SandboxUpdate
		want func(error) bool
	}{
		"a name that is taken":           {"a", renamed("b"), catenet.IsConflict},
		"a name that is none":            {"a", renamed("x/y"), catenet.IsInvalid},
		"no name":                        {"a", renamed(""), catenet.IsInvalid},
		"a port that is none":            {"a", catenet.SandboxUpdate{Publish: []catenet.PortSpec{{Proto: "icmp", Port: 1}}}, catenet.IsInvalid},
		"a port that is published":       {"a", catenet.SandboxUpdate{Publish: specs(t, "8080:80")}, catenet.IsConflict},
		"the same port twice":            {"a", catenet.SandboxUpdate{Publish: specs(t, "8081:81", "8081:82")}, catenet.IsConflict},
		"a port that is not published":   {"a", catenet.SandboxUpdate{Unpublish: specs(t, "8081:80")}, catenet.IsNotFound},
		"one of them is not":             {"a", catenet.SandboxUpdate{Unpublish: specs(t, "80", "81")}, catenet.IsNotFound},
		"a port without a way":           {"b", catenet.SandboxUpdate{Publish: specs(t, "8081:80")}, catenet.IsInvalid},
		"a port without an address":      {"none", catenet.SandboxUpdate{Publish: specs(t, "8081:80")}, catenet.IsInvalid},
		"aliases in a network elsewhere": {"a", catenet.SandboxUpdate{Aliases: map[string][]string{"in": {"x"}}}, catenet.IsNotFound},
		"aliases in no network":          {"a", catenet.SandboxUpdate{Aliases: map[string][]string{"out": {"x"}}}, catenet.IsNotFound},
		"an alias that is none":          {"a", catenet.SandboxUpdate{Name: ptr("new"), Aliases: map[string][]string{"bridge": {"-x"}}}, catenet.IsInvalid},
		"no container":                   {"nobody", renamed("x"), catenet.IsNotFound},
	} {
		if err := w.update(c.ref, c.up); !c.want(err) {
			t.Errorf("%s: %v", what, err)
		}
		w.unchanged(before)
	}
	w.mustAttach("new") // no name is kept by what was refused
}

func ptr(s string) *string { return &s }

// TestARenamedContainerIsFoundByItsNewName: by the resolver, in its own files,
// by those who link to names, by refs, and after a start.
func TestARenamedContainerIsFoundByItsNewName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(quietSpec("quiet"))
	_, err := w.attachSpec(servingSpec("first", "quiet"))
	must(t, err)
	db, err := w.run(servingSpec("db", "quiet"))
	must(t, err)
	web, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("quiet", "db:store", "db:base")}})
	must(t, err)
	at := fmt.Sprint(db.Endpoints[0].IPv4.Addr(), " ", db.Endpoints[0].IPv6.Addr())
	events, err := w.Events(t.Context(), catenet.Filter{"event": {"rename"}}, db.Created)
	must(t, err)

	must(t, w.update("db", renamed("db-old")))
	w.leads("whom it led to is called otherwise", web)
	if got := w.ask("web", "db-old"); got != at {
		t.Errorf("db-old is at %s, want %s", got, at)
	}
	if hosts := w.hosts(db); !strings.Contains(hosts, "host-of-db db-old\n") {
		t.Errorf("its own hosts file:\n%s", hosts)
	}
	must(t, w.update("first", renamed("db")))
	first, err := w.record("db")
	must(t, err)
	if got := w.ask("web", "store"); got != fmt.Sprint(first.Endpoints[0].IPv4.Addr(), " ", first.Endpoints[0].IPv6.Addr()) {
		t.Errorf("another one has the name, and the link leads to %s", got)
	}
	if err := w.update("db", renamed("web")); !catenet.IsConflict(err) {
		t.Error(err)
	}
	w.restart()
	if got := w.ask("web", "db-old"); got != at {
		t.Errorf("after a start, db-old is at %s, want %s", got, at)
	}
	for _, want := range []string{"db db-old", "first db"} {
		if ev := <-events; ev.Attributes["oldName"]+" "+ev.Attributes["name"] != want {
			t.Errorf("event %+v, want %s", ev, want)
		}
	}
	w.reboot()
	if st, err := w.Sandbox(ctx, "db-old"); err != nil || st.ID != db.ID {
		t.Errorf("after the machine's start: %+v, %v", st, err)
	}
}

// TestNoCircleByAName: a container cannot take the name that whom it links to
// links to.
func TestNoCircleByAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "n"})
	w.mustAttach("c", catenet.EndpointSpec{Network: "n"})
	w.mustAttach("a", linking("n", "c"))
	w.mustAttach("b", linking("n", "a"))
	must(t, w.Remove(ctx, "c", false))
	if err := w.update("b", renamed("c")); !catenet.IsConflict(err) || !strings.Contains(err.Error(), "circle") {
		t.Error(err)
	}
	must(t, w.update("b", renamed("d")))
}

// TestAliasesAreReplaced in one network, and stay in another; also of a
// container that does not run.
func TestAliasesAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.network(catenet.NetworkSpec{Name: "out"})
	for _, n := range []string{"one", "two"} {
		w.network(catenet.NetworkSpec{Name: n, Internal: true})
		w.mustAttach("in-"+n, catenet.EndpointSpec{Network: n})
	}
	spec := container("db", catenet.EndpointSpec{Network: "one", Aliases: []string{"a", "b"}}, catenet.EndpointSpec{Network: "two", Aliases: []string{"a"}},
		catenet.EndpointSpec{Network: "out"})
	st, err := w.CreateSandbox(ctx, spec, true)
	must(t, err)
	wants := func(when string, found map[string]bool) {
		t.Helper()
		for q, want := range found {
			from, alias, _ := strings.Cut(q, " ")
			if got := w.ask(from, alias); strings.Contains(got, "no such host") == want {
				t.Errorf("%s: %s is %s for %s", when, alias, got, from)
			}
		}
	}
	must(t, w.update("db", catenet.SandboxUpdate{Aliases: map[string][]string{"one": {"b", "c"}}}))
	wants("replaced", map[string]bool{"in-one a": false, "in-one b": true, "in-one c": true, "in-two a": true})
	must(t, w.Stop(ctx, st.ID, 0))
	must(t, w.update("db", catenet.SandboxUpdate{Name: ptr("base"), Aliases: map[string][]string{"one": {}, "two": {"d"}}, Publish: specs(t, "8080:80")}))
	if err := w.update("base", catenet.SandboxUpdate{Publish: specs(t, "1:1", "1:2")}); !catenet.IsConflict(err) {
		t.Errorf("stopped, a host port twice: %v", err)
	}
	w.restart()
	must(t, w.Start(ctx, "base"))
	wants("stopped, replaced and started", map[string]bool{"in-one b": false, "in-one base": true, "in-one db": false, "in-two d": true, "in-two a": false})
	if got := w.bindings("base"); got != "80->0.0.0.0:8080" {
		t.Errorf("published: %s", got)
	}
}

// TestADurableNameIsNotAheadOfTheLiveOne: a daemon that dies before a running
// container's new name is promised takes it back on both sides.
func TestADurableNameIsNotAheadOfTheLiveOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.CreateSandbox(ctx, container("c"), true)
	must(t, err)
	now, err := w.record("c")
	must(t, err)
	next := now.clone()
	next.Name = "new"
	must(t, w.keepContainer(next))
	must(t, w.keep(now.ID, sandboxEntry{Now: now, Next: next}))
	w.restart()
	if _, err := w.Sandbox(ctx, "c"); err != nil {
		t.Error(err)
	}
	w.reboot()
	if _, err := w.Sandbox(ctx, "c"); err != nil {
		t.Errorf("after the machine's start: %v", err)
	}
}

// TestAFailedRenameIsInNoFile whichever call of the kernel fails.
func TestAFailedRenameIsInNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st, err := w.CreateSandbox(ctx, container("c"), true)
	must(t, err)
	before := w.hosts(st)
	for n := 1; ; n++ {
		w.kernel.FailAt(n, errors.New("the kernel says no"))
		err := w.update("c", catenet.SandboxUpdate{Name: ptr("new"), Publish: specs(t, "8080:80")})
		w.kernel.FailAt(0, nil)
		if err == nil {
			break
		}
		if got := w.hosts(st); got != before {
			t.Errorf("call %d failed, and its hosts file says\n%s", n, got)
		}
	}
	if got := w.hosts(st); !strings.Contains(got, " new\n") {
		t.Errorf("renamed, its hosts file says\n%s", got)
	}
}

// dressing is a kernel in which something happens while a namespace is dressed.
type dressing struct {
	filed
	do func()
}

func (d *dressing) Dress(ctx context.Context, ns *kernel.Namespace, o kernel.Outfit) error {
	if do := d.do; do != nil {
		d.do = nil
		do()
	}
	return d.filed.Dress(ctx, ns, o)
}

// TestANameOnItsWay is nobody else's, and neither is the one that may be needed
// again.
func TestANameOnItsWay(t *testing.T) {
	t.Parallel()
	w, d := newWorld(t), &dressing{}
	w.closeNow()
	w.boot(func(k *fake.Kernel) hostAndNamespaces { d.filed = filed{k}; return d })
	w.mustAttach("a")
	w.mustAttach("b")
	d.do = func() {
		for _, name := range []string{"a", "new"} {
			if _, err := w.attach(name); !catenet.IsConflict(err) {
				t.Errorf("another one is called %s: %v", name, err)
			}
			if err := w.update("b", renamed(name)); !catenet.IsConflict(err) {
				t.Errorf("b is renamed to %s: %v", name, err)
			}
		}
	}
	must(t, w.update("a", renamed("new")))
	must(t, w.update("b", renamed("a")))
}
