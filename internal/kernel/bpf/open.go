package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel/proc"
)

// layout is part of every map's pin: maps of another layout are left behind,
// and filled anew under another name.
const layout = "-1"

// attachment is a link, pinned.
type attachment = link.Link

// Open takes over what is pinned in o.Dir, or makes it. Programs of an
// earlier daemon serve on until the first Set or Restore. If the kernel
// lacks something the error is an unsupported one that names it, and nothing
// is left.
func Open(o Options) (*Loopback, error) {
	if o.Cgroup == "" {
		var err error
		if o.Cgroup, err = findCgroup("/proc/self/mountinfo"); err != nil {
			return nil, err
		}
	}
	cookie, err := netnsCookie()
	if err != nil {
		return nil, err
	}
	fresh, err := mountPins(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Loopback{dir: o.Dir, fresh: fresh, cgroup: o.Cgroup, log: o.Log, most: maxPorts, programs: make(map[string]*ebpf.Program), links: make(map[string]attachment)}
	if err := l.start(cookie); err != nil {
		err = errors.Join(err, l.Close())
		if fresh {
			err = errors.Join(err, Remove(o.Dir))
		}
		return nil, err
	}
	return l, nil
}

// Fresh reports whether nothing was pinned before Open.
func (l *Loopback) Fresh() bool { return l.fresh }

// start opens maps, programs and links.
func (l *Loopback) start(cookie uint64) error {
	if err := l.openMaps(); err != nil {
		return lacking("maps", err)
	}
	for _, h := range hooks {
		p, err := h.load(cookie, l.ports, l.flows)
		if err != nil {
			return lacking("programs on cgroup "+h.name, err)
		}
		l.programs[h.name] = p
	}
	for _, h := range hooks {
		if err := l.attach(h); err != nil {
			return lacking("links to cgroup "+h.name, err)
		}
	}
	return nil
}

func (l *Loopback) openMaps() (err error) {
	opts := ebpf.MapOptions{PinPath: l.dir}
	failpoint.Before("bpf.ports")
	l.ports, err = ebpf.NewMapWithOptions(&ebpf.MapSpec{
		Name: "ports" + layout, Pinning: ebpf.PinByName, Type: ebpf.Hash,
		KeySize: sizeOf(place{}), ValueSize: sizeOf(place{}), MaxEntries: l.most, Flags: unix.BPF_F_NO_PREALLOC,
	}, opts)
	failpoint.After("bpf.ports")
	if err != nil {
		return fmt.Errorf("map of ports: %w", err)
	}
	failpoint.Before("bpf.flows")
	l.flows, err = ebpf.NewMapWithOptions(&ebpf.MapSpec{
		Name: "flows" + layout, Pinning: ebpf.PinByName, Type: ebpf.LRUHash,
		KeySize: sizeOf(flowKey{}), ValueSize: sizeOf(place{}), MaxEntries: maxFlows,
	}, opts)
	failpoint.After("bpf.flows")
	if err != nil {
		return fmt.Errorf("map of flows: %w", err)
	}
	return nil
}

func sizeOf(v any) uint32 { return uint32(binary.Size(v)) }

// attach finds the pinned link of a hook, or makes it. One that leads to
// another cgroup, or to none any more, is replaced.
func (l *Loopback) attach(h hook) error {
	pin := filepath.Join(l.dir, h.name)
	old, err := link.LoadPinnedLink(pin, nil)
	switch {
	case err == nil && l.onCgroup(old):
		l.links[h.name], l.stale = old, true
		return nil
	case err == nil:
		failpoint.Before("bpf.unpin")
		err := errors.Join(old.Unpin(), old.Close())
		failpoint.After("bpf.unpin")
		if err != nil {
			return err
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	failpoint.Before("bpf.attach")
	fresh, err := link.AttachCgroup(link.CgroupOptions{Path: l.cgroup, Attach: h.attach, Program: l.programs[h.name]})
	failpoint.After("bpf.attach")
	if err != nil {
		return err
	}
	failpoint.Before("bpf.pin")
	err = fresh.Pin(pin)
	failpoint.After("bpf.pin")
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	l.links[h.name] = fresh
	return nil
}

// onCgroup reports whether a link leads to our cgroup, whose ID is its inode.
func (l *Loopback) onCgroup(a attachment) bool {
	info, err := a.Info()
	var st unix.Stat_t
	return err == nil && info.Cgroup() != nil && unix.Stat(l.cgroup, &st) == nil && info.Cgroup().CgroupId == st.Ino
}

// refresh puts our programs in place of an earlier daemon's, once the ports
// that they look up are right. l.mu is held.
func (l *Loopback) refresh() error {
	if !l.stale {
		return nil
	}
	for name, a := range l.links {
		failpoint.Before("bpf.update")
		err := a.Update(l.programs[name])
		failpoint.After("bpf.update")
		if err != nil {
			return fmt.Errorf("replace program %s: %w", name, err)
		}
	}
	l.stale = false
	return nil
}

// Remove ends what Open made, whoever has it open: no port is served from
// then on, and the folder is gone. It is no error if there is nothing.
func Remove(dir string) error {
	mounted, err := isPins(dir)
	if err != nil || !mounted {
		return errors.Join(err, removeDir(dir))
	}
	var errs []error
	for _, h := range hooks {
		a, err := link.LoadPinnedLink(filepath.Join(dir, h.name), nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			failpoint.Before("bpf.detach")
			err = errors.Join(a.Detach(), a.Close())
			failpoint.After("bpf.detach")
		}
		errs = append(errs, err)
	}
	failpoint.Before("bpf.unmount")
	err = unix.Unmount(dir, unix.MNT_DETACH)
	failpoint.After("bpf.unmount")
	if err != nil {
		errs = append(errs, fmt.Errorf("unmount %s: %w", dir, err))
	} else {
		errs = append(errs, removeDir(dir))
	}
	return errors.Join(errs...)
}

func removeDir(dir string) error {
	failpoint.Before("bpf.remove")
	err := os.Remove(dir)
	failpoint.After("bpf.remove")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// mountPins mounts a bpffs at dir unless one is there.
func mountPins(dir string) (fresh bool, err error) {
	failpoint.Before("bpf.folder")
	err = os.MkdirAll(dir, 0o700)
	failpoint.After("bpf.folder")
	if err != nil {
		return false, fmt.Errorf("make folder: %w", err)
	}
	mounted, err := isPins(dir)
	if err != nil || mounted {
		return false, err
	}
	failpoint.Before("bpf.mount")
	err = unix.Mount("bpf", dir, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	failpoint.After("bpf.mount")
	if err != nil {
		return false, errors.Join(lacking("file system for programs (bpffs)", fmt.Errorf("mount %s: %w", dir, err)), removeDir(dir))
	}
	return true, nil
}

// isPins reports whether a bpffs is mounted at dir.
func isPins(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); errors.Is(err, unix.ENOENT) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look at %s: %w", dir, err)
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

// findCgroup returns where the cgroup2 hierarchy is mounted, from a table as
// in proc_pid_mountinfo(5). Beside version 1 that is not /sys/fs/cgroup.
func findCgroup(mountinfo string) (string, error) {
	table, err := os.ReadFile(mountinfo)
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	for m := range proc.Mounts(string(table)) {
		if m.Root == "/" && m.Type == "cgroup2" {
			return m.Point, nil
		}
	}
	return "", catenet.Unsupportedf("no cgroup2 hierarchy is mounted here").
		WithHint("mount it (mount -t cgroup2 none /sys/fs/cgroup/unified) and start catenetd again")
}

// netnsCookie returns the kernel's number of this thread's network namespace.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, lacking("cookies of network namespaces (since 5.14)", err)
	}
	return cookie, nil
}

// lacking says that the kernel, or our rights in it, do not allow something.
func lacking(what string, err error) error {
	return catenet.Unsupportedf("eBPF for loopback ports: %s: %w", what, err)
}
