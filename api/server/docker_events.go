package server

import (
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/docker"
)

// dockerEvents streams what has happened since and happens until a time, each of
// which may be absent. The header goes at once; where nothing happens, nothing
// is on the way, as with Docker.
func (s *Server) dockerEvents(w http.ResponseWriter, r *http.Request, version string) error {
	f, err := dockerFilter(r, nil)
	if err != nil {
		return err
	}
	since, until, err := window(r)
	if err != nil {
		return err
	}
	var end <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		end = timer.C
	}
	ctx, cancel := s.following(r)
	defer cancel()
	ch, err := s.engine.Events(ctx, nil, since)
	if err != nil {
		return err
	}
	media := eventType(r, version)
	out := newStream(w)
	out.found(media)
	for {
		e, ok := next(ch, end)
		if !ok || end != nil && e.Time.After(until) {
			return nil
		}
		m, known := docker.Event(e)
		if !known || !docker.MatchEvent(f, m) {
			continue
		}
		if media == types.MediaTypeJSONSequence {
			_, _ = io.WriteString(w, "\x1e") // RFC 7464; if the client is gone, so is what follows
		}
		var v any = m
		if !docker.Since(version, "1.52") {
			v = docker.Legacy(m)
		}
		if out.send(v) != nil {
			return nil
		}
	}
}

// window reads from when to when events are asked for. Zero times are open: with
// neither, what happens from now on; with an end alone, all that is remembered.
func window(r *http.Request) (since, until time.Time, err error) {
	if since, err = formTime(r, "since"); err != nil {
		return since, until, err
	}
	if until, err = formTime(r, "until"); err != nil || until.IsZero() {
		return since, until, err
	}
	if until.Before(since) {
		return since, until, catenet.Invalidf("`since` time (%s) cannot be after `until` time (%s)", r.Form.Get("since"), r.Form.Get("until"))
	}
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	return since, until, nil
}

// next returns the next event; false when there are none any more, or none is
// there at the end.
func next(ch <-chan catenet.Event, end <-chan time.Time) (e catenet.Event, ok bool) {
	select {
	case e, ok = <-ch:
	default:
		select {
		case e, ok = <-ch:
		case <-end:
		}
	}
	return e, ok
}

// formTime reads a parameter: seconds since 1970, and parts of a second.
func formTime(r *http.Request, name string) (time.Time, error) {
	v := r.Form.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := catenet.ParseTime(v, time.Now())
	if err != nil {
		return t, catenet.Invalidf("invalid value for '%s': %w", name, err)
	}
	return t, nil
}

// eventType is the media type of a stream of events: the one that the client
// likes best of those there are, else the version's own.
func eventType(r *http.Request, version string) string {
	known := []string{types.MediaTypeJSON, types.MediaTypeNDJSON, types.MediaTypeJSONLines, types.MediaTypeJSONSequence}
	best, most := types.MediaTypeJSON, 0.0
	if docker.Since(version, "1.52") {
		best = types.MediaTypeJSONLines
	}
	for _, one := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, params, err := mime.ParseMediaType(one)
		if err != nil || !slices.Contains(known, media) {
			continue
		}
		quality := 1.0
		if q, ok := params["q"]; ok {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if quality > most {
			best, most = media, quality
		}
	}
	return best
}
