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

func TestEnough(t *testing.T) {
	if err := Enough(3); err != nil {
		t.Error(err)
	}
	err := Enough(1 << 40)
	if catenet.KindOf(err) != catenet.KindExhausted || !strings.Contains(catenet.HintOf(err), "LimitNOFILE") || !strings.Contains(err.Error(), "1099511627776") {
		t.Errorf("%v (%s)", err, catenet.HintOf(err))
	}
}
