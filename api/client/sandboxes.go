package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// CreateSandbox attaches a namespace, or makes a container and, with start,
// starts it.
func (c *Client) CreateSandbox(ctx context.Context, spec catenet.SandboxSpec, start bool) (sb catenet.SandboxStatus, err error) {
	var q url.Values
	if !start {
		q = url.Values{"start": {"false"}}
	}
	err = c.call(ctx, "POST", "/sandboxes", q, spec, &sb)
	return sb, err
}

// Sandboxes returns the running ones, or all, newest first.
func (c *Client) Sandboxes(ctx context.Context, all bool) (sbs []catenet.SandboxStatus, err error) {
	var q url.Values
	if all {
		q = url.Values{"all": {"true"}}
	}
	err = c.call(ctx, "GET", "/sandboxes", q, nil, &sbs)
	return sbs, err
}

// Sandbox returns one sandbox.
func (c *Client) Sandbox(ctx context.Context, ref string) (sb catenet.SandboxStatus, err error) {
	path, err := at("container", ref, "")
	if err != nil {
		return sb, err
	}
	err = c.call(ctx, "GET", path, nil, nil, &sb)
	return sb, err
}

// UpdateSandbox changes a container, be it while it runs.
func (c *Client) UpdateSandbox(ctx context.Context, ref string, up catenet.SandboxUpdate) (sb catenet.SandboxStatus, err error) {
	path, err := at("container", ref, "/update")
	if err == nil {
		err = c.call(ctx, "POST", path, nil, up, &sb)
	}
	return sb, err
}

// Start starts a container that does not run.
func (c *Client) Start(ctx context.Context, ref string) error {
	return c.verb(ctx, ref, "POST", "/start", nil)
}

// Stop asks a container to end, ends it after grace, and returns when it has
// ended.
func (c *Client) Stop(ctx context.Context, ref string, grace time.Duration) error {
	return c.verb(ctx, ref, "POST", "/stop", url.Values{"grace": {grace.String()}})
}

// Check compares a container with what the kernel has of it.
func (c *Client) Check(ctx context.Context, ref string) error {
	return c.verb(ctx, ref, "POST", "/check", nil)
}

// Remove removes a container, or detaches a namespace. One that runs is
// ended first if force is set.
func (c *Client) Remove(ctx context.Context, ref string, force bool) error {
	var q url.Values
	if force {
		q = url.Values{"force": {"true"}}
	}
	return c.verb(ctx, ref, "DELETE", "", q)
}

// Wait blocks until the container has ended, and tells how. When the daemon
// waits for it, found is called: a container that is started from then on is
// not missed, however short it lives.
func (c *Client) Wait(ctx context.Context, ref string, found func()) (int, error) {
	path, err := at("container", ref, "/wait")
	if err != nil {
		return 0, err
	}
	res, err := c.send(ctx, "POST", path, nil, nil)
	if err != nil {
		return 0, err
	}
	defer res.Close()
	found()
	var out api.WaitReply
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return 0, c.broken(ctx, err)
	}
	if out.Error != nil {
		return 0, out.Error.Err()
	}
	return out.ExitCode, nil
}

func (c *Client) verb(ctx context.Context, ref, method, verb string, q url.Values) error {
	path, err := at("container", ref, verb)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, q, nil, nil)
}

// logQuery spells LogOptions as a query.
func logQuery(o catenet.LogOptions) url.Values {
	q := url.Values{}
	if o.Follow {
		q.Set("follow", "true")
	}
	if o.Tail >= 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	return q
}
