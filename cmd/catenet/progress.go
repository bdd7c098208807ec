package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// showAfter is how long something may take before a person is told what is
// being waited for, and how often that is written anew.
const showAfter = time.Second

// eraseLine goes to the beginning of the line and empties it: EL of ECMA-48.
const eraseLine = "\r\x1b[K"

// during does something, and shows on a terminal what it is and for how long
// it goes on already. The line is taken away at the end. Elsewhere nothing is
// shown.
func (c *cli) during(what string, do func() error) error {
	if !c.looksOn() {
		return do()
	}
	began, over, gone := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(showAfter)
		defer tick.Stop()
		for last := ""; ; {
			select {
			case <-tick.C:
				last = eraseLine
				fmt.Fprintf(c.err, "%s%s, %d s", eraseLine, what, int(time.Since(began).Seconds()))
			case <-over:
				_, _ = io.WriteString(c.err, last)
				return
			}
		}
	}()
	err := do()
	close(over)
	<-gone
	return err
}

// looksOn tells whether errors go to a terminal that can take a line back.
func (c *cli) looksOn() bool {
	f, ok := c.err.(*os.File)
	if !ok || os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
