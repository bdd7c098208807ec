package netns

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/peercred"
)

// claimPatience bounds how long rivals that do not answer, or neither settle
// nor give way, are asked again.
const claimPatience = 2 * time.Second

// Claim makes the caller the one root process that has claimed the name in its
// network namespace, until the claim is closed or the process ends, however it
// does. If another has it, that is a conflict error that says which process.
//
// A claim is an abstract unix socket, whose names belong to the network
// namespace (unix(7), network_namespaces(7)): daemons in namespaces of their
// own do not see each other, whatever folders they share; daemons in one do,
// whatever mount or PID namespace they are in, where a locked file could be
// another one for each. Programs that we start do not inherit it.
//
// Anybody may bind an abstract name. So the name of each claim is random past
// its begin, and nobody can be there before it; and the others that have such
// a name count only if it was root that listened there (SO_PEERCRED). Each
// looks at the others once its own socket is there. A claim tells who connects
// whether it is settled: of those that are not, the first by name goes on, once
// the others have given way. It closes every connection, so that nobody can
// fill its queue for long; a user who floods it at the very moment when a
// second daemon starts hides it at most, and blocks neither.
func Claim(name string) (*net.UnixListener, error) {
	var random [8]byte
	rand.Read(random[:])
	mine := name + "-" + hex.EncodeToString(random[:])
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + mine, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("claim network namespace: %w", err)
	}
	var is atomic.Bool
	uphold(l, &is)
	if err := rival(name, mine); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	is.Store(true)
	return l, nil
}

// Reclaim goes on with a claim that the program before us in this process has
// made and handed over.
func Reclaim(claim *os.File) (*net.UnixListener, error) {
	defer claim.Close()
	l, err := net.FileListener(claim)
	if err != nil {
		return nil, fmt.Errorf("go on with claim of network namespace: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("go on with claim of network namespace: a %T is none", l), l.Close())
	}
	var is atomic.Bool
	is.Store(true)
	uphold(u, &is)
	return u, nil
}

// unsettled is what a claim sends that may yet give way.
const unsettled = '?'

// uphold takes every connection, tells whether the claim is settled, and
// closes it, until the claim is closed.
func uphold(l net.Listener, is *atomic.Bool) {
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(10 * time.Millisecond) // whatever it is, it must not spin
				continue
			}
			if !is.Load() {
				_, _ = c.Write([]byte{unsettled}) // who has gone does not ask
			}
			c.Close()
		}
	}()
}

// rival returns a conflict error if somebody else has claimed the name, or is
// about to and comes first.
func rival(name, mine string) error {
	others, err := claims(name)
	if err != nil {
		return err
	}
	for end := time.Now().Add(claimPatience); len(others) > 0; time.Sleep(10 * time.Millisecond) {
		late := time.Now().After(end)
		var open []string
		for _, other := range others {
			cred, settled, err := listener(other)
			switch {
			case other == mine:
			case err == nil && cred.UID == 0 && (settled || other < mine || late):
				return taken(name, other, cred)
			case err == nil && cred.UID == 0, errors.Is(err, unix.EAGAIN):
				open = append(open, other)
			}
		}
		if others = open; late {
			break
		}
	}
	return nil
}

// taken says who has a claim.
func taken(name, other string, cred peercred.Cred) error {
	by := ""
	if cred.PID != 0 { // 0: in another PID namespace
		by = fmt.Sprintf(": process %d", cred.PID)
	}
	return catenet.Conflictf("another %s serves this network namespace already%s", name, by).
		WithHint("end it, or start this one in a network namespace of its own; it is who listens at the abstract socket @%s", other)
}

// claims returns the names of the claims in the thread's namespace, of
// whomever: lines of /proc/net/unix (proc_pid_net(5)) end in " @NAME". Names
// may have line feeds in them; what reads like a claim and is none is no
// socket either.
func claims(name string) (found []string, err error) {
	table, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for other claims: %w", err)
	}
	end := regexp.MustCompile(` @(` + regexp.QuoteMeta(name) + `-[0-9a-f]{16})$`)
	for line := range bytes.Lines(table) {
		if m := end.FindSubmatch(bytes.TrimRight(line, "\n")); m != nil {
			found = append(found, string(m[1]))
		}
	}
	return found, nil
}

// listener returns who listens at an abstract name, and whether its claim is
// settled; EAGAIN if more connect there than are taken.
func listener(name string) (who peercred.Cred, settled bool, err error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		return who, false, err
	}
	defer c.Close()
	if who, err = peercred.Of(c); err != nil || who.UID != 0 {
		return who, false, err
	}
	if err := c.SetReadDeadline(time.Now().Add(claimPatience)); err != nil {
		return who, false, err
	}
	var b [1]byte
	n, err := c.Read(b[:])
	if errors.Is(err, unix.ECONNRESET) {
		return who, false, err // it has just given way, before it took us
	}
	return who, n == 0 || b[0] != unsettled, nil
}
