// Package conformance is the suite that every driver passes: on the fake
// kernel, where each call fails once, and on the real one.
package conformance

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/kernel"
)

// Run holds a driver against its contract, with each of the networks, which
// are complete and valid and share nothing.
func Run(t *testing.T, d driver.Driver, networks ...catenet.Network) {
	t.Run("words", func(t *testing.T) { words(t, d, networks) })
	for name, open := range map[string]func(testing.TB) World{"fake": Fake, "kernel": Real} {
		for _, n := range networks {
			t.Run(name+"/"+n.Name, func(t *testing.T) {
				t.Parallel()
				life(t, d, open(t), n)
			})
			t.Run(name+"/"+n.Name+"/parked", func(t *testing.T) {
				t.Parallel()
				parked(t, d, open(t), n)
			})
		}
		if len(networks) > 1 {
			t.Run(name+"/apart", func(t *testing.T) {
				t.Parallel()
				apart(t, d, open(t), networks)
			})
		}
	}
	for _, n := range networks {
		t.Run("failing/"+n.Name, func(t *testing.T) { failing(t, d, n) })
	}
}

// words checks what needs no kernel.
func words(t *testing.T, d driver.Driver, networks []catenet.Network) {
	if d.Name() == "" {
		t.Error("the driver has no name")
	}
	const unknown = "com.example.unheard-of"
	for _, n := range networks {
		if err := d.Validate(n.NetworkSpec); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		early := n.NetworkSpec
		early.Pools = nil
		if err := d.Validate(early); err != nil {
			t.Errorf("%s, before it has pools: %v", n.Name, err)
		}
		odd := n.NetworkSpec
		odd.Options = map[string]string{unknown: "1"}
		names(t, d.Validate(odd), unknown, d.Options().Network)
		names(t, d.ValidateEndpoint(n, catenet.EndpointSpec{Options: odd.Options}), unknown, d.Options().Endpoint)
	}
}

// names checks that an unknown option is refused by name, with those there are.
func names(t *testing.T, err error, option string, right []string) {
	t.Helper()
	if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), option) || catenet.HintOf(err) == "" {
		t.Errorf("an unknown option: %v (hint %q), want an invalid error that names it, and a hint", err, catenet.HintOf(err))
	}
	for _, key := range right {
		if !strings.Contains(catenet.HintOf(err), key) {
			t.Errorf("the hint to an unknown option is %q, without %s", catenet.HintOf(err), key)
		}
	}
}

// bound gives an endpoint a bandwidth, unless the driver refuses it by name.
func bound(t *testing.T, d driver.Driver, n catenet.Network, ep *catenet.Endpoint) {
	t.Helper()
	ep.Spec.Bandwidth = catenet.Bandwidth{In: catenet.Rate{Bits: 1e9}, Out: catenet.Rate{Bits: 1e9}}
	err := d.ValidateEndpoint(n, ep.Spec)
	if err == nil {
		return
	}
	ep.Spec.Bandwidth = catenet.Bandwidth{}
	if !catenet.IsUnsupported(err) || !strings.Contains(err.Error(), "bandwidth") {
		t.Errorf("a bandwidth: %v, want it to be set, or refused as unsupported", err)
	}
}

