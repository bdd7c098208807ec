package mode

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/conformance"
)

// The driver stands for a mode: it makes nothing, and lets nobody join.
func TestModeAndNothingElse(t *testing.T) {
	d, w := New("null", catenet.ModeNone, catenet.NetworkNone), conformance.Fake(t)
	if d.Name() != "null" || d.Mode() != catenet.ModeNone {
		t.Errorf("it is called %s, for mode %s", d.Name(), d.Mode())
	}
	n := catenet.Network{ID: catenet.NewID(), Predefined: true}
	n.Name = catenet.NetworkNone
	if err := d.Validate(n.NetworkSpec); catenet.KindOf(err) != catenet.KindForbidden || !strings.HasSuffix(catenet.HintOf(err), "--network none") {
		t.Errorf("another network of it: %v", err)
	}
	if err := d.ValidateEndpoint(n, catenet.EndpointSpec{}); catenet.KindOf(err) != catenet.KindForbidden {
		t.Errorf("joining it: %v", err)
	}
	state, err := d.Up(t.Context(), w.Host, n)
	if err != nil || len(state.Firewall) > 0 {
		t.Errorf("up: %+v, %v", state, err)
	}
	ep := catenet.Endpoint{ID: catenet.NewID()}
	if _, err := d.Link(t.Context(), w.Host, n, ep, driver.Place{NS: w.Place()}); catenet.KindOf(err) != catenet.KindForbidden {
		t.Errorf("link: %v", err)
	}
	if err := d.Unlink(t.Context(), w.Host, n, driver.Place{}, ep); err != nil {
		t.Error(err)
	}
	if err := d.Down(t.Context(), w.Host, n); err != nil {
		t.Error(err)
	}
	if w.State() != "" {
		t.Errorf("it made %s", w.State())
	}
}
