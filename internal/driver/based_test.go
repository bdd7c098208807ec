package driver_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
)

// optioned is a driver that has a name and options, and does nothing.
type optioned struct {
	driver.Driver
	name    string
	options []string
}

func (d optioned) Name() string                   { return d.name }
func (d optioned) Options() catenet.DriverOptions { return catenet.DriverOptions{Network: d.options} }

// Each of the two drivers sees what it knows of the options, and the network as it
// was asked for is left alone.
func TestApart(t *testing.T) {
	base := optioned{name: "bridge", options: []string{"name"}}
	d := optioned{name: "wide", options: []string{"peers", "name"}}
	asked := map[string]string{"peers": "all", "name": "br7", catenet.OptionMTUShort: "1400"}
	spec := catenet.NetworkSpec{Name: "n", Options: maps.Clone(asked)}
	own, rest, err := driver.Apart(d, base, spec, "peers")
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(own, map[string]string{"peers": "all"}) {
		t.Errorf("its own: %v", own)
	}
	if want := map[string]string{"name": "br7", catenet.OptionMTUShort: "1400"}; rest.Name != "n" || !maps.Equal(rest.Options, want) {
		t.Errorf("for the other: %+v", rest)
	}
	if !maps.Equal(spec.Options, asked) {
		t.Errorf("what was asked for is %v now", spec.Options)
	}
}

// One that neither knows is named, with those that there are.
func TestApartUnknown(t *testing.T) {
	base := optioned{name: "bridge", options: []string{"name"}}
	d := optioned{name: "wide", options: []string{"peers", "name"}}
	spec := catenet.NetworkSpec{Options: map[string]string{"peers": "all", "pears": "some"}}
	_, _, err := driver.Apart(d, base, spec, "peers")
	if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), `wide driver has no option "pears"`) || !strings.Contains(catenet.HintOf(err), "peers, name") {
		t.Errorf("%v (%s)", err, catenet.HintOf(err))
	}
}
