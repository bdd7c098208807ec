package netns

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet"
)

// TestOpenRefusesWhatIsNoNamespace, of every kind of file.
func TestOpenRefusesWhatIsNoNamespace(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{socket, t.TempDir(), "/etc/passwd", "/dev/null", "/proc/self/ns/uts"} {
		if _, err := New().Open(path); !catenet.IsInvalid(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
