package sockets

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/netns"
)

// TestOutOfFiles holds ports until the process may have no more files. (A
// process of its own: the limit is for all of it.)
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	if !inside(t) {
		enter(t, kerneltest.New(t))
		return
	}
	s := newSockets(t)
	here, err := netns.New().Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var all []kernel.Held
	for port := uint16(20000); ; port++ {
		h, err := s.Hold(ctx, kernel.HeldPort{Proto: "tcp", IP: key("tcp", "127.0.0.1:1").IP, Port: port})
		if err != nil {
			checkOutOfFiles(t, err)
			break
		}
		if all = append(all, h); len(all) > 64 {
			t.Fatal("the limit does not hold")
		}
	}
	if n := len(s.ports); n != len(all) {
		t.Errorf("%d ports are known, %d are held", n, len(all))
	}
	_, _, err = s.ListenIn(ctx, here, 0)
	checkOutOfFiles(t, err)
	_, err = netns.New().Open("/proc/self/ns/net")
	checkOutOfFiles(t, err)
	for _, h := range all {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func checkOutOfFiles(t *testing.T, err error) {
	t.Helper()
	if catenet.KindOf(err) != catenet.KindExhausted || !strings.Contains(catenet.HintOf(err), "LimitNOFILE") {
		t.Errorf("%v, hint %q", err, catenet.HintOf(err))
	}
}
