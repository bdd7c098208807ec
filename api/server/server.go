package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni"
	"github.com/catenet/catenet/api/netavark"
)

// Server answers requests with an engine's answers, in our own words below
// /v1/ and in Docker's elsewhere.
//
// A request that changes something is carried out to its end even if its
// client goes away, so that nothing is half done; one that waits or streams
// ends with its client, or when the server shuts down.
type Server struct {
	engine FullEngine
	podman *netavark.Front
	spool  spool // calls by api/pipe
	log    *slog.Logger
	*Front
	mux *http.ServeMux

	closing context.Context // ended by Shutdown: streams and waits stop
	close   context.CancelFunc
	over    context.Context // ended by Shutdown at last: who still talks is cut off
	cut     context.CancelFunc
	execs   sync.WaitGroup // connections that http.Server has handed over
}

// PodmanNetworks names the folder of Podman's definitions of networks, into
// which Podman is told what of a network it shares. It comes before Serve.
func (s *Server) PodmanNetworks(dir string) { s.podman.Definitions = dir }

// New makes a server. It logs what it refuses and what goes wrong here.
func New(e FullEngine, log *slog.Logger) *Server {
	s := &Server{engine: e, log: log, mux: http.NewServeMux(), podman: netavark.New(e, log)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.over, s.cut = context.WithCancel(context.Background())
	s.spool.fronts = map[string]answering{cni.Path: cni.New(e).Answer, netavark.Path: s.podman.Answer}
	for _, r := range s.routes() {
		s.mux.HandleFunc(r.method+" "+r.path, s.handle(r))
	}
	s.mux.HandleFunc("/"+catenet.APIVersion+"/", s.noRoute)
	s.mux.Handle("/", s.dockerAPI())
	s.Front = NewFront(&http.Server{
		Handler: s.mux,
		// No timeout on reading as a whole: it would end streams. A slow
		// body is cut off where it is read.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
	return s
}

// Pause is Front.Pause. Streams and waits end at once.
func (s *Server) Pause(ctx context.Context) ([]Kept, error) {
	s.close()
	kept, err := s.Front.Pause(ctx)
	s.cut()
	s.execs.Wait()
	return kept, err
}

// Serve is Front.Serve. Calls that were written down are beside the socket.
func (s *Server) Serve(l net.Listener, kept ...Kept) error {
	s.spool.beside(l.Addr().String())
	return s.Front.Serve(l, kept...)
}

// Shutdown closes the listeners, ends streams and waits, and waits for the
// other requests until ctx ends; what is left then is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	defer s.cut()
	err := s.Front.Shutdown(ctx)
	ended := make(chan struct{})
	go func() { s.execs.Wait(); close(ended) }()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("end programs of exec: %w", ctx.Err()))
	}
}

// following returns a context for requests that wait or stream: it ends with
// the client, and when the server shuts down.
func (s *Server) following(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }
}
