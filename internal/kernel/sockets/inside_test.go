package sockets

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// The test binary runs itself again in other roles: as a process that listens
// (envListen: network and address), or one test inside a namespace
// (envInside: the test's name).
const (
	envListen = "CATENET_TEST_LISTEN"
	envInside = "CATENET_TEST_INSIDE"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(envListen); addr != "" {
		if _, err := net.Listen("tcp", addr); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		io.Copy(io.Discard, os.Stdin) // until the test closes it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inside reports whether this process is the one in a namespace.
func inside(t *testing.T) bool { return os.Getenv(envInside) == t.Name() }

// enter runs the present test again as a process of its own in the namespace:
// for what starts goroutines, which would not stay on a thread.
func enter(t *testing.T, ns *kerneltest.NS, env ...string) {
	t.Helper()
	cmd := ns.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), envInside+"="+t.Name()), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("inside: %v\n%s", err, out)
	}
}

func newSockets(t *testing.T) *Sockets {
	return New(slog.New(slog.NewTextHandler(t.Output(), nil)))
}
