package catenet_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet"
)

func TestUnwritable(t *testing.T) {
	t.Parallel()
	for errno, hint := range map[syscall.Errno]string{
		syscall.ENOSPC: "free some space", syscall.EDQUOT: "free some space", syscall.EROFS: "read-write", syscall.EIO: "",
	} {
		err := catenet.Unwritable(fmt.Errorf("write files: %w", &os.PathError{Op: "write", Path: "/x", Err: errno}))
		if got := catenet.HintOf(err); !strings.Contains(got, hint) || (hint == "") != (got == "") || !strings.HasPrefix(err.Error(), "write files: write /x: ") {
			t.Errorf("%v: %v, hint %q", errno, err, got)
		}
	}
	told := catenet.Conflictf("no: %w", syscall.ENOSPC).WithHint("do this")
	if got := catenet.Unwritable(told); catenet.KindOf(got) != catenet.KindConflict || catenet.HintOf(got) != "do this" {
		t.Errorf("what has a next step already: %v", got)
	}
	if err := catenet.Unwritable(nil); err != nil {
		t.Error(err)
	}
}
