package engine

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// quietSpec is a network whose containers do not reach each other.
func quietSpec(name string) catenet.NetworkSpec {
	return catenet.NetworkSpec{Name: name, IPv6: true, Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"}}
}

// servingSpec is a container that exposes one port and publishes another.
func servingSpec(name, network string) catenet.SandboxSpec {
	return catenet.SandboxSpec{Name: name, Hostname: "host-of-" + name, Networks: []catenet.EndpointSpec{{Network: network}},
		Expose: []catenet.PortSpec{{Proto: "tcp", Port: 5432}}, Ports: []catenet.PortSpec{{Proto: "udp", Port: 53}}}
}

// linking is an endpoint that links.
func linking(network string, links ...string) catenet.EndpointSpec {
	spec := catenet.EndpointSpec{Network: network}
	for _, s := range links {
		l, err := catenet.ParseLink(s)
		if err != nil {
			panic(err)
		}
		spec.Links = append(spec.Links, l)
	}
	return spec
}

// ways are what the firewall lets linked containers through by.
func (w *world) ways() (out []string) {
	tables, err := w.rules.Dump(context.Background(), nft.Ref{Family: nft.Inet, Name: "catenet"})
	must(w.t, err)
	for _, set := range tables[0].Sets {
		size, ok := map[string]int{"links4": 4, "links6": 16}[set.Name]
		for _, el := range set.Elements {
			if !ok {
				continue
			}
			from, _ := netip.AddrFromSlice([]byte(el.Key[:size]))
			to, _ := netip.AddrFromSlice([]byte(el.Key[size : 2*size]))
			rest := el.Key[2*size:]
			port := uint16(rest[4])<<8 | uint16(rest[5])
			out = append(out, from.String()+" "+netip.AddrPortFrom(to, port).String()+" "+map[byte]string{6: "tcp", 17: "udp"}[rest[0]])
		}
	}
	slices.Sort(out)
	return out
}

// waysFrom are those of one container to another that serves as servingSpec
// says.
func waysFrom(from, to catenet.Endpoint) (out []string) {
	for _, a := range [][2]netip.Addr{{from.IPv4.Addr(), to.IPv4.Addr()}, {from.IPv6.Addr(), to.IPv6.Addr()}} {
		out = append(out, a[0].String()+" "+netip.AddrPortFrom(a[1], 5432).String()+" tcp", a[0].String()+" "+netip.AddrPortFrom(a[1], 53).String()+" udp")
	}
	slices.Sort(out)
	return out
}

// leads wants web's links in network quiet, as store and as base, to lead to
// where db is now, if it is there.
func (w *world) leads(when string, web catenet.SandboxStatus) {
	w.t.Helper()
	var ep *catenet.Endpoint
	w.mu.Lock()
	db := w.called("db") // no ID that begins so
	w.mu.Unlock()
	if db != nil {
		if i := slices.IndexFunc(db.now.Endpoints, func(ep catenet.Endpoint) bool { return ep.Spec.Network == "quiet" }); i >= 0 {
			ep = &db.now.Endpoints[i]
		}
	}
	var ways []string
	hosts := w.hosts(web)
	for _, alias := range []string{"store", "base"} {
		if ep == nil {
			if got := w.ask("web", alias); !strings.Contains(got, "no such host") {
				w.t.Errorf("%s: %s is %s", when, alias, got)
			}
			if strings.Contains(hosts, alias) {
				w.t.Errorf("%s: a dead link is in the hosts file:\n%s", when, hosts)
			}
			continue
		}
		if got, want := w.ask("web", alias), ep.IPv4.Addr().String()+" "+ep.IPv6.Addr().String(); got != want {
			w.t.Errorf("%s: %s is %s, want %s", when, alias, got, want)
		}
		for _, a := range []netip.Addr{ep.IPv4.Addr(), ep.IPv6.Addr()} {
			if line := a.String() + "\t" + alias + " host-of-db db\n"; !strings.Contains(hosts, line) {
				w.t.Errorf("%s: the hosts file lacks %q:\n%s", when, line, hosts)
			}
		}
		ways = waysFrom(web.Endpoints[0], *ep)
	}
	if d := cmp.Diff(ways, w.ways()); d != "" {
		w.t.Errorf("%s: ways in the firewall (-want +got):\n%s", when, d)
	}
}

// TestALinkFollowsWhomItLeadsTo: another address, gone, back, made anew, and a
// daemon that starts in between.
func TestALinkFollowsWhomItLeadsTo(t *testing.T) {
	w := newWorld(t)
	w.network(quietSpec("quiet"))
	w.network(catenet.NetworkSpec{Name: "open"})
	_, err := w.attachSpec(servingSpec("db", "quiet"))
	must(t, err)
	web, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("quiet", "db:store", "db:base")}})
	must(t, err)
	w.mustAttach("other", catenet.EndpointSpec{Network: "quiet"})

	leads := func(when string) { t.Helper(); w.leads(when, web) }
	leads("linked")
	must(t, w.Disconnect(ctx, "quiet", "db", false))
	leads("disconnected")
	_, err = w.Connect(ctx, "quiet", "db", catenet.EndpointSpec{})
	must(t, err)
	leads("connected, at another address")
	w.rules.Refuse = func(op nft.Op) error { return errors.New("the rules were right already") }
	w.restart()
	w.rules.Refuse = nil
	leads("restarted")
	must(t, w.Remove(ctx, "db", false))
	leads("removed")
	w.restart()
	leads("restarted without")
	_, err = w.attachSpec(servingSpec("db", "open"))
	must(t, err)
	leads("made anew in another network")
	_, err = w.Connect(ctx, "quiet", "db", catenet.EndpointSpec{})
	must(t, err)
	leads("made anew")
	must(t, w.Stop(ctx, "web", 0))
	if got := w.ways(); len(got) > 0 {
		t.Errorf("who linked has ended, and left open: %s", got)
	}
}

