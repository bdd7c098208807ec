package shim

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/proc"
	"github.com/catenet/catenet/internal/kernel/process/rundir"
)

// Descriptors that the daemon gives to run. What init inherits of them, and of
// a careless parent of the daemon, it closes itself.
const (
	fdLock   = 3 // of rundir.Lock
	fdSpec   = 4 // where the spec can be read
	fdReport = 5 // where the report is awaited
)

// run starts the container and stays until it has ended.
func run(dir, logPath string) {
	// The container dies with the thread that made it (PR_SET_PDEATHSIG):
	// this one, which lasts as long as the process.
	runtime.LockOSThread()

	c, err := start(dir, logPath)
	complain(failed("end the start", rundir.Started(fdLock)))
	report(fdReport, err)
	unix.Close(fdReport)
	if err != nil {
		return
	}
	code := c.wait()
	// Without the file the daemon takes the container for killed.
	complain(failed("write exit", rundir.WriteExit(dir, rundir.Exit{Code: code, Finished: time.Now()})))
}

// complain tells what cannot be helped to whoever looks into the folder.
func complain(err error) {
	if err != nil {
		println(err.Error())
	}
}

// container is a started one, as the shim holds it.
type container struct {
	pid, pidfd  int
	out, errOut stream
}

// start runs the container's program and writes who it is.
func start(dir, logPath string) (*container, error) {
	log, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	c, ready, err := clone(log)
	if err != nil {
		return nil, err
	}
	err = awaitProgram(ready)
	unix.Close(ready)
	if err == nil {
		err = record(dir, c.pid)
	}
	if err != nil {
		_ = unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0) // it may be dead already
		wait(c.pid)
		return nil, err
	}
	return c, nil
}

// clone makes the container's first process, which is "catenet-shim init"
// until it becomes the program; ready is where it reports.
func clone(log *logFile) (c *container, ready int, err error) {
	var out, errOut, rep [2]int
	for _, p := range []*[2]int{&out, &errOut, &rep} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, -1, failed("make pipe", err)
		}
	}
	c = &container{
		out:    stream{name: "stdout", fd: out[0], log: log},
		errOut: stream{name: "stderr", fd: errOut[0], log: log},
	}
	for _, fd := range []int{out[0], errOut[0]} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, -1, failed("make pipe non-blocking", err)
		}
	}
	c.pid, err = syscall.ForkExec("/proc/self/exe", []string{"catenet-shim", "init"}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []uintptr{0, uintptr(out[1]), uintptr(errOut[1]), fdInitSpec: fdSpec, fdInitReport: uintptr(rep[1])},
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
			PidFD:      &c.pidfd,
		},
	})
	if err != nil {
		return nil, -1, failed("clone the container's first process", err)
	}
	for _, fd := range []int{fdSpec, out[1], errOut[1], rep[1]} {
		unix.Close(fd)
	}
	return c, rep[0], nil
}

// awaitProgram returns when init has become the program, or why it could not.
// Init reports success just before execve(2), and an error after it; execve
// closes the pipe.
func awaitProgram(ready int) error {
	buf := make([]byte, 0, maxReport+len(started))
	for len(buf) < cap(buf) {
		n, err := unix.Read(ready, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return failed("read the report of init", err)
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	if len(buf) > len(started) && string(buf[:len(started)]) == started {
		buf = buf[len(started):]
	}
	return ParseReport(buf)
}

// record writes who the shim and the container are.
func record(dir string, pid int) error {
	var r rundir.Record
	var err error
	if r.Shim, err = proc.Identify(os.Getpid()); err != nil {
		return failed("identify the shim", err)
	}
	if r.Init, err = proc.Identify(pid); err != nil {
		return failed("identify the container", err)
	}
	return failed("write who runs the container", rundir.WriteRecord(dir, r))
}

// wait writes the log until the container has ended, and returns its exit
// code.
func (c *container) wait() int {
	buf := make([]byte, 32<<10)
	fds := []unix.PollFd{{}, {}, {Fd: int32(c.pidfd), Events: unix.POLLIN}}
	for {
		// Negative ones, which have ended, are left out.
		fds[0] = unix.PollFd{Fd: int32(c.out.fd), Events: unix.POLLIN}
		fds[1] = unix.PollFd{Fd: int32(c.errOut.fd), Events: unix.POLLIN}
		if _, err := unix.Poll(fds, -1); err != nil {
			continue // EINTR
		}
		if fds[0].Revents != 0 {
			c.out.pump(buf)
		}
		if fds[1].Revents != 0 {
			c.errOut.pump(buf)
		}
		if fds[2].Revents != 0 {
			break
		}
	}
	// All processes of the PID namespace have ended with the first. What
	// they wrote is in the pipes; more may only come from somebody whom they
	// sent the descriptor, and is not waited for.
	for _, s := range []*stream{&c.out, &c.errOut} {
		for s.pump(buf) {
		}
		s.end()
	}
	return wait(c.pid)
}

// wait returns the exit code of a child: 128 + signal if a signal ended it.
func wait(pid int) int {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}

// closeOnExec keeps all descriptors from fd on from being inherited: also
// those that a careless parent of the daemon left open.
func closeOnExec(fd uint) {
	if unix.CloseRange(fd, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for ; fd < 64; fd++ { // before Linux 5.11
		unix.CloseOnExec(int(fd))
	}
}
