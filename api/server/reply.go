package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// reply sends v with a status.
func reply(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write reply: %w", err)
	}
	w.Header().Set("Content-Type", api.TypeJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	// A client that is gone is none of the handler's business.
	_, _ = w.Write(append(b, '\n'))
	return nil
}

// done answers a request that has nothing to tell.
func done(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list makes an absent list an empty one: [] on the wire, never null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// handle runs a route's handler and turns what goes wrong into a reply.
func (s *Server) handle(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		defer s.recovered(w, req)
		r, err := read(req, rt)
		if err == nil {
			err = rt.handle(w, r)
		}
		if err != nil {
			s.fail(w, req, err)
		}
	}
}

// fail answers with an error. Ours are logged: the client cannot mend them.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	err = s.told(err)
	kind := catenet.KindOf(err)
	status := api.Status(kind)
	if se, ok := errors.AsType[statusError](err); ok {
		status = se.status
	}
	if kind == catenet.KindInternal && r.Context().Err() == nil {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if err := reply(w, status, api.NewError(err)); err != nil {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
}

// told is err as the client hears it: that we are shutting down, where that is
// why the request ended, or what helps, where a disk is in the way.
func (s *Server) told(err error) error {
	if s.closing.Err() != nil && errors.Is(err, context.Canceled) {
		return catenet.Errorf(catenet.KindUnavailable, "the daemon is shutting down").WithHint("ask again when it has started")
	}
	return catenet.Unwritable(err)
}

// recovered answers a request whose handler panicked. Where a reply had begun
// the connection is cut, or its reader would take half a reply for a whole.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == any(http.ErrAbortHandler) {
		panic(p)
	}
	s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if w.Header().Get("Content-Type") != "" {
		panic(http.ErrAbortHandler)
	}
	s.fail(w, r, catenet.Errorf(catenet.KindInternal, "the daemon has a bug: %v", p).WithHint("its log has more"))
}

// noRoute answers what no route matches: 405 where another method would.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{"GET", "POST", "DELETE"} {
		other := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(other); pattern != "/"+catenet.APIVersion+"/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, r, refuse(http.StatusMethodNotAllowed, catenet.Invalidf("%s has no method %s", r.URL.Path, r.Method).WithHint("methods here: %s", strings.Join(allowed, ", "))))
		return
	}
	s.fail(w, r, catenet.NotFoundf("there is nothing at %s", r.URL.Path).WithHint("routes begin with /%s/ and are described in api/openapi.yaml", catenet.APIVersion))
}
