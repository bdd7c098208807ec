package engine

// undo is the one stack of what must be taken back if a request fails.
type undo []func()

// add pushes what takes back the step just made.
func (u *undo) add(fn func()) { *u = append(*u, fn) }

// unless runs the stack, last step first, if *err is set. It is deferred.
func (u *undo) unless(err *error) {
	if *err == nil {
		return
	}
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
}
