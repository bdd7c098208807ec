package client

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"

	"github.com/catenet/catenet/api"
)

// idleConns is how many connections are kept for the next request.
const idleConns = 16

// conn is a connection to the daemon, for one request at a time. The net/http
// package writes and reads the messages; its Transport, whose two goroutines a
// connection each want waking, would make a tenth of the time of an attach.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// take returns an idle connection that the daemon has not closed, else a new
// one.
func (c *Client) take(ctx context.Context) (*conn, error) {
	for {
		select {
		case k := <-c.idle:
			if k.open() {
				return k, nil
			}
			k.Close()
		default:
			var d net.Dialer
			nc, err := d.DialContext(ctx, "unix", c.path)
			if err != nil {
				return nil, err
			}
			return &conn{nc, bufio.NewReaderSize(nc, api.MaxFrame)}, nil
		}
	}
}

// open tells whether the daemon still listens to a connection on which
// nothing is under way: there is nothing to read then, not even the end.
func (k *conn) open() bool {
	raw, err := k.Conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && errors.Is(peeked, syscall.EAGAIN)
}

// reply is an answer whose body is still on its way. The end of the request's
// context cuts it off.
type reply struct {
	*http.Response
	conn *conn
	stop func() bool // ends the watch on the context; false if that has ended
}

// exchange sends a request and reads the head of the answer.
func (c *Client) exchange(ctx context.Context, req *http.Request) (*reply, error) {
	k, err := c.take(ctx)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { k.Close() })
	werr := req.Write(k)
	// There may be an answer to a request that was cut off.
	res, err := http.ReadResponse(k.r, req) //nolint:bodyclose // the connection is closed or kept as a whole
	if err != nil {
		stop()
		k.Close()
		if werr != nil {
			err = werr
		}
		return nil, c.unreachable(ctx, err)
	}
	return &reply{res, k, stop}, nil
}

// Close ends the reply and its connection.
func (r *reply) Close() {
	r.stop()
	r.conn.Close()
}

// done keeps the connection of a reply that was read to its end.
func (c *Client) done(r *reply) {
	if !r.stop() || r.Response.Close || r.conn.r.Buffered() > 0 {
		r.conn.Close()
		return
	}
	select {
	case c.idle <- r.conn:
	default:
		r.conn.Close()
	}
}
