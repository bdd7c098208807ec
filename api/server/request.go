package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// bodyTimeout is how long a client may take to send a body.
const bodyTimeout = 30 * time.Second

// request is a request whose path and query have been checked.
type request struct {
	*http.Request
	ref   string // of the path; "" where it has none
	query url.Values
}

// read checks the path and the query of a request for a route.
func read(req *http.Request, r route) (*request, error) {
	out := &request{Request: req, ref: req.PathValue("ref")}
	if strings.Contains(r.path, "{ref}") {
		what := "network"
		if strings.HasPrefix(r.path, "/v1/sandboxes") {
			what = "container"
		}
		if err := catenet.ValidateRef(what, out.ref); err != nil {
			return nil, err
		}
	}
	if req.URL.RawQuery == "" {
		return out, nil
	}
	var err error
	if out.query, err = url.ParseQuery(req.URL.RawQuery); err != nil {
		return nil, catenet.Invalidf("read query: %v", err)
	}
	for name := range out.query {
		if !slices.Contains(r.query, name) {
			e := catenet.Invalidf("unknown query parameter %q", name)
			if len(r.query) > 0 {
				e = e.WithHint("parameters here: %s", strings.Join(r.query, ", "))
			}
			return nil, e
		}
	}
	return out, nil
}

// lasting returns the context of a request that changes something: it does
// not end with the client.
func (r *request) lasting() context.Context { return context.WithoutCancel(r.Context()) }

func (r *request) flag(name string, absent bool) (bool, error) {
	v := r.query.Get(name)
	if v == "" {
		return absent, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, catenet.Invalidf("%s: %q is neither true nor false", name, v)
	}
	return b, nil
}

func (r *request) number(name string, absent int) (int, error) {
	v := r.query.Get(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, catenet.Invalidf("%s: %q is no number", name, v)
	}
	return n, nil
}

func (r *request) duration(name string, absent time.Duration) (time.Duration, error) {
	v := r.query.Get(name)
	if v == "" {
		return absent, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, catenet.Invalidf("%s: %q is no duration", name, v).WithHint("a duration is written like 10s or 1m30s")
	}
	return d, nil
}

func (r *request) time(name string) (time.Time, error) {
	v := r.query.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return t, catenet.Invalidf("%s: %q is no time", name, v).WithHint("a time is written like 2026-01-02T15:04:05Z")
	}
	return t, nil
}

// statusError is an error whose status is not that of its kind.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

func refuse(status int, err error) error { return statusError{status, err} }

// body reads a request's JSON into v, strictly: one value of the right type,
// no unknown field, nothing behind it, at most api.MaxBody bytes.
func body(w http.ResponseWriter, r *request, v any) error {
	ct := r.Header.Get("Content-Type")
	if ct != api.TypeJSON {
		if mt, _, err := mime.ParseMediaType(ct); err != nil || mt != api.TypeJSON {
			return refuse(http.StatusUnsupportedMediaType,
				catenet.Invalidf("the body is of type %q, not %s", ct, api.TypeJSON).WithHint("set Content-Type: %s", api.TypeJSON))
		}
	}
	return receive(w, r.Request, v, true, badBody)
}

// errBehind is what is wrong with a body of more than one value.
var errBehind = errors.New("there is something behind the value")

// maxObjects bounds what a body is decoded to: an empty object, of two bytes,
// takes a thousand of memory. All ports there are fit in.
const maxObjects = 70_000

// receive decodes a body: one value, of at most api.MaxBody bytes, sent within
// bodyTimeout; strict, it has no unknown field. bad puts what is wrong with it
// into words.
func receive(w http.ResponseWriter, r *http.Request, v any, strict bool, bad func(error) error) error {
	b, err := content(w, r, bad)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err = dec.Decode(v); err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = errBehind
		}
	}
	if err != nil {
		return bad(err)
	}
	return nil
}

// content reads a body as receive does, and decodes nothing.
func content(w http.ResponseWriter, r *http.Request, bad func(error) error) ([]byte, error) {
	if r.ContentLength > api.MaxBody {
		return nil, errTooLarge()
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, fmt.Errorf("set deadline of body: %w", err)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge()
	case err != nil:
		return nil, bad(err)
	case bytes.Count(b, []byte("{")) > maxObjects:
		return nil, refuse(http.StatusRequestEntityTooLarge, catenet.Invalidf("the body has more than %d objects", maxObjects).WithHint("ask for less at once"))
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear deadline of body: %w", err)
	}
	return b, nil
}

func errTooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, catenet.Invalidf("the body is larger than %d bytes", api.MaxBody).WithHint("ask for less at once"))
}

// badBody says what is wrong with a body in the words of its sender.
func badBody(err error) error {
	const right = "the routes and their bodies are described in api/openapi.yaml"
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return catenet.Invalidf("read body: field %q cannot be a %s", te.Field, te.Value).WithHint(right)
	}
	if errors.Is(err, io.EOF) {
		return catenet.Invalidf("read body: it is empty").WithHint(right)
	}
	return catenet.Invalidf("read body: %s", strings.TrimPrefix(err.Error(), "json: ")).WithHint(right)
}
