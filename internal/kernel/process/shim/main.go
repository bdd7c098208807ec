package shim

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Main is the whole of the program catenet-shim, and returns its exit status.
func Main(args []string) int {
	switch {
	case len(args) == 3 && args[0] == "run":
		run(args[1], args[2])
		return 0
	case len(args) == 1 && args[0] == "init":
		initContainer()
		return 1 // it would have become the program
	case len(args) == 1 && args[0] == "exec":
		return execInside()
	}
	println("catenet-shim is started by catenetd, one for each container; see catenet run")
	return 2
}

// Descriptors that init and exec are given besides 0, 1 and 2.
const (
	fdInitSpec   = 3
	fdInitReport = 4
)

// initContainer is PID 1 of the container until it becomes the program.
func initContainer() {
	// Namespaces are a thread's; execve goes on with those of its caller.
	runtime.LockOSThread()
	closeOnExec(fdInitSpec)
	err := becomeProgram()
	report(fdInitReport, err)
}

// becomeProgram returns only if it fails.
func becomeProgram() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed("bind the container's life to its shim's", err)
	}
	// The shim may have died before: then nobody reads the report any more.
	fds := []unix.PollFd{{Fd: fdInitReport}}
	if _, err := unix.Poll(fds, 0); err == nil && fds[0].Revents&unix.POLLERR != 0 {
		return &Failure{Kind: Internal, Msg: "the shim is dead"}
	}
	spec := os.NewFile(fdInitSpec, "spec")
	s, err := ReadSpec(spec)
	if err != nil {
		return failed("read spec", err)
	}
	if err := spec.Close(); err != nil {
		return failed("close spec", err)
	}
	unix.Umask(0o022)
	if err := enterNetns(s.Netns); err != nil {
		return err
	}
	if !s.HostUTS {
		if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
			return failed("make UTS namespace", err)
		}
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return failed("set host name "+s.Hostname, err)
		}
	}
	if err := mountAll(s); err != nil {
		return err
	}
	p, err := prepare(s)
	if err != nil {
		return err
	}
	if err := write(fdInitReport, []byte(started)); err != nil {
		return failed("report to the shim", err)
	}
	return p.failed(unix.Exec(p.path, p.args, p.env))
}

// enterNetns takes the calling thread into the network namespace at path.
func enterNetns(path string) error {
	if path == "" {
		return nil
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open network namespace "+path, err)
	}
	defer unix.Close(fd)
	err = unix.Setns(fd, unix.CLONE_NEWNET)
	if err == unix.EINVAL {
		return &Failure{Kind: Invalid, Msg: path + " is no network namespace"}
	}
	return failed("enter network namespace "+path, err)
}
