package server

import (
	"net/http"
	"strconv"

	"github.com/catenet/catenet/api"
	"github.com/catenet/catenet/api/pipe"
)

// pipedQuery are the parameters of every call that comes by api/pipe.
var pipedQuery = []string{"arg", "env"}

// piped serves the calls of a small program: what it was called with is handed
// to the front whose path it is, and what that answers the program writes and
// exits with. The call is carried out to its end even if the program is killed
// meanwhile.
func (s *Server) piped(w http.ResponseWriter, r *request) error {
	stdin, err := content(w, r.Request, badBody)
	if err != nil {
		return err
	}
	if err := s.spool.catchUp(r.lasting()); err != nil {
		s.log.Error("catch up with calls that were written down", "err", err)
	}
	a := s.spool.fronts[r.URL.Path](r.lasting(), pipe.Call{Path: r.URL.Path, Args: r.query["arg"], Env: r.query["env"], Stdin: stdin})
	h := w.Header()
	h.Set("Content-Type", api.TypeJSON)
	h.Set("Content-Length", strconv.Itoa(len(a.Stdout)))
	h.Set(pipe.ExitHeader, strconv.Itoa(a.Exit))
	_, _ = w.Write(a.Stdout) // a program that is gone needs no answer
	return nil
}
