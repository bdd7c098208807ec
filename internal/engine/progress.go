package engine

import (
	"sync"
	"sync/atomic"
)

// restoreWorkers is how many sandboxes are restored side by side. The kernel
// takes one change of links at a time; more would only wait.
const restoreWorkers = 4

// sideBySide does something for each sandbox, some of them at a time.
func sideBySide(all []*sandbox, do func(*sandbox)) {
	work := make(chan *sandbox)
	var wg sync.WaitGroup
	for range min(restoreWorkers, len(all)) {
		wg.Go(func() {
			for sb := range work {
				do(sb)
			}
		})
	}
	for _, sb := range all {
		work <- sb
	}
	close(work)
	wg.Wait()
}

// counted tells that something which may take a while begins, and returns what
// tells that one more of it is done.
func (e *Engine) counted(doing string, of int) (oneDone func()) {
	if e.o.Progress == nil || of == 0 {
		return func() {}
	}
	var done atomic.Int64
	e.o.Progress(doing, 0, of)
	return func() { e.o.Progress(doing, int(done.Add(1)), of) }
}
