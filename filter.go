package catenet

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Filter chooses networks or events, as Docker's --filter does: values of one
// key are alternatives (but all labels must match), and all keys must match.
// An empty Filter matches everything.
type Filter map[string][]string

// The keys that each kind of Filter knows.
var (
	NetworkFilterKeys = []string{"dangling", "driver", "id", "label", "name", "scope", "type"}
	PruneFilterKeys   = []string{"label", "label!", "until"}
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
		if len(f[key]) > 1 && (key == "until" || key == "dangling") {
			return Invalidf("filter %s is there %d times", key, len(f[key])).WithHint("give it once")
		}
		for _, v := range f[key] {
			switch {
			case key == "until":
				if _, err := ParseTime(v, now); err != nil {
					return err
				}
			case key == "dangling":
				if _, err := strconv.ParseBool(v); err != nil {
					return Invalidf("filter dangling=%s: it is neither true nor false", v)
				}
			case key == "type" && slices.Contains(known, "driver") && v != "builtin" && v != "custom":
				return Invalidf("filter type=%s: a network is builtin or custom", v)
			}
		}
	}
	return nil
}

// MatchNetwork reports whether a network passes. used says that containers are
// in it; now is what durations of "until" are counted back from.
func (f Filter) MatchNetwork(n Network, used bool, now time.Time) bool {
	kind := "custom"
	if n.Predefined {
		kind = "builtin"
	}
	label := func(v string) bool { return matchLabel(n.Labels, v) }
	without := f["label!"] // who has all of these does not pass
	return f.any("driver", func(v string) bool { return n.Driver == v }) &&
		f.any("id", func(v string) bool { return matchText(n.ID, v) }) &&
		f.any("name", func(v string) bool { return matchText(n.Name, v) }) &&
		f.any("type", func(v string) bool { return kind == v }) &&
		f.any("scope", func(v string) bool { return v == ScopeLocal }) &&
		f.any("dangling", func(v string) bool {
			dangling, err := strconv.ParseBool(v)
			return err == nil && dangling == (!n.Predefined && !used)
		}) &&
		f.all("label", label) && (len(without) == 0 || !f.all("label!", label)) &&
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

// matchText reports whether text has want in it, or what matches it as a
// regular expression: ^web$.
func matchText(text, want string) bool {
	if strings.Contains(text, want) {
		return true
	}
	re, err := regexp.Compile(want)
	return err == nil && re.MatchString(text)
}

// matchLabel reports whether want, KEY or KEY=VALUE, is among labels.
func matchLabel(labels map[string]string, want string) bool {
	key, value, hasValue := strings.Cut(want, "=")
	got, ok := labels[key]
	return ok && (!hasValue || got == value)
}

// ParseTime reads a time as Docker does: a duration before now, RFC 3339 or the
// beginning of it (without a zone: now's), or seconds since 1970.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && s != "0" {
		return now.Add(-d), nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
		if t, err := time.Parse(layout+"Z07:00", s); err == nil {
			return t, nil
		}
	}
	if sec, fraction, _ := strings.Cut(s, "."); sec != "" && len(fraction) <= 9 {
		n, err := strconv.ParseInt(sec, 10, 64)
		nano, nerr := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
		if err == nil && nerr == nil {
			return time.Unix(n, int64(nano)), nil
		}
	}
	return time.Time{}, Invalidf("%q is no time", s).
		WithHint("a time is a duration before now, like 24h, or like 2026-01-02T15:04:05Z, or seconds since 1970")
}
