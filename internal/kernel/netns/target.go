package netns

import "github.com/catenet/catenet/internal/kernel"

// Target says what to watch of the namespace that a path leads to: the
// process, if it is /proc/PID/ns/net, else the path itself.
func (n *Namespaces) Target(path string, inode uint64) (kernel.Target, error) {
	t := kernel.Target{PID: pidOf(path), Path: path, Inode: inode}
	if t.PID == 0 {
		return t, nil
	}
	var err error
	t.StartTime, err = StartTime(t.PID)
	return t, err
}
