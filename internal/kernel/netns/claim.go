package netns

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/peercred"
)

// Claim takes a name in the daemon's own network namespace until it is closed
// or the process ends, however it does: an abstract unix socket, whose names
// belong to the namespace (unix(7), network_namespaces(7)). Programs that we
// start do not inherit it. A name that is taken is a conflict error that says
// by which process.
func Claim(name string) (io.Closer, error) {
	l, err := net.Listen("unix", "@"+name)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, catenet.Conflictf("another %s serves this network namespace already%s", name, holder(name)).
			WithHint("end it, or start this one in a network namespace of its own; it is who listens at the abstract socket @%s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("claim network namespace: %w", err)
	}
	return l, nil
}

// holder says which process has a name, as far as that can be seen from here.
func holder(name string) string {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		return ""
	}
	defer c.Close()
	cred, err := peercred.Of(c)
	if err != nil || cred.PID == 0 { // 0: in another PID namespace
		return ""
	}
	return fmt.Sprintf(": process %d", cred.PID)
}
