package proc

import (
	"strings"
	"testing"

	"github.com/catenet/catenet/test/bounds"
)

// FuzzMounts: a mount has a type, and a name of a process may be anything.
func FuzzMounts(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n")
	f.Add("12 (a) b)) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0")
	f.Fuzz(func(t *testing.T, text string) {
		bounds.Parse(t, len(text), func() {
			for m := range Mounts(text) {
				if m.Type == "" || m.Root == "" || m.Point == "" || strings.Contains(m.Type, " ") {
					t.Errorf("%+v", m)
				}
			}
			if start, err := parseStart([]byte(text)); err != nil && start != 0 {
				t.Errorf("%d, %v", start, err)
			}
		})
	})
}
