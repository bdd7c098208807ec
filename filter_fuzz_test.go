package catenet_test

import (
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/bounds"
)

// FuzzFilter: what is a filter can be matched, and what is none is said to be
// invalid.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"name=a", "label=a=b", "label!=x", "until=1h", "until=2026-01-02", "dangling=true", "type=custom", "=", "until=1767225600.5"} {
		f.Add(s, "id=0")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		bounds.Parse(t, len(a)+len(b), func() {
			filter, err := catenet.ParseFilter([]string{a, b}, append(catenet.NetworkFilterKeys, catenet.PruneFilterKeys...))
			if err != nil && !catenet.IsInvalid(err) {
				t.Fatalf("%q, %q: %v", a, b, err)
			}
			if err == nil {
				filter.MatchNetwork(catenet.Network{NetworkSpec: catenet.NetworkSpec{Labels: map[string]string{"a": "b"}}}, false, time.Now())
				filter.MatchEvent(catenet.Event{})
			}
			if _, err := catenet.ParseTime(a, time.Now()); err != nil && !catenet.IsInvalid(err) {
				t.Fatalf("%q: %v", a, err)
			}
		})
	})
}
