// Package client speaks catenet's API. Its methods are those of the server's
// engine; errors come back as the catenet.Errors that the engine made.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// DefaultHost is where the daemon listens unless told otherwise.
const DefaultHost = "unix:///run/catenet/catenet.sock"

// Client talks to one daemon. It is safe for concurrent use.
type Client struct {
	path string // of the socket
	idle chan *conn
}

// New makes a client of the daemon at host, which is the absolute path of its
// socket, with or without unix:// before it. It does not connect yet.
func New(host string) (*Client, error) {
	path := strings.TrimPrefix(host, "unix://")
	if !strings.HasPrefix(path, "/") {
		return nil, catenet.Invalidf("%q is no address of a daemon", host).WithHint("it is written unix:// and the path of the socket, like %s", DefaultHost)
	}
	return &Client{path: path, idle: make(chan *conn, idleConns)}, nil
}

// Close closes connections that are not in use.
func (c *Client) Close() {
	for {
		select {
		case k := <-c.idle:
			k.Close()
		default:
			return
		}
	}
}

// call sends a request and reads its answer into out; either may be nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	res, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		res.Close()
		return c.broken(ctx, err)
	}
	c.done(res)
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read reply of %s: %w", path, err)
	}
	return nil
}

// send sends a request and returns its answer, if that is a success.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) (*reply, error) {
	req, err := c.request(ctx, method, path, query, in)
	if err != nil {
		return nil, err
	}
	res, err := c.exchange(ctx, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 { // we know the routes: a redirect is a mistake
		defer res.Close()
		return nil, readError(res.Response)
	}
	return res, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := "http://catenet/" + catenet.APIVersion + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", api.TypeJSON)
	}
	return req, nil
}

// readError turns a reply that is no success into the error it tells.
func readError(res *http.Response) error {
	var e api.Error
	b, err := io.ReadAll(io.LimitReader(res.Body, api.MaxBody))
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil || e.Message == "" {
		return fmt.Errorf("the daemon answered %s, and not in our words", res.Status)
	}
	return e.Err()
}

// unreachable says why no answer came. A request that its caller gave up
// comes back as the context's error.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := catenet.Errorf(catenet.KindUnavailable, "cannot reach the daemon at unix://%s: %w", c.path, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return e.WithHint("the socket is for root and the group catenet")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return e.WithHint("is catenetd running? -H or CATENET_HOST names its socket")
	}
	return e
}
