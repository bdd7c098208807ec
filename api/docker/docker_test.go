package docker

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
)

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"1.40": "", "1.41": "", "1.56": "", "1.056": "", "1.56.0": "",
		"1.39": "too old", "1.4": "too old", "1": "too old", "0": "too old", "...": "too old", "": "too old",
		"1.57": "too new", "1.100": "too new", "2": "too new", "1.56.1": "too new",
	} {
		err := CheckVersion(version)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", version, err, want)
		}
	}
	if !Since("1.52", "1.52") || Since("1.9", "1.52") || !Since("1.56", "1.52") {
		t.Error("versions are compared as text")
	}
}

func TestFiltersOfEvents(t *testing.T) {
	join := events.Message{Type: "network", Action: "connect", Scope: "local", Actor: events.Actor{ID: "abcdef", Attributes: map[string]string{"name": "front", "container": "123456"}}}
	for text, want := range map[string]bool{
		``: true, `{}`: true, `null`: true,
		`{"type":{"network":true}}`:              true,
		`{"type":["container"]}`:                 false,
		`{"event":["create","connect"]}`:         true,
		`{"event":["disconnect"]}`:               false,
		`{"network":["fro"]}`:                    true,
		`{"network":["abc"]}`:                    true,
		`{"network":["bcd"]}`:                    false,
		`{"container":["123"]}`:                  false, // as with Docker: of whom it happened to
		`{"scope":["local"],"type":["network"]}`: true,
		`{"scope":["swarm"]}`:                    false,
		`{"label":["name=front","container"]}`:   true,
		`{"label":["name=front","colour"]}`:      false,
		`{"image":["alpine"]}`:                   false,
		`{"colour":["red"]}`:                     true,
		`{"type":[]}`:                            true,
	} {
		f, err := ParseFilter(text, nil)
		if err != nil || MatchEvent(f, join) != want {
			t.Errorf("%s matches: %v, %v", text, !want, err)
		}
	}
}

// FuzzFilter: no text makes the reader of filters, or who matches by them, fail.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{``, `{"name":{"^a(b|c)*$":true}}`, `{"label!":["a=b"],"until":["1h"]}`, `{"id":["["]}`, `{"dangling":["1"]}`, `[1]`, `{"type":7}`} {
		f.Add(seed)
	}
	keys := append(append([]string{}, catenet.NetworkFilterKeys...), catenet.PruneFilterKeys...)
	f.Fuzz(func(t *testing.T, text string) {
		if filter, err := ParseFilter(text, keys); err == nil {
			filter.MatchNetwork(catenet.Network{}, true, time.Time{})
		} else if !utf8.ValidString(err.Error()) && utf8.ValidString(text) {
			t.Errorf("%q: the refusal is no text: %q", text, err)
		}
		if filter, err := ParseFilter(text, nil); err == nil {
			MatchEvent(filter, events.Message{})
		}
	})
}

// TestFieldsBeforeOptions: what a field says counts, and no option says it too.
func TestFieldsBeforeOptions(t *testing.T) {
	yes, no := true, false
	options := map[string]string{catenet.OptionIPv4: "true", catenet.OptionIPv6: "false", "x": "y"}
	s, err := Spec(network.CreateRequest{Name: "n", EnableIPv4: &no, EnableIPv6: &yes, Options: options})
	if err != nil || !s.DisableIPv4 || !s.IPv6 || len(s.Options) != 1 || len(options) != 3 {
		t.Errorf("%+v, %v, and the request's are %v", s, err, options)
	}
	s, err = Spec(network.CreateRequest{Name: "n", Options: options})
	if err != nil || len(s.Options) != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestLinks(t *testing.T) {
	for text, want := range map[string]catenet.Link{
		"web": {Container: "web", Alias: "web"}, "web:w": {Container: "web", Alias: "w"},
		"/web:/self/w": {Container: "web", Alias: "w"}, // as inspect tells it
		"":             {}, "a:b:c": {}, ":w": {},
	} {
		s, err := EndpointSpec(&network.EndpointSettings{Links: []string{text}}, MaxVersion)
		if want == (catenet.Link{}) {
			if !catenet.IsInvalid(err) {
				t.Errorf("%q: %+v, %v", text, s, err)
			}
		} else if err != nil || len(s.Links) != 1 || s.Links[0] != want {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

// TestFailures: what is no case of Docker's keeps its own words, its next step
// and its status.
func TestFailures(t *testing.T) {
	odd := catenet.Conflictf("a clash").WithHint("do this")
	for _, err := range []error{
		NoNetwork(odd, "n", nil), NoContainer(odd, "c"), NotCreated(odd, catenet.NetworkSpec{Name: "n"}, nil), NotRemoved(odd, catenet.NetworkStatus{}, nil),
		NotConnected(odd, catenet.NetworkStatus{}, catenet.SandboxStatus{}, catenet.EndpointSpec{}), NotDisconnected(odd, catenet.NetworkStatus{}, catenet.SandboxStatus{}),
	} {
		if f := FailureOf(err); f.Status != 409 || f.Message != "a clash (do this)" {
			t.Errorf("%+v", f)
		}
	}
	if f := FailureOf(errors.New("ours")); f.Status != 500 {
		t.Errorf("%+v", f)
	}
}
