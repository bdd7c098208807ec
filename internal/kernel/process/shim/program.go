package shim

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// defaultPath is what Docker gives to a container that has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is what execve(2) needs.
type program struct {
	path      string
	args, env []string
}

// prepare changes to the working directory and finds the program, inside. What
// it is to inherit of the process is clean then.
func prepare(s *Spec) (*program, error) {
	if err := heedSignals(); err != nil {
		return nil, err
	}
	dir := s.WorkDir
	if dir == "" {
		dir = "/"
	}
	if err := unix.Chdir(dir); err != nil {
		return nil, &Failure{Kind: Invalid, Msg: "the working directory " + dir + " can't be entered in the container: " + err.Error(),
			Hint: "make it, or leave it out: it is / then"}
	}
	p := &program{args: s.Args, env: environment(s)}
	if len(p.args) == 0 || p.args[0] == "" {
		return nil, &Failure{Kind: Invalid, Msg: "there is no command to run"}
	}
	return p, p.find()
}

// signals is how many there are (signal(7)).
const signals = 64

// heedSignals gives signals that the process ignores their default action
// back: a program would go on ignoring them (execve(2)). A daemon started by
// nohup(1) ignores SIGHUP; glibc's posix_spawn, and so make(1), leaves its
// internal signals ignored, which os/signal does not reset.
func heedSignals() error {
	for sig := uintptr(1); sig <= signals; sig++ {
		var act [8]uintptr // struct sigaction of the kernel, and room: the handler is first
		if err := sigaction(sig, nil, &act); err != nil {
			return failed("read signal actions", err)
		}
		if act[0] != 1 { // SIG_IGN
			continue
		}
		if err := sigaction(sig, new([8]uintptr), nil); err != nil {
			return failed("reset signal actions", err)
		}
	}
	return nil
}

func sigaction(sig uintptr, act, old *[8]uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), signals/8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// environment returns the variables of the program: PATH, HOSTNAME and HOME
// as Docker sets them, unless s.Env has others.
func environment(s *Spec) []string {
	host, err := os.Hostname()
	if err != nil {
		host = s.Hostname
	}
	all := append([]string{"PATH=" + defaultPath, "HOSTNAME=" + host, "HOME=/root"}, s.Env...)
	at := make(map[string]int, len(all))
	env := all[:0]
	for _, kv := range all {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			env[i] = kv
			continue
		}
		at[key] = len(env)
		env = append(env, kv)
	}
	return env
}

// find sets the path: the first argument, if it has a slash in it, or else
// the first such program in PATH.
func (p *program) find() error {
	name := p.args[0]
	if strings.Contains(name, "/") {
		p.path = name
		return executable(name)
	}
	var path string
	for _, kv := range p.env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var denied error
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "." // POSIX, XBD 8.3
		}
		p.path = dir + "/" + name
		err := executable(p.path)
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[*Failure](err); ok && f.Kind != NotFound {
			denied = err
		}
	}
	if denied != nil {
		return denied
	}
	return &Failure{Kind: NotFound, Msg: "command not found in the container: " + name,
		Hint: "its PATH is " + path + "; name the command by its whole path, or choose one that is there"}
}

// executable says what keeps path from being executed.
func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return &Failure{Kind: NotFound, Msg: "command not found in the container: " + path,
			Hint: "the path is that inside the container"}
	case err != nil:
		return failed("find command", err)
	case st.IsDir():
		return &Failure{Kind: Invalid, Msg: path + " can't be executed: it is a folder"}
	case st.Mode()&0o111 == 0:
		return &Failure{Kind: Invalid, Msg: path + " can't be executed: permission denied", Hint: "chmod +x it"}
	}
	return nil
}

// failed says why execve(2) failed, in words.
func (p *program) failed(err error) error {
	if err == nil {
		return nil
	}
	f := &Failure{Kind: Invalid, Msg: p.path + " can't be executed: " + err.Error()}
	switch {
	case errors.Is(err, unix.ENOENT): // the file itself is there
		f.Kind = NotFound
		f.Msg = p.path + " can't be executed: the program that is to load it is not in the container"
		f.Hint = "for a script that is what its first line names, for a binary its dynamic loader: put it there, or take a static binary"
	case errors.Is(err, unix.ENOEXEC):
		f.Hint = "it is neither a binary for this machine nor a script whose first line begins with #!"
	case errors.Is(err, unix.E2BIG):
		f.Hint = "the arguments and the environment are too long together"
	}
	return f
}
