package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// folderWatch tells of changes in a log's folder: the log itself is renamed
// and made anew when it is rotated.
type folderWatch struct {
	f   *os.File
	buf [4096]byte
}

func watchFolder(path string) (*folderWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch log: %w", err)
	}
	w := &folderWatch{f: os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(fmt.Errorf("watch log: %w", err), w.Close())
	}
	return w, nil
}

func (w *folderWatch) Close() error { return w.f.Close() }

// wait returns nil after a change or when ended is closed, or ctx's error.
func (w *folderWatch) wait(ctx context.Context, ended <-chan struct{}) error {
	if err := w.f.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("watch log: %w", err)
	}
	read, woken := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(woken)
		select {
		case <-ctx.Done():
		case <-ended:
		case <-read:
			return
		}
		_ = w.f.SetReadDeadline(time.Unix(1, 0)) // fails only if closed, which wakes as well
	}()
	_, err := w.f.Read(w.buf[:]) // what changed does not matter
	close(read)
	<-woken
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ctx.Err()
	}
	return err
}
