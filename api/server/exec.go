package server

import (
	"bufio"
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

// switching is the reply after which the connection carries frames.
const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.ExecProtocol + "\r\n\r\n"

// exec runs one more program in a container over an upgraded connection.
// What can be refused is refused before the upgrade, with a status.
func (s *Server) exec(w http.ResponseWriter, r *request) error {
	if r.Header.Get("Upgrade") != api.ExecProtocol {
		return catenet.Invalidf("exec needs a connection of its own").WithHint("set Connection: Upgrade and Upgrade: %s", api.ExecProtocol)
	}
	var spec catenet.ExecSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	if len(spec.Args) == 0 {
		return catenet.Invalidf("exec has no command").WithHint("name a program in args")
	}
	sb, err := s.engine.Sandbox(r.Context(), r.ref)
	if err != nil {
		return err
	}
	if sb.State != catenet.StateRunning {
		return catenet.Conflictf("container %s is not running", sb.Name).WithHint("catenet start %s first", sb.Name)
	}
	s.execs.Add(1)
	defer s.execs.Done()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take over connection: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(s.over, func() { conn.Close() })()
	// From here on the request's own context does not end with its client.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	if _, err := io.WriteString(conn, switching); err != nil {
		return nil
	}
	s.carry(ctx, cancel, conn, rw.Reader, sb.ID, spec)
	return nil
}

// carry runs the program between the frames of both directions.
func (s *Server) carry(ctx context.Context, cancel context.CancelFunc, conn net.Conn, r *bufio.Reader, id string, spec catenet.ExecSpec) {
	out := &frameWriter{w: conn, failed: cancel}
	in := newInput(out)
	go func() {
		in.receive(r) // returns when the client goes away, or breaks the rules
		cancel()
	}()
	defer in.end()
	code, err := s.engine.Exec(ctx, id, spec, in, out.stream(api.FrameStdout), out.stream(api.FrameStderr))
	if err == nil && ctx.Err() == nil {
		out.number(api.FrameExit, code)
		return
	}
	if err == nil {
		err = ctx.Err() // how the program ended says nothing: it was killed
	}
	msg, merr := json.Marshal(api.NewError(s.told(err)))
	if merr != nil || len(msg) > api.MaxFrame {
		msg = []byte(`{"kind":"internal","message":"exec failed"}`)
	}
	_ = out.write(api.FrameFailure, msg) // a client that is gone needs no answer
}

// frameWriter sends frames from several goroutines.
type frameWriter struct {
	mu     sync.Mutex
	w      io.Writer
	failed func() // called when the client cannot be reached
}

func (f *frameWriter) write(stream byte, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := api.WriteFrame(f.w, stream, p)
	if err != nil {
		f.failed()
	}
	return err
}

func (f *frameWriter) number(stream byte, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := api.WriteNumber(f.w, stream, n); err != nil {
		f.failed()
	}
}

// stream returns a Writer that cuts what it is given into frames.
func (f *frameWriter) stream(id byte) io.Writer {
	return writerFunc(func(p []byte) (n int, err error) {
		for len(p) > 0 {
			part := p[:min(len(p), api.MaxFrame)]
			if err := f.write(id, part); err != nil {
				return n, err
			}
			n, p = n+len(part), p[len(part):]
		}
		return n, nil
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
