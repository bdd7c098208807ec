package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/internal/kernel/handover"
	"github.com/catenet/catenet/internal/kernel/netns"
	"github.com/catenet/catenet/internal/names"
)

// replacement is the signal by which the program at our path takes our place.
const replacement = syscall.SIGUSR2

// patience is how long requests under way are waited for then: longer than
// catenet stop gives a container by default.
const patience = 15 * time.Second

// Names of what is handed over.
const (
	apiSocket    = "api"
	pluginSocket = "plugin"
	claimSocket  = "claim"
	rulesSocket  = "nf_tables"
	lookupsNote  = "lookups"
	apiClients   = "client"
	pluginCalls  = "call"
)

// offer is a socket that is handed over as it is.
type offer struct {
	name   string
	socket handover.Socket
}

// lookup is the note about one sandbox's lookups. Its sockets have names that
// end in the sandbox's ID, those of streams in their number as well.
type lookup struct {
	Sandbox   string
	Datagrams []names.Datagram
	Unread    [][]byte // of each stream
}

// untilReplaced blocks until a program that could start is to take our place,
// and returns its path; "" if ctx has ended, or an error if serving has.
func (d *daemon) untilReplaced(ctx context.Context, served <-chan error, replace <-chan os.Signal, log *slog.Logger) (string, error) {
	for {
		select {
		case err := <-served:
			return "", errors.Join(errors.New("the API is not served any more"), err)
		case <-ctx.Done():
			return "", nil
		case <-replace:
		}
		program, err := handover.Program()
		if err == nil {
			err = d.engine.CouldStart()
		}
		if err == nil {
			err = handover.Try(ctx, program, "--check")
		}
		if err == nil {
			return program, nil
		}
		log.Error("the program at our path cannot take our place; going on", "err", err)
	}
}

// makeRoom hands everything over to the program. It returns only if this
// fails or ctx has ended, with the connections that s has left: but for s all
// goes on then.
func (d *daemon) makeRoom(ctx context.Context, program string, s *server.Server, log *slog.Logger) ([]server.Kept, error) {
	log.Info("catenetd makes room for the program at its path; containers and their network go on", "program", program)
	tell(log, fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", handover.Monotonic().Microseconds()))
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	clients, err := s.Pause(last)
	calls, cut := d.plugin.pause(last)
	defer d.plugin.serve(calls)
	if err := errors.Join(err, cut); err != nil {
		log.Warn("requests were cut off", "err", err)
	}
	var p handover.Parcel
	for _, o := range d.offers {
		p.Put(o.name, o.socket)
	}
	d.sockets.HandOver(&p)
	d.tunnels.HandOver(&p)
	lookups := d.names.HandOver()
	defer d.names.TakeBack(lookups)
	if err := errors.Join(offerClients(&p, apiClients, clients), offerClients(&p, pluginCalls, calls), offerLookups(&p, lookups)); err != nil {
		return clients, err
	}
	return clients, p.Exec(ctx, program, replacement)
}

// offerClients puts the connections of a socket's clients into p.
func offerClients(p *handover.Parcel, kind string, clients []server.Kept) error {
	unread := make([][]byte, len(clients))
	for i, c := range clients {
		unread[i] = c.Unread
		p.Put(numbered(kind, "", i), c.Conn)
	}
	return p.Note(kind+"s", unread)
}

// inheritClients is the other side of offerClients.
func inheritClients(p *handover.Parcel, kind string) (clients []server.Kept, err error) {
	var unread [][]byte
	if _, err := p.Read(kind+"s", &unread); err != nil {
		return nil, err
	}
	for i := range unread {
		c, err := taken[*net.UnixConn](p, numbered(kind, "", i), net.FileConn)
		if err != nil {
			return nil, err
		}
		if c != nil {
			clients = append(clients, server.Kept{Conn: c, Unread: unread[i]})
		}
	}
	return clients, nil
}

// offerLookups puts the resolver's sockets into p, and what is not answered.
func offerLookups(p *handover.Parcel, handed []names.Handed) error {
	var notes []lookup
	for _, h := range handed {
		n := lookup{Sandbox: h.Sandbox, Datagrams: h.Datagrams}
		p.Put("udp "+h.Sandbox, h.UDP)
		p.Put("tcp "+h.Sandbox, h.TCP)
		for i, c := range h.Streams {
			n.Unread = append(n.Unread, c.Unread)
			p.Put(numbered("stream", h.Sandbox, i), c.Conn)
		}
		notes = append(notes, n)
	}
	return p.Note(lookupsNote, notes)
}

// inheritLookups is the other side of offerLookups.
func inheritLookups(p *handover.Parcel) (handed []names.Handed, err error) {
	var notes []lookup
	if _, err := p.Read(lookupsNote, &notes); err != nil {
		return nil, err
	}
	for _, n := range notes {
		h := names.Handed{Sandbox: n.Sandbox, Datagrams: n.Datagrams}
		udp, uerr := taken[*net.UDPConn](p, "udp "+n.Sandbox, net.FilePacketConn)
		tcp, terr := taken[*net.TCPListener](p, "tcp "+n.Sandbox, net.FileListener)
		if err := errors.Join(uerr, terr); err != nil {
			return nil, err
		}
		if udp == nil || tcp == nil {
			continue // it was being stopped
		}
		h.UDP, h.TCP = udp, tcp
		for i := range n.Unread {
			c, err := taken[*net.TCPConn](p, numbered("stream", n.Sandbox, i), net.FileConn)
			if err != nil {
				return nil, err
			}
			if c != nil {
				h.Streams = append(h.Streams, names.Stream{Conn: c, Unread: n.Unread[i]})
			}
		}
		handed = append(handed, h)
	}
	return handed, nil
}

// numbered is the name of one of several.
func numbered(what, of string, i int) string { return fmt.Sprintf("%s %s %d", what, of, i) }

// taken makes a socket of p one of the net package; nil if there is none.
func taken[T io.Closer, N io.Closer](p *handover.Parcel, name string, as func(*os.File) (N, error)) (none T, err error) {
	f := p.Take(name)
	if f == nil {
		return none, nil
	}
	defer f.Close()
	c, err := as(f)
	if err != nil {
		return none, fmt.Errorf("take over %s: %w", name, err)
	}
	t, ok := any(c).(T)
	if !ok {
		return none, errors.Join(fmt.Errorf("take over %s: a %T is another socket", name, c), c.Close())
	}
	return t, nil
}

// claimHost claims the network namespace, unless an earlier program in this
// process has.
func claimHost(given *handover.Parcel) (*net.UnixListener, error) {
	if f := given.Take(claimSocket); f != nil {
		return netns.Reclaim(f)
	}
	return netns.Claim("catenetd")
}

// listen listens for clients: with the socket of an earlier program in this
// process, unless that was elsewhere. A path that is "" is nowhere.
func listen(ctx context.Context, name, path string, given *handover.Parcel, log *slog.Logger) (*server.Listener, error) {
	if f := given.Take(name); f != nil {
		l, err := server.Inherit(f, server.DefaultGroup, log)
		if err != nil || l.Addr().String() == path {
			return l, err
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("close earlier socket: %w", err)
		}
	}
	if path == "" {
		return nil, nil
	}
	return server.Listen(ctx, path, server.DefaultGroup, log)
}
