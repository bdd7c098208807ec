// Package process runs containers of our own: kernel.Processes. It is the
// daemon's side; the other one, in the program catenet-shim, is package shim.
//
//	init of the host, once the daemon is gone
//	 │
//	catenetd ── is the parent of, and reaps:
//	 │
//	 ├─ catenet-shim run DIR LOG     session of its own, the host's namespaces;
//	 │   │                           holds DIR/lock, writes DIR/pid, LOG and,
//	 │   │                           last, DIR/exit
//	 │   └─ the program              PID 1 of a PID namespace, with a mount, UTS
//	 │       │                       and IPC namespace and the given network
//	 │       │                       namespace; was catenet-shim init until
//	 │       │                       execve(2); dies with its shim
//	 │       └─ its children         die with PID 1
//	 │
//	 └─ catenet-shim exec            in the container's namespaces but its PID
//	     │                           namespace; gives up when the daemon does
//	     └─ the program              in all of the container's namespaces
//
// Who dies when:
//
//   - The daemon: nothing happens to containers. What exec started is killed,
//     since nobody is left to hear of it.
//   - The shim: the container is killed by the kernel (PR_SET_PDEATHSIG). A
//     program that has changed its user is free of that (prctl(2)); Wait,
//     Running and Start kill it then. The exit code is 137.
//   - The program: the kernel kills all others of its PID namespace, the shim
//     writes the rest of the log and the exit code, and ends.
//
// The program is PID 1, as with Docker: the kernel delivers it a signal such
// as SIGTERM only if it has a handler for it, and orphans are its to reap. A
// stop is SIGTERM, some patience, SIGKILL; that is the engine's to do.
//
// The shim is no subreaper: whatever loses its parent inside is given to PID
// 1, and nothing of the container's is outside. It holds no descriptor of any
// namespace, so that a network namespace ends with those who live in it.
//
// A container is no jail: its program has root's capabilities, and may do to
// the host what root may. What it is given of its own is names, addresses,
// processes and, with a root file system, files.
//
// On the host's file system, /etc/hosts, /etc/resolv.conf and /etc/hostname
// are bound over the host's. If somebody replaces the host's file (rename(2),
// as many tools do), the kernel takes the bound one away from running
// containers: they see the host's from then on, until they are started again.
//
// Needs Linux 5.8: pidfd in setns(2), openat2(2), open_tree(2).
package process
