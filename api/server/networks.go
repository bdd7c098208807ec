package server

import (
	"net/http"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

func (s *Server) listNetworks(w http.ResponseWriter, r *request) error {
	f, err := catenet.ParseFilter(r.query["filter"], catenet.NetworkFilterKeys)
	if err != nil {
		return err
	}
	all, err := s.engine.Networks(r.Context())
	if err != nil {
		return err
	}
	now := time.Now()
	out := make([]catenet.NetworkStatus, 0, len(all))
	for _, n := range all {
		if f.MatchNetwork(n.Network, len(n.Endpoints) > 0, now) {
			out = append(out, n)
		}
	}
	return reply(w, http.StatusOK, out)
}

func (s *Server) createNetwork(w http.ResponseWriter, r *request) error {
	var spec catenet.NetworkSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	n, warnings, err := s.engine.CreateNetwork(r.lasting(), spec)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, api.NetworkCreated{Network: n, Warnings: warnings})
}

func (s *Server) pruneNetworks(w http.ResponseWriter, r *request) error {
	f, err := catenet.ParseFilter(r.query["filter"], catenet.PruneFilterKeys)
	if err != nil {
		return err
	}
	removed, err := s.engine.PruneNetworks(r.lasting(), f)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.Pruned{Removed: list(removed)})
}

func (s *Server) getNetwork(w http.ResponseWriter, r *request) error {
	n, err := s.engine.Network(r.Context(), r.ref)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, n)
}

func (s *Server) updateNetwork(w http.ResponseWriter, r *request) error {
	var up catenet.NetworkUpdate
	if err := body(w, r, &up); err != nil {
		return err
	}
	n, warnings, err := s.engine.UpdateNetwork(r.lasting(), r.ref, up)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, api.NetworkCreated{Network: n, Warnings: warnings})
}

func (s *Server) removeNetwork(w http.ResponseWriter, r *request) error {
	warnings, err := s.engine.RemoveNetwork(r.lasting(), r.ref)
	if err != nil {
		return err
	}
	if len(warnings) > 0 {
		return reply(w, http.StatusOK, api.NetworkRemoved{Warnings: warnings})
	}
	return done(w)
}

func (s *Server) connect(w http.ResponseWriter, r *request) error {
	var req api.ConnectRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	if err := catenet.ValidateRef("container", req.Sandbox); err != nil {
		return err
	}
	ep, err := s.engine.Connect(r.lasting(), r.ref, req.Sandbox, req.Endpoint)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, ep)
}

func (s *Server) disconnect(w http.ResponseWriter, r *request) error {
	var req api.DisconnectRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	if err := catenet.ValidateRef("container", req.Sandbox); err != nil {
		return err
	}
	if err := s.engine.Disconnect(r.lasting(), r.ref, req.Sandbox, req.Force); err != nil {
		return err
	}
	return done(w)
}
