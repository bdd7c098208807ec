package handover

import (
	"testing"

	"github.com/catenet/catenet/test/bounds"
)

// FuzzManifest: what an earlier daemon, of whatever version, left for us.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"pid":7,"files":{"api":3},"notes":{"lookups":[1,{}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounds.Parse(t, len(b), func() {
			m, err := parse(b)
			if err != nil {
				return
			}
			p := &Parcel{notes: m.Notes}
			for name := range m.Notes {
				var v any
				if found, err := p.Read(name, &v); !found && err == nil {
					t.Errorf("note %q is not found", name)
				}
			}
		})
	})
}
