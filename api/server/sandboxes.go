package server

import (
	"net/http"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// defaultGrace is how long a container has to end when it is asked to, as
// with Docker.
const defaultGrace = 10 * time.Second

func (s *Server) listSandboxes(w http.ResponseWriter, r *request) error {
	all, err := r.flag("all", false)
	if err != nil {
		return err
	}
	sbs, err := s.engine.Sandboxes(r.Context(), all)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(sbs))
}

func (s *Server) createSandbox(w http.ResponseWriter, r *request) error {
	start, err := r.flag("start", true)
	if err != nil {
		return err
	}
	var spec catenet.SandboxSpec
	if err := body(w, r, &spec); err != nil {
		return err
	}
	sb, err := s.engine.CreateSandbox(r.lasting(), spec, start)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, sb)
}

func (s *Server) getSandbox(w http.ResponseWriter, r *request) error {
	sb, err := s.engine.Sandbox(r.Context(), r.ref)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, sb)
}

func (s *Server) updateSandbox(w http.ResponseWriter, r *request) error {
	var up catenet.SandboxUpdate
	if err := body(w, r, &up); err != nil {
		return err
	}
	sb, err := s.engine.UpdateSandbox(r.lasting(), r.ref, up)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, sb)
}

func (s *Server) removeSandbox(w http.ResponseWriter, r *request) error {
	force, err := r.flag("force", false)
	if err != nil {
		return err
	}
	if err := s.engine.Remove(r.lasting(), r.ref, force); err != nil {
		return err
	}
	return done(w)
}

func (s *Server) check(w http.ResponseWriter, r *request) error {
	if err := s.engine.Check(r.Context(), r.ref); err != nil {
		return err
	}
	return done(w)
}

func (s *Server) start(w http.ResponseWriter, r *request) error {
	if err := s.engine.Start(r.lasting(), r.ref); err != nil {
		return err
	}
	return done(w)
}

func (s *Server) stop(w http.ResponseWriter, r *request) error {
	grace, err := r.duration("grace", defaultGrace)
	if err != nil {
		return err
	}
	if err := s.engine.Stop(r.lasting(), r.ref, grace); err != nil {
		return err
	}
	return done(w)
}

// wait sends the header before the end is there: who has read it can start the
// container and miss nothing, even if it removes itself at its end.
func (s *Server) wait(w http.ResponseWriter, r *request) error {
	ctx, cancel := s.following(r.Request)
	defer cancel()
	out := newStream(w)
	code, err := s.engine.Wait(ctx, r.ref, func() { out.found(api.TypeJSON) })
	answer := api.WaitReply{ExitCode: code}
	switch {
	case err != nil && !out.opened:
		return err
	case err != nil:
		answer.Error = api.NewError(s.told(err))
	}
	if err := out.send(answer); err != nil {
		s.log.Debug("waiter went away", "container", r.ref, "err", err)
	}
	return nil
}
