package kernel

import "context"

// Mounts lays files of ours over those of containers that others start.
type Mounts interface {
	// Lay mounts the file source over the one of its name in /etc of a
	// container, in the mount namespace of the process t, and reports whether
	// it lies there. It does not where somebody else has mounted one there
	// already, which stays.
	//
	// root is the root of the container's file system as the process sees it:
	// "/", or a folder that is about to be made the root. Symbolic links in it
	// lead nowhere else. A file or folder that is absent is made, as container
	// runtimes do for their mounts, and stays. A process that has ended is a
	// not-found error; one in the daemon's own mount namespace an invalid one; a
	// file in a mount whose mounts the host would have too a conflict.
	// To lay the same file twice is to lay it once.
	Lay(ctx context.Context, t Target, root, source string) (laid bool, err error)
	// Lift takes the mount of source away, below root or below "/", which root
	// may be by now. Where it is not, or the process has ended, is nothing to do.
	Lift(ctx context.Context, t Target, root, source string) error
}
