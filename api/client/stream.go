package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// Logs calls found, then emit for each line of a container's log; see
// server.Engine.
func (c *Client) Logs(ctx context.Context, ref string, o catenet.LogOptions, found func(), emit func(stream string, t time.Time, line []byte) error) error {
	path, err := at("container", ref, "/logs")
	if err != nil {
		return err
	}
	res, err := c.send(ctx, "GET", path, logQuery(o), nil)
	if err != nil {
		return err
	}
	defer res.Close()
	found()
	dec := json.NewDecoder(bufio.NewReaderSize(res.Body, 32<<10))
	for {
		var l api.LogLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.broken(ctx, err)
		}
		if l.Error != nil {
			return l.Error.Err()
		}
		if err := emit(l.Stream, l.Time, l.Line); err != nil {
			return err
		}
	}
}

// Events subscribes: what happens after it returns is told on the channel, and
// first what has happened since and is remembered, unless that is zero. The
// channel is closed when ctx ends or the daemon goes away.
func (c *Client) Events(ctx context.Context, f catenet.Filter, since time.Time) (<-chan catenet.Event, error) {
	q := filter(f)
	if !since.IsZero() {
		q.Set("since", since.Format(time.RFC3339Nano))
	}
	res, err := c.send(ctx, "GET", "/events", q, nil)
	if err != nil {
		return nil, err
	}
	ch := make(chan catenet.Event)
	go relay(ctx, res, ch)
	return ch, nil
}

// relay tells the events of a stream until it ends.
func relay(ctx context.Context, res *reply, ch chan<- catenet.Event) {
	defer close(ch)
	defer res.Close()
	dec := json.NewDecoder(res.Body)
	for {
		var e catenet.Event
		if dec.Decode(&e) != nil {
			return
		}
		select {
		case ch <- e:
		case <-ctx.Done():
			return
		}
	}
}

// broken says that an answer broke off.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return catenet.Errorf(catenet.KindUnavailable, "the daemon went away: %w", err)
}
