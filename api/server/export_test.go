package server

import "net/http"

// Handler answers one request, without a socket.
func (s *Server) Handler() http.Handler { return s.http.Handler }
