package link

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// filters are those of a port, as tc tells of them.
func (a *attached) filters() string {
	return a.host.Run("tc", "filter", "show", "dev", vethLink(1, nil, "").Name, "ingress")
}

// Only an isolated port has the filter, and what others hang there stays.
func TestFilterFollowsIsolation(t *testing.T) {
	a := newAttached(t)
	l := vethLink(1, a.ns, "eth0")
	name := gateward(bridgeLink().MAC)
	if !strings.Contains(a.filters(), name) {
		t.Fatalf("an isolated port has no filter: %q", a.filters())
	}
	a.host.Run("tc", "filter", "add", "dev", l.Name, "ingress", "pref", "7", "u32", "match", "u8", "0", "0", "action", "mirred", "egress", "mirror", "dev", "br0")
	l.Isolated = false
	for range 2 {
		if err := a.h.EnsureLink(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if out := a.filters(); strings.Contains(out, name) || !strings.Contains(out, "pref 7") {
		t.Errorf("after isolation: %s", out)
	}
	before := a.h.Writes()
	if err := a.h.EnsureLink(t.Context(), l); err != nil || a.h.Writes() != before {
		t.Errorf("a further pass: %v, %d changes", err, a.h.Writes()-before)
	}
	open := vethLink(2, a.ns, "eth1")
	open.Isolated = false
	if err := a.h.EnsureLink(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	if out := a.host.Run("tc", "qdisc", "show", "dev", open.Name); strings.Contains(out, "clsact") {
		t.Errorf("a port that is not isolated has %s", out)
	}
}

// A kernel without the filters is named once; all else goes on.
func TestKernelWithoutFilters(t *testing.T) {
	a := newAttached(t)
	var log bytes.Buffer
	a.h.log = slog.New(slog.NewTextHandler(&log, nil))
	for range 2 {
		a.h.lackGateward(errors.New("no such qdisc"))
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "no such qdisc") {
		t.Errorf("the log says it %d times: %s", n, &log)
	}
	a.host.Run("ip", "link", "del", vethLink(1, nil, "").Name)
	a.attach()
	a.settled()
	a.ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
	if out := a.filters(); out != "" {
		t.Errorf("there is a filter: %s", out)
	}
}
