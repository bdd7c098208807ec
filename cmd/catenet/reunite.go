package main

import (
	"context"
	"fmt"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

// reunion is how long a daemon that went away may take to come back: one that
// systemd starts again needs a second or two. A container does not notice, and
// its log and exit code are kept by its shim.
const reunion = 30 * time.Second

// knock is how often a daemon that went away is looked for.
const knock = 200 * time.Millisecond

// reunite calls ask again as long as the daemon is away, for reunion at most.
// ask calls found once the daemon has begun to answer.
func reunite(ctx context.Context, ask func(found func()) error) error {
	var lost time.Time // zero: it is there, as far as we know
	for {
		err := ask(func() { lost = time.Time{} })
		if catenet.KindOf(err) != catenet.KindUnavailable {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > reunion {
			return err
		}
		select {
		case <-time.After(knock):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow shows a container's log until it ends, each line once, whatever
// happens to the daemon meanwhile.
func (c *cli) follow(ctx context.Context, cl *client.Client, id string, ready func()) error {
	show := c.copyLines(false)
	var last time.Time // of the line shown last
	shown := 0         // lines of just then
	return reunite(ctx, func(found func()) error {
		again := shown // that come once more
		o := catenet.LogOptions{Follow: true, Tail: -1, Since: last}
		return cl.Logs(ctx, id, o, func() { found(); ready() }, func(stream string, t time.Time, line []byte) error {
			if t.Equal(last) && again > 0 {
				again--
				return nil
			}
			if !t.Equal(last) {
				last, shown = t, 0
			}
			shown++
			return show(stream, t, line)
		})
	})
}

// await waits for a container's end, whatever happens to the daemon meanwhile.
func (c *cli) await(ctx context.Context, cl *client.Client, id string, ready func()) (code int, err error) {
	told := false
	err = reunite(ctx, func(found func()) (err error) {
		code, err = cl.Wait(ctx, id, func() { told = false; found(); ready() })
		if catenet.KindOf(err) == catenet.KindUnavailable && !told {
			told = true
			fmt.Fprintf(c.err, "catenet: %v\ncatenet: the container goes on; the daemon is waited for, for %v\n", err, reunion)
		}
		return err
	})
	return code, err
}
