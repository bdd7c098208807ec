// Package peercred tells who is at the other end of a unix socket.
package peercred

import (
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cred is who connected, as of the moment of the connect(2).
type Cred struct {
	PID int
	UID int
	GID int
	// Groups are the supplementary groups.
	Groups []int
}

// Of returns the credentials of c's peer: SO_PEERCRED and SO_PEERGROUPS of
// unix(7). A user that has no ID in our user namespace is 65534.
func Of(c *net.UnixConn) (Cred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Cred{}, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred Cred
	var serr error
	err = raw.Control(func(fd uintptr) {
		var u *unix.Ucred
		if u, serr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); serr == nil {
			cred = Cred{PID: int(u.Pid), UID: int(u.Uid), GID: int(u.Gid)}
			cred.Groups, serr = groups(fd)
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return Cred{}, fmt.Errorf("read peer credentials: %w", err)
	}
	return cred, nil
}

// groups reads SO_PEERGROUPS, which x/sys has no call for. A buffer that is
// too small is answered with ERANGE and the size that would do.
func groups(fd uintptr) ([]int, error) {
	gids := make([]uint32, 64)
	for {
		size := uint32(len(gids) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&gids[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			out := make([]int, size/4)
			for i := range out {
				out[i] = int(gids[i])
			}
			return out, nil
		case unix.ERANGE:
			gids = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
