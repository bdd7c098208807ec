package docker

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/catenet/catenet"
)

// ParseFilter reads the parameter filters: {"driver":{"bridge":true}}, or, from
// old clients, {"driver":["bridge"]}. Keys that are none of known are refused;
// with none known, every key is taken.
func ParseFilter(text string, known []string) (catenet.Filter, error) {
	f := catenet.Filter{}
	if text == "" {
		return f, nil
	}
	var sets map[string]map[string]bool
	if json.Unmarshal([]byte(text), &sets) == nil {
		for key, values := range sets {
			f[key] = slices.Sorted(maps.Keys(values))
		}
	} else if json.Unmarshal([]byte(text), &f) != nil {
		return nil, refuse(http.StatusBadRequest, "invalid filter")
	}
	if len(known) == 0 {
		return f, nil
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, key) {
			return nil, refuse(http.StatusBadRequest, "invalid filter '%s'", key)
		}
	}
	return f, f.Validate(known, time.Now())
}

// MatchEvent reports whether an event passes a filter as Docker has it: whom it
// happened to is named by the beginning of the name or ID, whatever kind the key
// says, and keys that nobody knows are passed by.
func MatchEvent(f catenet.Filter, e events.Message) bool {
	for key, values := range f {
		match := slices.ContainsFunc(values, func(v string) bool { return matchEvent(key, v, e) })
		if key == "label" { // all of them
			match = !slices.ContainsFunc(values, func(v string) bool { return !matchEvent(key, v, e) })
		}
		if len(values) > 0 && !match {
			return false
		}
	}
	return true
}

func matchEvent(key, value string, e events.Message) bool {
	switch key {
	case "type":
		return string(e.Type) == value
	case "event":
		return string(e.Action) == value
	case "scope":
		return e.Scope == value
	case "label":
		name, want, valued := strings.Cut(value, "=")
		got, there := e.Actor.Attributes[name]
		return there && (!valued || got == want)
	case "image":
		return e.Actor.ID == value || e.Actor.Attributes["image"] == value
	case "container", "network", "daemon", "plugin", "volume", "service", "node", "secret", "config":
		return strings.HasPrefix(e.Actor.ID, value) || strings.HasPrefix(e.Actor.Attributes["name"], value)
	}
	return true
}
