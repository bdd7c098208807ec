// Package rundir is the folder that a container of ours has while it runs,
// and the only thing that the daemon and the shim share:
//
//	lock    held by the shim as long as it lives
//	pid     who the shim and the container's first process are
//	exit    how the container ended; written before the lock is released
//	stderr  what the shim itself had to complain about; empty
//
// A folder tells everything about its container, so that a daemon started
// later knows as much as the one that started it:
//
//	lock held, no pid    being started
//	lock held, pid       running
//	lock free, exit      ended
//	lock free, pid only  the shim was killed; the container has to follow it
//	lock free, nothing   never started
package rundir