// life takes a network with two endpoints from beginning to end.
func life(t *testing.T, d driver.Driver, w World, n catenet.Network) {
	ctx := t.Context()
	empty := w.State()
	places := []*kernel.Namespace{w.Place(), w.Place()}
	eps := []catenet.Endpoint{Endpoint(n, 1), Endpoint(n, 2)}
	bound(t, d, n, &eps[0])
	pass := func() (driver.State, []driver.Attachment) {
		t.Helper()
		state, err := d.Up(ctx, w.Host, n)
		if err != nil {
			t.Fatalf("up: %v", err)
		}
		var all []driver.Attachment
		for i, ep := range eps {
			a, err := d.Link(ctx, w.Host, n, ep, driver.Place{NS: places[i]})
			if err != nil {
				t.Fatalf("link: %v", err)
			}
			if err := w.Host.Dress(ctx, places[i], kernel.Outfit{Interfaces: []kernel.Interface{a.Interface}}); err != nil {
				t.Fatalf("dress: %v", err)
			}
			all = append(all, a)
		}
		return state, all
	}
	state, links := pass()
	for i, a := range links {
		checkAttachment(t, n, eps[i], a)
	}
	checkMarks(t, w, links)
	before := w.Writes()
	state2, links2 := pass()
	if !reflect.DeepEqual(state, state2) || !reflect.DeepEqual(links, links2) {
		t.Errorf("a second pass says otherwise:\n%+v\n%+v\nnot\n%+v\n%+v", state2, links2, state, links)
	}
	if n := w.Writes() - before; n != 0 {
		t.Errorf("a second pass wrote %d changes", n)
	}
	// What somebody takes away comes back.
	full := w.State()
	for i, a := range links {
		if a.HostLink == "" {
			w.Cut(places[i], a.Interface.Name)
		} else if err := w.Host.DeleteLinks(ctx, a.HostLink); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	if got := w.State(); got != full {
		t.Errorf("mended, it is\n%s\nand was\n%s", got, full)
	}
	for range 2 { // absent things are no error
		for i, ep := range eps {
			if err := d.Unlink(ctx, w.Host, n, driver.Place{NS: places[i]}, ep); err != nil {
				t.Errorf("unlink: %v", err)
			}
		}
	}
	for range 2 {
		if err := d.Down(ctx, w.Host, n); err != nil {
			t.Errorf("down: %v", err)
		}
	}
	if got := w.State(); got != empty {
		t.Errorf("left:\n%s\nat first there was\n%s", got, empty)
	}
}

// parked has an endpoint's link wait on the host for somebody who takes it, where
// the driver can do that.
func parked(t *testing.T, d driver.Driver, w World, n catenet.Network) {
	ctx, ep, empty := t.Context(), Endpoint(n, 1), w.State()
	if _, err := d.Up(ctx, w.Host, n); err != nil {
		t.Fatalf("up: %v", err)
	}
	up := w.State()
	a, err := d.Link(ctx, w.Host, n, ep, driver.Place{})
	switch {
	case catenet.IsUnsupported(err):
		if got := w.State(); got != up {
			t.Errorf("it refused, and left\n%s", got)
		}
	case err != nil:
		t.Fatalf("link: %v", err)
	default:
		if want := (driver.Place{}).Inner(ep); a.Interface.Link != want || a.Interface.Name != ep.Interface {
			t.Errorf("what waits is %s, to be called %s; want %s and %s", a.Interface.Link, a.Interface.Name, want, ep.Interface)
		}
		before := w.Writes()
		if again, err := d.Link(ctx, w.Host, n, ep, driver.Place{}); err != nil || !reflect.DeepEqual(again, a) || w.Writes() != before {
			t.Errorf("a second time: %+v, %v, %d changes", again, err, w.Writes()-before)
		}
		if err := d.Unlink(ctx, w.Host, n, driver.Place{}, ep); err != nil {
			t.Errorf("unlink: %v", err)
		}
	}
	if err := d.Down(ctx, w.Host, n); err != nil {
		t.Errorf("down: %v", err)
	}
	if got := w.State(); got != empty {
		t.Errorf("left:\n%s\nat first there was\n%s", got, empty)
	}
}

// checkAttachment compares the inside of an endpoint with what it was to be.
func checkAttachment(t *testing.T, n catenet.Network, ep catenet.Endpoint, a driver.Attachment) {
	t.Helper()
	i := a.Interface
	if a.HostLink != "" && a.HostLink != driver.HostLinkName(ep.ID) {
		t.Errorf("the host's link is called %s, want %s", a.HostLink, driver.HostLinkName(ep.ID))
	}
	if i.Name != ep.Interface || i.Alias != kernel.Mark+ep.ID || i.MAC.String() != ep.MAC {
		t.Errorf("the inside is %s %s %s", i.Name, i.Alias, i.MAC)
	}
	want := map[netip.Prefix]bool{ep.IPv4: ep.IPv4.IsValid(), ep.IPv6: ep.IPv6.IsValid()}
	delete(want, netip.Prefix{})
	for _, p := range i.Addrs {
		if !want[p] {
			t.Errorf("it has the address %s", p)
		}
		delete(want, p)
	}
	if len(want) > 0 {
		t.Errorf("it lacks %v", want)
	}
	if i.NoIPv6 == ep.IPv6.IsValid() {
		t.Errorf("IPv6 off is %t, with the address %v", i.NoIPv6, ep.IPv6)
	}
	var four, six bool
	for _, r := range i.Routes {
		if r.Dst.Bits() == 0 {
			four, six = four || r.Dst.Addr().Is4(), six || r.Dst.Addr().Is6()
		}
	}
	if four != (ep.DefaultRoute4 && !n.Internal) || six != (ep.DefaultRoute6 && !n.Internal) {
		t.Errorf("default routes: %v", i.Routes)
	}
}

// checkMarks finds every link of the attachments among those that are ours.
func checkMarks(t *testing.T, w World, links []driver.Attachment) {
	t.Helper()
	ours, err := w.Host.Links(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	marked := map[string]string{}
	for _, l := range ours {
		marked[l.Name] = l.Alias
	}
	for _, a := range links {
		if a.HostLink != "" && marked[a.HostLink] != a.Interface.Alias {
			t.Errorf("link %s is marked %q, want %q", a.HostLink, marked[a.HostLink], a.Interface.Alias)
		}
	}
}

// apart checks that the end of one network leaves the others alone.
func apart(t *testing.T, d driver.Driver, w World, networks []catenet.Network) {
	ctx := t.Context()
	up := func(list []catenet.Network) {
		for _, n := range list {
			if _, err := d.Up(ctx, w.Host, n); err != nil {
				t.Fatalf("up %s: %v", n.Name, err)
			}
		}
	}
	up(networks[1:])
	others := w.State()
	up(networks[:1])
	if err := d.Down(ctx, w.Host, networks[0]); err != nil {
		t.Fatal(err)
	}
	if got := w.State(); got != others {
		t.Errorf("after the end of %s there is\n%s\nbefore it came there was\n%s", networks[0].Name, got, others)
	}
}

// failing makes every call to the kernel fail in turn: what Up and Link
// report must be the failure, nothing of theirs may be left, and what the
// network wants of the firewall is known all the same.
func failing(t *testing.T, d driver.Driver, n catenet.Network) {
	boom := errors.New("boom")
	up, err := d.Up(t.Context(), Fake(t).Host, n)
	if err != nil {
		t.Fatalf("up: %v", err)
	}
	for at := 1; ; at++ {
		w := Fake(t)
		ns := w.Place()
		w.FailAt(at, boom)
		before := w.State()
		state, err := d.Up(t.Context(), w.Host, n)
		if !reflect.DeepEqual(state.Firewall, up.Firewall) {
			t.Errorf("up, call %d: wants %+v of the firewall, not %+v", at, state.Firewall, up.Firewall)
		}
		if err != nil {
			check(t, fmt.Sprintf("up, call %d", at), err, boom, before, w.State())
			continue
		}
		before = w.State()
		if _, err = d.Link(t.Context(), w.Host, n, Endpoint(n, 1), driver.Place{NS: ns}); err == nil {
			return
		}
		check(t, fmt.Sprintf("link, call %d", at), err, boom, before, w.State())
	}
}

func check(t *testing.T, what string, err, want error, before, after string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	if before != after {
		t.Errorf("%s failed and left\n%s\nbefore there was\n%s", what, after, before)
	}
}
