package catenet

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Filter chooses networks or events, as Docker's --filter does: values of one
// key are alternatives (but all labels must match), and all keys must match.
// An empty Filter matches everything.
type Filter map[string][]string

// The keys that each kind of Filter knows.
var (
	NetworkFilterKeys = []string{"driver", "id", "label", "name", "type"}
	PruneFilterKeys   = []string{"label", "until"}
	EventFilterKeys   = []string{"container", "event", "network", "type"}
)

// ParseFilter reads arguments of --filter, each KEY=VALUE, and refuses keys
// that are none of known.
func ParseFilter(args []string, known []string) (Filter, error) {
	f := Filter{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || value == "" {
			return nil, Invalidf("filter %q has no value", arg).WithHint("a filter is written KEY=VALUE, keys: %s", strings.Join(known, ", "))
		}
		f[key] = append(f[key], value)
	}
	return f, f.Validate(known, time.Now())
}

// Validate refuses keys that are none of known, and values that no key takes.
func (f Filter) Validate(known []string, now time.Time) error {
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, key) {
			return Invalidf("unknown filter %q", key).WithHint("filters here: %s", strings.Join(known, ", "))
		}
		for _, v := range f[key] {
			switch {
			case key == "until":
				if _, err := ParseTime(v, now); err != nil {
					return err
				}
			case key == "type" && slices.Contains(known, "driver") && v != "builtin" && v != "custom":
				return Invalidf("filter type=%s: a network is builtin or custom", v)
			}
		}
	}
	return nil
}

// MatchNetwork reports whether a network passes. now is what durations of
// "until" are counted back from.
func (f Filter) MatchNetwork(n Network, now time.Time) bool {
	kind := "custom"
	if n.Predefined {
		kind = "builtin"
	}
	return f.any("driver", func(v string) bool { return n.Driver == v }) &&
		f.any("id", func(v string) bool { return strings.HasPrefix(n.ID, v) }) &&
		f.any("name", func(v string) bool { return strings.Contains(n.Name, v) }) &&
		f.any("type", func(v string) bool { return kind == v }) &&
		f.all("label", func(v string) bool { return matchLabel(n.Labels, v) }) &&
		f.all("until", func(v string) bool {
			t, err := ParseTime(v, now)
			return err == nil && n.Created.Before(t)
		})
}

// MatchEvent reports whether an event passes. A container or network is named
// by its name, its ID or a prefix of its ID.
func (f Filter) MatchEvent(e Event) bool {
	attr := func(keys ...string) func(string) bool {
		return func(v string) bool {
			return slices.ContainsFunc(keys, func(k string) bool {
				a := e.Attributes[k]
				return a == v || len(a) == 64 && strings.HasPrefix(a, v)
			})
		}
	}
	of := func(typ string, v string) bool {
		return e.Type == typ && (strings.HasPrefix(e.ID, v) || e.Attributes["name"] == v)
	}
	return f.any("type", func(v string) bool { return e.Type == v }) &&
		f.any("event", func(v string) bool { return e.Action == v }) &&
		f.any("container", func(v string) bool {
			return of("sandbox", v) || e.Type != "sandbox" && attr("container", "container_name")(v)
		}) &&
		f.any("network", func(v string) bool { return of("network", v) })
}

func (f Filter) any(key string, match func(string) bool) bool {
	vs, ok := f[key]
	return !ok || slices.ContainsFunc(vs, match)
}

func (f Filter) all(key string, match func(string) bool) bool {
	for _, v := range f[key] {
		if !match(v) {
			return false
		}
	}
	return true
}

// matchLabel reports whether want, KEY or KEY=VALUE, is among labels.
func matchLabel(labels map[string]string, want string) bool {
	key, value, hasValue := strings.Cut(want, "=")
	got, ok := labels[key]
	return ok && (!hasValue || got == value)
}

// ParseTime reads a time: a duration before now, or RFC 3339.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, Invalidf("%q is no time", s).WithHint("a time is a duration before now, like 24h, or like 2026-01-02T15:04:05Z")
	}
	return t, nil
}
