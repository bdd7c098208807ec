// Package bounds measures what parsers of bytes from outside cost.
package bounds

import (
	"runtime"
	"testing"
)

// Input is the size, in bytes, up to which an input may cost Most bytes of
// memory and no more.
const (
	Input = 64 << 10
	Most  = 1 << 20
)

// Parse runs fn, which parses an input of size bytes, and fails the test if
// that allocates too much. What runs beside it counts too.
func Parse(t testing.TB, size int, fn func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; size <= Input && used > Most {
		t.Errorf("%d bytes allocated for %d", used, size)
	}
}
