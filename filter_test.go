package catenet

import (
	"testing"
	"time"
)

func TestFilterNetworks(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	n := Network{ID: "abcdef", Created: now.Add(-time.Hour)}
	n.Name, n.Driver, n.Labels = "frontend", "bridge", map[string]string{"tier": "1", "x": ""}
	for want, filters := range map[bool][][]string{
		true: {
			nil, {"name=front"}, {"name=back", "name=end"}, {"id=abc"}, {"id=^abc"}, {"driver=bridge", "type=custom"},
			{"name=^frontend$"}, {"name=^f.*d$"}, {"dangling=true"}, {"dangling=1", "scope=local"}, {"label!=y"}, {"label!=tier", "label!=y"},
			{"label=tier"}, {"label=tier=1", "label=x="}, {"until=30m"}, {"until=2026-01-01T23:30:00Z"},
			{"until=2026-01-02"}, {"until=2026-01-01T23:30"}, {"until=1767310200"}, {"until=1767310200.5"},
		},
		false: {
			{"name=back"}, {"id=^bcd"}, {"name=^front$"}, {"name=["}, {"dangling=false"}, {"scope=swarm"}, {"label!=tier"}, {"driver=host"}, {"type=builtin"}, {"name=front", "driver=host"},
			{"label=tier=2"}, {"label=tier", "label=y"}, {"until=2h"}, {"until=1767300000"},
		},
	} {
		for _, args := range filters {
			f, err := ParseFilter(args, append(PruneFilterKeys, NetworkFilterKeys...))
			if err != nil {
				t.Errorf("%v: %v", args, err)
			}
			if f.MatchNetwork(n, false, now) != want {
				t.Errorf("%v matches: %v", args, !want)
			}
		}
	}
	n.Predefined = true
	if !(Filter{"type": {"builtin"}}).MatchNetwork(n, false, now) {
		t.Error("a predefined network is not builtin")
	}
}

func TestFilterEvents(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	connect := Event{Type: "network", Action: "connect", ID: "beef", Attributes: map[string]string{"name": "front", "container": id, "container_name": "web"}}
	die := Event{Type: "sandbox", Action: "die", ID: id, Attributes: map[string]string{"name": "web"}}
	for _, tt := range []struct {
		f            Filter
		connect, die bool
	}{
		{nil, true, true},
		{Filter{"type": {"network"}}, true, false},
		{Filter{"event": {"die", "start"}}, false, true},
		{Filter{"container": {"web"}}, true, true},
		{Filter{"container": {"0123"}}, true, true},
		{Filter{"container": {"front"}}, false, false},
		{Filter{"network": {"front"}}, true, false},
		{Filter{"network": {"bee"}}, true, false},
		{Filter{"network": {"web"}}, false, false},
		{Filter{"network": {"front"}, "event": {"disconnect"}}, false, false},
	} {
		if got := tt.f.MatchEvent(connect); got != tt.connect {
			t.Errorf("%v matches connect: %v", tt.f, got)
		}
		if got := tt.f.MatchEvent(die); got != tt.die {
			t.Errorf("%v matches die: %v", tt.f, got)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, args := range [][]string{{"name"}, {"name="}, {"colour=red"}, {"type=odd"}, {"until=noon"}, {"until=1h", "until=2h"}, {"dangling=perhaps"}, {"dangling=1", "dangling=0"}, {"until=1.2.3"}, {"until="}} {
		if f, err := ParseFilter(args, append(PruneFilterKeys, NetworkFilterKeys...)); !IsInvalid(err) {
			t.Errorf("%v: %v, %v", args, f, err)
		}
	}
}
