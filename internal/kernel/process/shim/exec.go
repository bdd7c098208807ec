package shim

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
)

// execInside runs one more program in a container's namespaces, or in a
// network namespace on the host's file system, and returns its exit status.
// When nobody listens to the report any more, the program is killed: its user
// has given up, or the daemon is dead.
func execInside() int {
	runtime.LockOSThread() // the one thread that enters the namespaces
	closeOnExec(fdInitSpec)
	pid, pidfd, err := startInside()
	report(fdInitReport, err)
	if err != nil {
		return 1
	}
	for _, fd := range []int{0, 1, 2} {
		unix.Close(fd) // the program's, and nobody else's
	}
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: fdInitReport}}
	for fds[0].Revents == 0 {
		if _, err := unix.Poll(fds, -1); err != nil {
			continue // EINTR
		}
		if fds[1].Revents != 0 {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // it may be dead already
			fds[1].Fd = -1
		}
	}
	return wait(pid)
}

func startInside() (pid, pidfd int, err error) {
	spec := os.NewFile(fdInitSpec, "spec")
	s, err := ReadSpec(spec)
	if err != nil {
		return 0, 0, failed("read spec", err)
	}
	if err := spec.Close(); err != nil {
		return 0, 0, failed("close spec", err)
	}
	unix.Umask(0o022)
	if s.Inside.PID != 0 {
		err = enterContainer(s.Inside)
	} else {
		err = enterBare(s)
	}
	if err != nil {
		return 0, 0, err
	}
	p, err := prepare(s)
	if err != nil {
		return 0, 0, err
	}
	pid, err = syscall.ForkExec(p.path, p.args, &syscall.ProcAttr{
		Env:   p.env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	return pid, pidfd, p.failed(err)
}

// enterContainer takes the calling thread into all namespaces of a process:
// of the PID namespace its children will be.
func enterContainer(id proc.Identity) error {
	gone := &Failure{Kind: Conflict, Msg: "the container is not running"}
	fd, err := id.Open()
	if errors.Is(err, proc.ErrGone) {
		return gone
	}
	if err != nil {
		return failed("find the container", err)
	}
	defer unix.Close(fd)
	// A mount namespace can't be entered with a root shared with other
	// threads (setns(2)).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return failed("unshare root", err)
	}
	err = unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_NEWNET)
	if errors.Is(err, unix.ESRCH) {
		return gone
	}
	return failed("enter the container", err)
}

// enterBare takes the calling thread into a network namespace, in a mount
// namespace in which /sys shows it, and the spec's files stand over the host's,
// as with "ip netns exec".
func enterBare(s *Spec) error {
	if err := enterNetns(s.Netns); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return failed("make mount namespace", err)
	}
	if err := detach(); err != nil {
		return err
	}
	if err := freshSys(); err != nil {
		return err
	}
	bs, err := openSources(s.Files)
	if err != nil {
		return err
	}
	return bs.mount(false)
}