// TestOneOfTwoLinksEnds: the other one goes on.
func TestOneOfTwoLinksEnds(t *testing.T) {
	w := newWorld(t)
	w.network(quietSpec("quiet"))
	db, err := w.attachSpec(servingSpec("db", "quiet"))
	must(t, err)
	one := w.mustAttach("one", linking("quiet", "db"))
	two := w.mustAttach("two", linking("quiet", "db"))
	both := slices.Sorted(slices.Values(append(waysFrom(one.Endpoints[0], db.Endpoints[0]), waysFrom(two.Endpoints[0], db.Endpoints[0])...)))
	if d := cmp.Diff(both, w.ways()); d != "" {
		t.Errorf("both (-want +got):\n%s", d)
	}
	must(t, w.Remove(ctx, "one", false))
	if d := cmp.Diff(waysFrom(two.Endpoints[0], db.Endpoints[0]), w.ways()); d != "" {
		t.Errorf("one is left (-want +got):\n%s", d)
	}
	var forgot []string
	for _, f := range w.ports.forgot {
		forgot = append(forgot, f.From.String()+" "+f.To.String()+" "+f.Proto)
	}
	slices.Sort(forgot)
	if d := cmp.Diff(waysFrom(one.Endpoints[0], db.Endpoints[0]), forgot); d != "" {
		t.Errorf("connections that are forgotten (-want +got):\n%s", d)
	}
}

func TestLinksThatLeadNowhereAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"front", "back"} {
		w.network(catenet.NetworkSpec{Name: name})
	}
	w.mustAttach("far", catenet.EndpointSpec{Network: "back"})
	w.mustAttach("near", linking("front"))
	w.mustAttach("next", linking("front", "near"))
	w.kernel.Adopt("/test/web")
	idle, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: "idle", Owner: catenet.OwnerRun, Process: &catenet.Process{Args: []string{"sleep"}},
		Networks: []catenet.EndpointSpec{{Network: "front"}}}, false)
	must(t, err)
	before := w.mark()
	for _, c := range []struct {
		link     string
		is       func(error) bool
		why, fix string
	}{
		{"nobody", catenet.IsNotFound, `no container "nobody"`, "run it first"},
		{"far", catenet.IsConflict, "not in network front", "catenet network connect front far first"},
		{"idle", catenet.IsConflict, "not running", "catenet start idle first"},
		{idle.ID[:12] + ":x", catenet.IsConflict, "container idle", "catenet start idle first"},
		{"web", catenet.IsInvalid, "cannot link to itself", "--network-alias"},
	} {
		for what, err := range map[string]error{
			"run": func() error {
				_, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("front", c.link)}})
				return err
			}(),
			"attach": func() error { _, err := w.attach("web", linking("front", c.link)); return err }(),
		} {
			if err == nil || !c.is(err) || !strings.Contains(err.Error(), c.why) || !strings.Contains(catenet.HintOf(err), c.fix) {
				t.Errorf("%s with a link to %s: %v (hint %q)", what, c.link, err, catenet.HintOf(err))
			}
		}
		w.unchanged(before)
	}
	must(t, w.Disconnect(ctx, "front", "near", false))
	for link, why := range map[string]string{"near": "itself", "next": "circle"} {
		if _, err := w.Connect(ctx, "front", "near", linking("", link)); err == nil || !strings.Contains(err.Error(), why) || catenet.HintOf(err) == "" {
			t.Errorf("near linked to %s: %v", link, err)
		}
	}
	_, err = w.Connect(ctx, "front", "near", linking("", "far:x"))
	if !catenet.IsConflict(err) {
		t.Errorf("connected with a link into another network: %v", err)
	}
}

// TestWhatLinksIsStartedAfterWhomItLinksTo: and finds a newcomer of that name.
func TestWhatLinksIsStartedAfterWhomItLinksTo(t *testing.T) {
	w := newWorld(t)
	db, err := w.run(catenet.SandboxSpec{Name: "db"})
	must(t, err)
	_, err = w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("bridge", db.ID[:12]+":store")}})
	must(t, err)
	must(t, w.Stop(ctx, "web", 0))
	must(t, w.Stop(ctx, "db", 0))
	w.restart()
	if err := w.Start(ctx, "web"); !catenet.IsConflict(err) || catenet.HintOf(err) != "catenet start db first" {
		t.Errorf("started before db: %v", err)
	}
	must(t, w.Remove(ctx, "db", false))
	if err := w.Start(ctx, "web"); !catenet.IsNotFound(err) || !strings.Contains(catenet.HintOf(err), "--name db") {
		t.Errorf("started without db: %v (%s)", err, catenet.HintOf(err))
	}
	again, err := w.run(catenet.SandboxSpec{Name: "db"})
	must(t, err)
	must(t, w.Start(ctx, "web"))
	if got := w.ask("web", "store"); got != again.Endpoints[0].IPv4.Addr().String() {
		t.Errorf("store is %s, want the new db's address", got)
	}
}

// TestALinkLeadsToANameAndNoID: that somebody's ID begins like the name of
// whom is gone says nothing.
func TestALinkLeadsToANameAndNoID(t *testing.T) {
	w := newWorld(t)
	name := w.mustAttach("other").ID[:12]
	w.mustAttach(name)
	_, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("bridge", name)}})
	must(t, err)
	must(t, w.Stop(ctx, "web", 0))
	must(t, w.Remove(ctx, name, false))
	if err := w.Start(ctx, "web"); !catenet.IsNotFound(err) {
		t.Errorf("started without %s: %v", name, err)
	}
}

