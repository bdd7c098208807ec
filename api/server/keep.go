package server

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"
)

// lookAgain is how often the socket's file is looked for.
const lookAgain = time.Second

// Keep makes the socket anew when its file is gone, until ctx ends: nobody
// would find the way here before the next start. Whatever else is in its place
// stays.
func (l *Listener) Keep(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for complained := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		made, err := l.remake()
		switch {
		case made:
			l.log.Warn("the socket's file was gone, and is made anew", "path", l.path)
			complained = ""
		case err != nil && err.Error() != complained:
			complained = err.Error()
			l.log.Error("the socket's file is gone, and cannot be made anew; trying again", "path", l.path, "err", err)
		}
	}
}

// remake takes a new socket in place of one whose file is gone.
func (l *Listener) remake() (made bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := os.Lstat(l.path); l.closed || !errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	u, err := bind(l.path)
	if err != nil {
		return false, err
	}
	if l.gid, err = own(l.path, l.group); err == nil {
		err = u.SetDeadline(l.deadline)
	}
	if err != nil {
		return false, errors.Join(err, u.Close())
	}
	old := l.now
	l.now = u
	old.SetUnlinkOnClose(false) // it would be the new one's
	return true, old.Close()
}

func (l *Listener) current() *net.UnixListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Close closes the socket for good, and removes its file.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.now.Close()
}

// Addr is the socket's.
func (l *Listener) Addr() net.Addr { return l.current().Addr() }

// SetDeadline is until when Accept waits.
func (l *Listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = t
	return l.now.SetDeadline(t)
}
