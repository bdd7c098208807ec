package netns

import "context"

// Come blocks until there is a network namespace at path.
func (n *Namespaces) Come(ctx context.Context, path string) error {
	return n.mounts.wait(ctx, func() bool {
		ns, err := n.Open(path)
		if err != nil {
			return false
		}
		return ns.Close() == nil
	})
}
