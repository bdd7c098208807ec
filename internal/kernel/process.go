package kernel

import (
	"context"
	"io"
	"syscall"
	"time"
)

// Processes runs containers of our own: each a process in new mount, PID, UTS
// and IPC namespaces and in a given network namespace, below a small shim
// that outlives the daemon, writes its log and records how it ended.
type Processes interface {
	// Start starts the container and returns when its program has been
	// executed, or with why it could not be (then nothing is left running).
	Start(ctx context.Context, c Container) (pid int, err error)
	// Wait blocks until the container of that folder has ended, also one
	// that an earlier daemon started, and tells how. If ctx ends first it
	// returns its error.
	Wait(ctx context.Context, dir string) (Exit, error)
	// Signal sends a signal to the container's first process. One that has
	// ended is no error.
	Signal(ctx context.Context, dir string, sig syscall.Signal) error
	// Exec runs one more program in the container's namespaces, or, with
	// only Netns set, on the host's file system in that network namespace.
	Exec(ctx context.Context, e Exec) (exit int, err error)
}

// Container is a program to run.
type Container struct {
	ID       string
	Dir      string // run folder of this container: shim's lock, pid, exit; made by Start
	Log      string // path of the log; appended to
	Netns    string // path; "" is the host's own
	Hostname string
	Args     []string
	Env      []string
	WorkDir  string
	Rootfs   string // "" is the host's file system
	// Files are bound into the container: target inside → source outside.
	Files map[string]string
	// HostUTS keeps the host's UTS namespace (mode host).
	HostUTS bool
	// Hide lists folders of the host whose mounts must not be seen or kept
	// alive inside (the daemon's own namespaces).
	Hide []string
}

// Exit says how a container ended.
type Exit struct {
	Code     int // 128 + signal if a signal ended it
	Finished time.Time
}

// Exec is one more program to run in a container.
type Exec struct {
	Dir    string // of the running container; "" with Netns
	Netns  string
	Etc    string // with Netns: the folder whose files stand over those of /etc; "" for none
	Args   []string
	Env    []string
	Stdin  io.Reader // may be nil
	Stdout io.Writer
	Stderr io.Writer
}
