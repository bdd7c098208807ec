package server

import (
	"net/http"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/cni"
	"github.com/catenet/catenet/api/netavark"
)

// route is one method of one path. handle answers by itself, or returns an
// error before it has written anything.
type route struct {
	method, path string
	query        []string // the parameters there are
	handle       func(w http.ResponseWriter, r *request) error
}

// routes is the whole API, in the order of openapi.yaml.
func (s *Server) routes() []route {
	const network, sandbox = "/v1/networks/{ref}", "/v1/sandboxes/{ref}"
	q := func(names ...string) []string { return names }
	return []route{
		{"GET", "/v1/version", nil, s.version},
		{"GET", "/v1/info", nil, s.info},
		{"GET", "/v1/networks", q("filter"), s.listNetworks},
		{"POST", "/v1/networks", nil, s.createNetwork},
		{"POST", "/v1/networks/prune", q("filter"), s.pruneNetworks},
		{"GET", network, nil, s.getNetwork},
		{"DELETE", network, nil, s.removeNetwork},
		{"POST", network + "/update", nil, s.updateNetwork},
		{"POST", network + "/connect", nil, s.connect},
		{"POST", network + "/disconnect", nil, s.disconnect},
		{"GET", "/v1/sandboxes", q("all"), s.listSandboxes},
		{"POST", "/v1/sandboxes", q("start"), s.createSandbox},
		{"GET", sandbox, nil, s.getSandbox},
		{"DELETE", sandbox, q("force"), s.removeSandbox},
		{"POST", sandbox + "/update", nil, s.updateSandbox},
		{"POST", sandbox + "/check", nil, s.check},
		{"POST", sandbox + "/start", nil, s.start},
		{"POST", sandbox + "/stop", q("grace"), s.stop},
		{"POST", sandbox + "/wait", nil, s.wait},
		{"GET", sandbox + "/logs", q("follow", "tail", "since"), s.logs},
		{"POST", sandbox + "/exec", nil, s.exec},
		{"GET", "/v1/endpoints", nil, s.listEndpoints},
		{"GET", "/v1/ports", nil, s.listPorts},
		{"GET", "/v1/events", q("filter", "since"), s.events},
		{"POST", cni.Path, pipedQuery, s.piped},
		{"POST", netavark.Path, pipedQuery, s.piped},
	}
}

func (s *Server) version(w http.ResponseWriter, r *request) error {
	return reply(w, http.StatusOK, catenet.BuildVersion())
}

func (s *Server) info(w http.ResponseWriter, r *request) error {
	info, err := s.engine.Info(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, info)
}

func (s *Server) listEndpoints(w http.ResponseWriter, r *request) error {
	eps, err := s.engine.Endpoints(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(eps))
}

func (s *Server) listPorts(w http.ResponseWriter, r *request) error {
	ports, err := s.engine.Ports(r.Context())
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(ports))
}
