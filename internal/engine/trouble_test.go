package engine

import (
	"errors"
	"testing"

	"github.com/catenet/catenet"
)

func TestTold(t *testing.T) {
	both := errors.Join(errors.New("one host is away"), catenet.Conflictf("the file is another's").WithHint("name another"))
	if got, want := told(both), "one host is away; the file is another's; name another"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}
