package netns

import (
	"errors"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/proc"
)

// Target says what to watch of the namespace that a path leads to: the
// process, if it is /proc/PID/ns/net, else the path itself.
func (n *Namespaces) Target(path string, inode uint64) (kernel.Target, error) {
	t := kernel.Target{PID: pidOf(path), Path: path, Inode: inode}
	if t.PID == 0 {
		return t, nil
	}
	id, err := proc.Identify(t.PID)
	if errors.Is(err, proc.ErrGone) {
		err = catenet.NotFoundf("there is no process %d", t.PID)
	}
	t.StartTime = id.Start
	return t, err
}
