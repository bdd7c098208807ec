package limit

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
)

func TestFiles(t *testing.T) {
	for errno, hint := range map[error]string{unix.EMFILE: "LimitNOFILE", unix.ENFILE: "fs.file-max"} {
		err := fmt.Errorf("hold port: %w", Files(&os.PathError{Op: "open", Path: "x", Err: errno}))
		if catenet.KindOf(err) != catenet.KindExhausted || !errors.Is(err, errno) || !strings.Contains(catenet.HintOf(err), hint) {
			t.Errorf("%v: kind %v, hint %q", err, catenet.KindOf(err), catenet.HintOf(err))
		}
	}
	if err := Files(unix.EACCES); !errors.Is(err, unix.EACCES) || catenet.HintOf(err) != "" {
		t.Error(err)
	}
	if err := Files(nil); err != nil {
		t.Error(err)
	}
}