func TestLinkEnvironment(t *testing.T) {
	target := &record{SandboxStatus: catenet.SandboxStatus{Sandbox: catenet.Sandbox{SandboxSpec: catenet.SandboxSpec{
		Name:   "db",
		Expose: []catenet.PortSpec{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 5433}, {Proto: "tcp", Port: 7000}},
		Ports: []catenet.PortSpec{{Proto: "tcp", HostPort: 80, Port: 5432}, {Proto: "tcp", HostPort: 81, Port: 5432}, {Proto: "sctp", Port: 7001},
			{Proto: "tcp", Port: 5434}},
		Process: &catenet.Process{Args: []string{"x"}, Env: []string{"VERSION=17", "HOME=/root", "PATH=/bin", "A=b=c"}},
	}}}}
	l := linked{Link: catenet.Link{Container: "db", Alias: "my-store"}, target: target, to: catenet.Endpoint{IPv4: netip.MustParsePrefix("172.18.0.2/16"), IPv6: netip.MustParsePrefix("fd00::2/64")}}
	port := func(n, proto string) []string {
		k, url := "MY_STORE_PORT_"+n+"_"+strings.ToUpper(proto), proto+"://172.18.0.2:"+n
		return []string{k + "=" + url, k + "_ADDR=172.18.0.2", k + "_PORT=" + n, k + "_PROTO=" + proto}
	}
	want := slices.Concat([]string{"MY_STORE_NAME=/web/my-store", "MY_STORE_PORT=tcp://172.18.0.2:5432"},
		port("5432", "tcp"), port("5433", "tcp"), port("5434", "tcp"),
		[]string{"MY_STORE_PORT_5432_TCP_START=tcp://172.18.0.2:5432", "MY_STORE_PORT_5432_TCP_PORT_START=5432",
			"MY_STORE_PORT_5432_TCP_END=tcp://172.18.0.2:5434", "MY_STORE_PORT_5432_TCP_PORT_END=5434"},
		port("7000", "tcp"), port("7001", "sctp"), port("53", "udp"),
		[]string{"MY_STORE_ENV_VERSION=17", "MY_STORE_ENV_A=b=c"})
	if d := cmp.Diff(want, l.env("web")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	l.to.IPv4, l.target = netip.Prefix{}, &record{}
	l.target.Ports = []catenet.PortSpec{{Proto: "tcp", Port: 80}}
	if got := l.env("web"); !slices.Contains(got, "MY_STORE_PORT=tcp://[fd00::2]:80") || !slices.Contains(got, "MY_STORE_PORT_80_TCP_ADDR=fd00::2") {
		t.Errorf("with IPv6 alone: %q", got)
	}
}

// TestLinksAreRightHoweverEndsChange: both of them at the same time.
func TestLinksAreRightHoweverEndsChange(t *testing.T) {
	w := newWorld(t)
	w.network(quietSpec("quiet"))
	for _, n := range []string{"open", "more"} {
		w.network(catenet.NetworkSpec{Name: n})
	}
	_, err := w.attachSpec(servingSpec("db", "quiet"))
	must(t, err)
	web, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("quiet", "db:store", "db:base")}})
	must(t, err)
	var wg sync.WaitGroup
	for who, network := range map[string]string{"db": "quiet", "web": "open"} {
		wg.Go(func() {
			for range 30 {
				if who == "web" {
					_, err := w.Connect(ctx, network, who, linking("", "db:again"))
					if err != nil && !catenet.IsConflict(err) { // db may be out of it just now
						t.Error(err)
					}
					w.Disconnect(ctx, network, who, true) // it may not be in it
					continue
				}
				if err := w.Disconnect(ctx, network, who, false); err != nil {
					t.Error(err)
				}
				if _, err := w.Connect(ctx, network, who, catenet.EndpointSpec{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 30 {
			if _, err := w.Connect(ctx, "open", "db", catenet.EndpointSpec{}); err != nil {
				t.Error(err)
			}
			if err := w.Disconnect(ctx, "open", "db", false); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	w.leads("after all of it", web)
	must(t, w.Disconnect(ctx, "quiet", "db", false))
	w.leads("disconnected", web)
}

// TestWaysOfOthersAreTriedAgain: what fails of somebody else's link is no
// failure of the request, and is not left so.
func TestWaysOfOthersAreTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.network(quietSpec("quiet"))
	_, err := w.attachSpec(servingSpec("db", "quiet"))
	must(t, err)
	web, err := w.run(catenet.SandboxSpec{Name: "web", Networks: []catenet.EndpointSpec{linking("quiet", "db:store", "db:base")}})
	must(t, err)
	must(t, w.Disconnect(ctx, "quiet", "db", false))
	var refused atomic.Int32
	w.rules.Refuse = func(op nft.Op) error {
		if strings.HasPrefix(op.Set.Name, "links") && refused.Add(1) == 1 {
			return errors.New("not now")
		}
		return nil
	}
	_, err = w.Connect(ctx, "quiet", "db", catenet.EndpointSpec{})
	must(t, err)
	eventually(t, "the way is open", func() bool { return len(w.ways()) > 0 })
	if refused.Load() < 2 {
		t.Error("nothing was refused: this test proves nothing")
	}
	w.leads("tried again", web)
}
