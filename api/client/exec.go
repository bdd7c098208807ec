package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// Exec runs one more program in a running container and returns its exit
// code. The program is killed when ctx ends. stdin may be nil; it may still be
// read from once when Exec has returned.
func (c *Client) Exec(ctx context.Context, ref string, spec catenet.ExecSpec, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	path, err := at("container", ref, "/exec")
	if err != nil {
		return 0, err
	}
	res, err := c.upgrade(ctx, path, spec)
	if err != nil {
		return 0, err
	}
	defer res.Close()
	win := newWindow(api.Window)
	defer win.close()
	go sendInput(res.conn, stdin, win)
	code, err := receive(res.conn.r, win, stdout, stderr)
	if err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return code, err
}

// upgrade turns a connection into one of frames.
func (c *Client) upgrade(ctx context.Context, path string, spec catenet.ExecSpec) (*reply, error) {
	req, err := c.request(ctx, "POST", path, nil, spec)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", api.ExecProtocol)
	res, err := c.exchange(ctx, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Close()
		return nil, readError(res.Response)
	}
	return res, nil
}

// receive writes the program's output and returns how it ended.
func receive(r io.Reader, win *window, stdout, stderr io.Writer) (int, error) {
	buf := make([]byte, api.MaxFrame)
	for {
		stream, p, err := api.ReadFrame(r, buf)
		if err != nil {
			return 0, catenet.Errorf(catenet.KindUnavailable, "the daemon went away: %w", err)
		}
		switch stream {
		case api.FrameStdout:
			_, err = stdout.Write(p)
		case api.FrameStderr:
			_, err = stderr.Write(p)
		case api.FrameWindowUpdate:
			var n int
			if n, err = api.Number(p); err == nil {
				win.grow(n)
			}
		case api.FrameExit:
			return api.Number(p)
		case api.FrameFailure:
			var e api.Error
			if err = json.Unmarshal(p, &e); err == nil {
				err = e.Err()
			}
		default:
			err = fmt.Errorf("read output: unexpected frame of stream %d", stream)
		}
		if err != nil {
			return 0, err
		}
	}
}

// sendInput sends stdin and then its end. Errors need no word: the connection
// is gone, and receive says so.
func sendInput(conn net.Conn, stdin io.Reader, win *window) {
	buf := make([]byte, api.MaxFrame)
	for stdin != nil {
		n, rerr := stdin.Read(buf)
		for sent := 0; sent < n; {
			part := win.take(n - sent)
			if part == 0 || api.WriteFrame(conn, api.FrameStdin, buf[sent:sent+part]) != nil {
				return
			}
			sent += part
		}
		if rerr != nil {
			break
		}
	}
	_ = api.WriteFrame(conn, api.FrameStdin, nil)
}

// window is how many bytes the server is ready to take.
type window struct {
	mu     sync.Mutex // guards both
	cond   *sync.Cond // one of them changed
	left   int
	closed bool
}

func newWindow(n int) *window {
	w := &window{left: n}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// take blocks until some of n bytes may be sent, and returns how many; 0 when
// the window is closed.
func (w *window) take(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.left == 0 && !w.closed {
		w.cond.Wait()
	}
	if w.closed {
		return 0
	}
	n = min(n, w.left)
	w.left -= n
	return n
}

func (w *window) grow(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left += max(n, 0)
	w.cond.Broadcast()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.cond.Broadcast()
}
