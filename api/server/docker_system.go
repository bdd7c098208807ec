package server

import (
	"io"
	"net/http"
	"time"

	"github.com/catenet/catenet/api/docker"
)

// dockerPing tells clients, in the header, which version of the API to speak.
func (s *Server) dockerPing(w http.ResponseWriter, r *http.Request, _ string) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Swarm", "inactive")
	h.Set("Docker-Experimental", "false")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		return nil
	}
	_, _ = io.WriteString(w, "OK") // a client that is gone needs no answer
	return nil
}

func (s *Server) dockerVersion(w http.ResponseWriter, r *http.Request, _ string) error {
	info, err := s.engine.Info(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, docker.Version(info))
}

func (s *Server) dockerInfo(w http.ResponseWriter, r *http.Request, _ string) error {
	info, err := s.engine.Info(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, docker.Info(info, time.Now()))
}
