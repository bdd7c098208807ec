// Package netns makes, finds, enters and watches network namespaces.
//
// A namespace lives as long as a process is in it, a socket was opened in it,
// or a place holds it: a file with the namespace's descriptor in /proc bound
// over it, as ip-netns(8) makes them. This package keeps none alive longer
// than a call takes, save by the places that Create and Pin are asked for.
package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/limit"
)

// own is the namespace of the thread that opens it. A Go program's threads
// are all in the daemon's, but for those that Do has sent elsewhere.
// (/proc/self/ns/net would be that of the first thread, which Do may have
// sent elsewhere.)
const own = "/proc/thread-self/ns/net"

// Namespaces implements kernel.Namespaces.
type Namespaces struct {
	mounts mountWatch
	pins   sync.Mutex // guards the folders of pins: the last Unpin unmounts one
}

var _ kernel.Namespaces = (*Namespaces)(nil)

// New returns the namespaces of this machine.
func New() *Namespaces { return &Namespaces{} }

// Create makes a namespace, raises its lo and pins it at path.
func (n *Namespaces) Create(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create namespace: %w", err)
		}
		if err := RaiseLoopback(); err != nil {
			return fmt.Errorf("raise lo in new namespace: %w", err)
		}
		return n.bind(own, path)
	})
}

// Pin gives the namespace at source a second place at path.
func (n *Namespaces) Pin(ctx context.Context, source, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := n.Open(source)
	if err != nil {
		return err
	}
	defer ns.Close()
	// By descriptor: what source names may have changed since.
	return n.bind(fmt.Sprintf("/proc/self/fd/%d", ns.File.Fd()), path)
}

// Open opens the namespace at path.
func (n *Namespaces) Open(path string) (*kernel.Namespace, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold us
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil, catenet.NotFoundf("there is no namespace at %s", path)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV): // a socket, or a device without a driver
		return nil, none(path)
	case err != nil:
		return nil, fmt.Errorf("open namespace: %w", limit.Files(err))
	}
	inode, err := identify(f)
	if err != nil {
		f.Close()
		return nil, none(path)
	}
	return &kernel.Namespace{Path: path, Inode: inode, File: f}, nil
}

// none is the error for what is no network namespace.
func none(path string) error {
	return catenet.Invalidf("%s is no network namespace", path).
		WithHint("a network namespace is a path like /proc/PID/ns/net or /run/netns/NAME")
}

// identify returns the inode of an open network namespace.
func identify(f *os.File) (uint64, error) {
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &sfs); err != nil {
		return 0, err
	}
	if sfs.Type != unix.NSFS_MAGIC {
		return 0, unix.EINVAL
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE) // ioctl_nsfs(2)
	if err != nil {
		return 0, err
	}
	if kind != unix.CLONE_NEWNET {
		return 0, unix.EINVAL
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// Host returns the inode of the daemon's own namespace.
func (n *Namespaces) Host() (uint64, error) {
	inode, err := inodeAt(own)
	if err != nil {
		return 0, fmt.Errorf("find own namespace: %w", err)
	}
	return inode, nil
}

// inodeAt returns the inode that path leads to, without opening it.
func inodeAt(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// RaiseLoopback sets lo up in the thread's namespace.
func RaiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, ifr); err != nil || ifr.Uint16()&unix.IFF_UP != 0 {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	failpoint.Before("netns.lo")
	err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr) // netdevice(7)
	failpoint.After("netns.lo")
	return err
}
