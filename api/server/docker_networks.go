package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/docker"
)

func (s *Server) dockerNetworks(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := dockerFilter(r, catenet.NetworkFilterKeys)
	if err != nil {
		return err
	}
	all, err := s.engine.Networks(r.Context())
	if err != nil {
		return err
	}
	out := []network.Summary{}
	for _, n := range all {
		if f.MatchNetwork(n.Network, len(n.Endpoints) > 0, time.Now()) {
			out = append(out, network.Summary{Network: docker.Network(n.Network)})
		}
	}
	return reply(w, http.StatusOK, out)
}

// dockerFilter reads the parameter filters.
func dockerFilter(r *http.Request, known []string) (catenet.Filter, error) {
	if err := r.ParseForm(); err != nil {
		return nil, catenet.Invalidf("%w", err)
	}
	return docker.ParseFilter(r.Form.Get("filters"), known)
}

func (s *Server) dockerInspect(w http.ResponseWriter, r *http.Request, version string) error {
	query := r.URL.Query()
	if v := query.Get("verbose"); v != "" {
		if _, err := strconv.ParseBool(v); err != nil {
			return catenet.Invalidf("invalid value for verbose: %s: %w", v, err)
		}
	}
	ref := r.PathValue("ref")
	if scope := query.Get("scope"); scope != "" && scope != catenet.ScopeLocal {
		return docker.NoNetwork(catenet.NotFoundf("no network is of scope %s", scope), ref, nil)
	}
	n, err := s.dockerNetwork(r.Context(), ref)
	if err != nil {
		return err
	}
	names, err := s.names(r.Context(), n)
	if err != nil {
		return err
	}
	out := docker.Inspect(n, names)
	if !docker.Since(version, "1.52") {
		out.Status = nil
	}
	return reply(w, http.StatusOK, out)
}

// dockerNetwork finds a network.
func (s *Server) dockerNetwork(ctx context.Context, ref string) (catenet.NetworkStatus, error) {
	n, err := s.engine.Network(ctx, ref)
	if err == nil {
		return n, nil
	}
	all, lerr := s.engine.Networks(ctx)
	if lerr != nil {
		return n, lerr
	}
	return n, docker.NoNetwork(err, ref, all)
}

// names are those of the sandboxes in a network, by ID.
func (s *Server) names(ctx context.Context, n catenet.NetworkStatus) (map[string]string, error) {
	names := make(map[string]string)
	if len(n.Endpoints) == 0 {
		return names, nil
	}
	all, err := s.engine.Sandboxes(ctx, true)
	for _, sb := range all {
		names[sb.ID] = sb.Name
	}
	return names, err
}

func (s *Server) dockerCreate(w http.ResponseWriter, r *http.Request, _ string) error {
	var asked network.CreateRequest
	if err := dockerBody(w, r, &asked); err != nil {
		return err
	}
	spec, err := docker.Spec(asked)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	n, warnings, err := s.engine.CreateNetwork(ctx, spec)
	if err != nil {
		all, lerr := s.engine.Networks(ctx)
		if lerr != nil {
			return lerr
		}
		return docker.NotCreated(err, spec, all)
	}
	return reply(w, http.StatusCreated, network.CreateResponse{ID: n.ID, Warning: strings.Join(warnings, "\n")})
}

func (s *Server) dockerRemove(w http.ResponseWriter, r *http.Request, _ string) error {
	ctx := context.WithoutCancel(r.Context())
	n, err := s.dockerNetwork(ctx, r.PathValue("ref"))
	if err != nil {
		return err
	}
	if _, err := s.engine.RemoveNetwork(ctx, n.ID); err != nil {
		names, nerr := s.names(ctx, n)
		if nerr != nil {
			return nerr
		}
		return docker.NotRemoved(err, n, names)
	}
	return done(w)
}

func (s *Server) dockerPrune(w http.ResponseWriter, r *http.Request, _ string) error {
	f, err := dockerFilter(r, catenet.PruneFilterKeys)
	if err != nil {
		return err
	}
	names, err := s.engine.PruneNetworks(context.WithoutCancel(r.Context()), f)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, network.PruneReport{NetworksDeleted: names})
}

func (s *Server) dockerConnect(w http.ResponseWriter, r *http.Request, version string) error {
	var asked network.ConnectRequest
	if err := dockerBody(w, r, &asked); err != nil {
		return err
	}
	spec, err := docker.EndpointSpec(asked.EndpointConfig, version)
	if err != nil {
		return err
	}
	ctx, ref := context.WithoutCancel(r.Context()), r.PathValue("ref")
	if _, err := s.engine.Connect(ctx, ref, asked.Container, spec); err != nil {
		n, sb, missing := s.parties(ctx, ref, asked.Container)
		if missing != nil {
			return missing
		}
		return docker.NotConnected(err, n, sb, spec)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) dockerDisconnect(w http.ResponseWriter, r *http.Request, _ string) error {
	var asked network.DisconnectRequest
	if err := dockerBody(w, r, &asked); err != nil {
		return err
	}
	ctx, ref := context.WithoutCancel(r.Context()), r.PathValue("ref")
	if err := s.engine.Disconnect(ctx, ref, asked.Container, asked.Force); err != nil {
		n, sb, missing := s.parties(ctx, ref, asked.Container)
		if missing != nil {
			return missing
		}
		return docker.NotDisconnected(err, n, sb)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// parties finds a network and a sandbox, to tell why they did not come together
// or apart.
func (s *Server) parties(ctx context.Context, ref, container string) (n catenet.NetworkStatus, sb catenet.SandboxStatus, err error) {
	if sb, err = s.engine.Sandbox(ctx, container); err != nil {
		return n, sb, docker.NoContainer(err, container)
	}
	n, err = s.dockerNetwork(ctx, ref)
	return n, sb, err
}
