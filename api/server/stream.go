package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// stream writes one JSON value a line, each on its way at once.
type stream struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	enc    *json.Encoder
	opened bool
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, rc: http.NewResponseController(w), enc: json.NewEncoder(w)}
}

// open sends the header, if that is not done yet: from here on errors cannot
// be told by a status.
func (s *stream) open() error {
	if s.opened {
		return nil
	}
	s.opened = true
	if s.w.Header().Get("Content-Type") == "" {
		s.w.Header().Set("Content-Type", api.TypeStream)
	}
	s.w.WriteHeader(http.StatusOK)
	return s.rc.Flush()
}

// found sends the header of an answer that is still to come. A client that is
// gone is found out when that is sent.
func (s *stream) found(mediaType string) {
	s.w.Header().Set("Content-Type", mediaType)
	_ = s.open()
}

func (s *stream) send(v any) error {
	if err := s.open(); err != nil {
		return err
	}
	if err := s.enc.Encode(v); err != nil {
		return err
	}
	return s.rc.Flush()
}

// events never ends by itself: an end tells the client that it has missed
// something.
func (s *Server) events(w http.ResponseWriter, r *request) error {
	f, err := catenet.ParseFilter(r.query["filter"], catenet.EventFilterKeys)
	if err != nil {
		return err
	}
	since, err := r.time("since")
	if err != nil {
		return err
	}
	ctx, cancel := s.following(r.Request)
	defer cancel()
	ch, err := s.engine.Events(ctx, f, since)
	if err != nil {
		return err
	}
	out := newStream(w)
	if out.open() != nil { // the client may rely on being subscribed now
		return nil
	}
	for e := range ch {
		if out.send(e) != nil {
			return nil
		}
	}
	return nil
}

func (s *Server) logs(w http.ResponseWriter, r *request) error {
	o, err := logOptions(r)
	if err != nil {
		return err
	}
	ctx, cancel := s.following(r.Request)
	defer cancel()
	out := newStream(w)
	err = s.engine.Logs(ctx, r.ref, o, func() { out.found(api.TypeStream) }, func(stream string, t time.Time, line []byte) error {
		return out.send(api.LogLine{Stream: stream, Time: t, Line: line})
	})
	switch {
	case err == nil:
		err = out.open()
	case !out.opened:
		return err
	default:
		err = out.send(api.LogLine{Error: api.NewError(s.told(err))})
	}
	if err != nil {
		s.log.Debug("log reader went away", "container", r.ref, "err", err)
	}
	return nil
}

func logOptions(r *request) (o catenet.LogOptions, err error) {
	if o.Follow, err = r.flag("follow", false); err != nil {
		return o, err
	}
	if o.Tail, err = r.number("tail", -1); err != nil {
		return o, err
	}
	o.Since, err = r.time("since")
	return o, err
}
