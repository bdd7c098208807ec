package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"runtime"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
	"github.com/catenet/catenet/api/docker"
)

// dockerHandler answers one route of Docker's API, in a version of it, or
// returns an error before it has written anything.
type dockerHandler func(w http.ResponseWriter, r *http.Request, version string) error

// dockerRoutes are those of Docker's API that are served, with a version in
// front and without. A slash at the end is a page of its own there.
func (s *Server) dockerRoutes() map[string]dockerHandler {
	return map[string]dockerHandler{
		"GET /_ping":                      s.dockerPing,
		"GET /version":                    s.dockerVersion,
		"GET /info":                       s.dockerInfo,
		"GET /events":                     s.dockerEvents,
		"GET /networks":                   s.dockerNetworks,
		"GET /networks/{$}":               s.dockerNetworks,
		"GET /networks/{ref...}":          s.dockerInspect,
		"POST /networks/create":           s.dockerCreate,
		"POST /networks/prune":            s.dockerPrune,
		"POST /networks/{ref}/connect":    s.dockerConnect,
		"POST /networks/{ref}/disconnect": s.dockerDisconnect,
		"DELETE /networks/{ref...}":       s.dockerRemove,
	}
}

// versioned is a path that begins with a version of Docker's API.
var versioned = regexp.MustCompile(`^/v([0-9.]+)(/.*)$`)

// versionKey is what the version is known by in a request's context.
type versionKey struct{}

// dockerAPI answers what is asked in Docker's words.
func (s *Server) dockerAPI() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range s.dockerRoutes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			version, _ := r.Context().Value(versionKey{}).(string)
			err := docker.CheckVersion(version)
			if err == nil {
				err = handle(w, r, version)
			}
			if err != nil {
				s.failDocker(w, r, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		h := w.Header()
		h.Set("Api-Version", docker.MaxVersion)
		h.Set("Ostype", runtime.GOOS)
		h.Set("Server", fmt.Sprintf("catenet/%s (%s)", catenet.BuildVersion().Version, runtime.GOOS))
		version := docker.MaxVersion
		if m := versioned.FindStringSubmatch(r.URL.Path); m != nil {
			version = m[1]
			at := *r.URL
			at.Path, at.RawPath = m[2], ""
			r = r.WithContext(r.Context())
			r.URL = &at
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			s.failDocker(w, r, docker.NotServed(r.URL.Path))
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), versionKey{}, version)))
	})
}

// failDocker answers with an error as Docker does. Ours are logged.
func (s *Server) failDocker(w http.ResponseWriter, r *http.Request, err error) {
	f := docker.FailureOf(s.told(err))
	if se, ok := errors.AsType[statusError](err); ok {
		f.Status = se.status
	}
	if f.Status == http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if err := reply(w, f.Status, map[string]string{"message": f.Message}); err != nil {
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
}

// dockerBody reads a request's JSON as Docker does: no body leaves v as it is,
// and fields that nobody knows are passed by.
func dockerBody(w http.ResponseWriter, r *http.Request, v any) error {
	ct := r.Header.Get("Content-Type")
	if ct == "" && r.ContentLength == 0 {
		return nil
	}
	switch mt, _, err := mime.ParseMediaType(ct); {
	case err != nil:
		return catenet.Invalidf("malformed Content-Type header (%s): %v", ct, err)
	case mt != api.TypeJSON:
		return catenet.Invalidf("unsupported Content-Type header (%s): must be '%s'", ct, api.TypeJSON)
	case r.ContentLength == 0:
		return nil
	}
	return receive(w, r, v, false, func(err error) error {
		switch {
		case errors.Is(err, io.EOF):
			return catenet.Invalidf("invalid JSON: got EOF while reading request body")
		case errors.Is(err, errBehind):
			return catenet.Invalidf("unexpected content after JSON")
		}
		return catenet.Invalidf("invalid JSON: %v", err)
	})
}
