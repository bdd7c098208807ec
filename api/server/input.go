package server

import (
	"io"
	"sync"

	"github.com/catenet/catenet/api"
)

// input is the standard input of an exec: filled from frames, read by the
// program. It never holds more than api.Window bytes, because the client is
// told to send more only as they are read.
type input struct {
	mu    sync.Mutex // guards buf and ended
	cond  *sync.Cond // buf or ended changed
	buf   []byte
	ended bool

	out *frameWriter
}

func newInput(out *frameWriter) *input {
	in := &input{out: out}
	in.cond = sync.NewCond(&in.mu)
	return in
}

// receive reads frames until the connection ends or one is against the rules.
func (in *input) receive(r io.Reader) {
	defer in.end()
	buf := make([]byte, api.MaxFrame)
	for {
		stream, p, err := api.ReadFrame(r, buf)
		if err != nil || stream != api.FrameStdin {
			return
		}
		if len(p) == 0 {
			in.end()
		} else if !in.add(p) {
			return
		}
	}
}

// add takes more bytes, unless they are more than was granted.
func (in *input) add(p []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended || len(in.buf)+len(p) > api.Window {
		return false
	}
	in.buf = append(in.buf, p...)
	in.cond.Broadcast()
	return true
}

func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	in.cond.Broadcast()
}

// Read blocks until there is input, and returns io.EOF at its end.
func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	for len(in.buf) == 0 && !in.ended {
		in.cond.Wait()
	}
	n := copy(p, in.buf)
	in.buf = in.buf[n:]
	if len(in.buf) == 0 {
		in.buf = nil
	}
	ended := in.ended
	in.mu.Unlock()
	if n == 0 {
		return 0, io.EOF
	}
	if !ended {
		in.out.number(api.FrameWindowUpdate, n)
	}
	return n, nil
}
