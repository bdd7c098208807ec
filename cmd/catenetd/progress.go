package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// tellEvery is how often it is told how far something is. What is done sooner
// is not told of.
const tellEvery = time.Second

// progress tells the log and the service manager how far a long task is.
type progress struct {
	log *slog.Logger

	mu       sync.Mutex // guards all below
	doing    string
	done, of int
	timer    *time.Timer // nil: nothing is under way
	told     bool        // of what is under way
}

// set is engine.Options.Progress.
func (p *progress) set(doing string, done, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing, p.done, p.of = doing, max(done, p.doneOf(doing)), of
	switch {
	case p.done < of && p.timer == nil:
		p.timer = time.AfterFunc(tellEvery, p.tell)
	case p.done == of && p.timer != nil:
		p.timer.Stop()
		if p.timer = nil; p.told {
			p.told = false
			p.log.Info(doing, "done", done, "of", of)
			tell(p.log, "STATUS=")
		}
	}
}

// doneOf is how much of it is known to be done: those who do it do not come
// in order. p.mu is held.
func (p *progress) doneOf(doing string) int {
	if p.timer == nil || p.doing != doing {
		return 0
	}
	return p.done
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return // done meanwhile
	}
	p.told = true
	p.log.Info(p.doing, "done", p.done, "of", p.of)
	tell(p.log, fmt.Sprintf("STATUS=%s: %d of %d", p.doing, p.done, p.of))
	p.timer.Reset(tellEvery)
}
