// Command catenetd is the daemon: it wires the rooms together and serves the
// API on a socket.
//
// It can be stopped, killed and started again at any time: containers and
// their traffic go on, and the next start makes true what was promised. On
// SIGUSR2 the program that is at its path then takes its place, with its open
// sockets: no lookup and no request is lost.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/dockerplugin"
	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/internal/config"
	"github.com/catenet/catenet/internal/kernel/handover"
)

// farewell bounds how long requests under way are waited for at the end.
const farewell = 10 * time.Second

func main() {
	c, err := config.Parse(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		complain(err)
		os.Exit(2)
	}
	if err := run(c); err != nil {
		complain(err)
		os.Exit(1)
	}
}

// complain says an error and its next step.
func complain(err error) {
	err = catenet.Unwritable(err)
	fmt.Fprintln(os.Stderr, "catenetd:", err)
	if hint := catenet.HintOf(err); hint != "" {
		fmt.Fprintln(os.Stderr, "catenetd:", hint)
	}
}

// run is the daemon's life: open, restore, serve until a signal, close.
func run(c config.Config) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Geteuid() != 0 {
		return catenet.Forbiddenf("catenetd changes the host's network and must run as root").WithHint("sudo catenetd …")
	}
	if c.Check {
		return nil
	}
	if c.Remove {
		return remove(ctx, c, log)
	}
	// One that comes while we start is heeded when we have.
	replace := make(chan os.Signal, 1)
	signal.Notify(replace, replacement)
	defer signal.Stop(replace)
	began := time.Now()
	given, err := handover.Receive()
	if err != nil {
		return err
	}
	defer given.Close()
	d, err := open(c, given, log)
	defer func() { err = errors.Join(err, d.close()) }()
	if err != nil {
		return err
	}
	l, err := d.start(ctx, c, given, log)
	if err != nil {
		return err
	}
	clients, err := inheritClients(given, apiClients)
	if err = errors.Join(err, given.Close()); err != nil {
		return err
	}
	log.Info("catenetd serves", "listen", c.Listen, "version", catenet.BuildVersion().Version, "started_in", time.Since(began).Round(time.Millisecond))
	return d.serve(ctx, c, l, clients, replace, log)
}

// start listens, and makes true what was promised. It listens first: what is
// taken is noticed before anything is touched, and a client that comes early
// waits for its answer instead of being refused.
func (d *daemon) start(ctx context.Context, c config.Config, given *handover.Parcel, log *slog.Logger) (_ *server.Listener, err error) {
	undo := []func() error{d.takeBack}
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	l, err := listen(ctx, apiSocket, strings.TrimPrefix(c.Listen, "unix://"), given, log)
	if err != nil {
		return nil, err
	}
	undo = append(undo, l.Close)
	var scraped net.Listener
	if c.Metrics != "" {
		if scraped, err = listenMetrics(ctx, c.Metrics, given.Take(metricsSocket(c.Metrics))); err != nil {
			return nil, err
		}
		undo = append(undo, scraped.Close)
		d.offers = append(d.offers, offer{metricsSocket(c.Metrics), scraped.(handover.Socket)})
	}
	d.offers = append(d.offers, offer{apiSocket, l})
	if err := d.engine.Restore(ctx); err != nil {
		return nil, err
	}
	if err := server.CatchUp(ctx, d.engine, pipe.Spool(c.Listen), log); err != nil {
		log.Error("catch up with calls that were written down", "err", err)
	}
	networks, err := d.engine.Networks(ctx)
	if err != nil {
		return nil, err
	}
	// Who makes a network by dockerd asks for it.
	if err := d.forwarding(ctx, c.AllowForward || dockerplugin.Count(networks) > 0, log); err != nil {
		return nil, err
	}
	if err := d.servePlugin(ctx, c, given, log); err != nil {
		return nil, err
	}
	d.watchFirewall(ctx, log)
	d.keep(ctx, l)
	if scraped != nil {
		serveMetrics(ctx, scraped, d.engine, d.names)
	}
	return l, nil
}

// forwarding puts accept rules of ours where another firewall would drop our
// packets, or takes away those of an earlier start that was allowed to. Not to
// be able to take them away keeps nothing from working.
func (d *daemon) forwarding(ctx context.Context, allow bool, log *slog.Logger) error {
	if allow {
		return d.firewall.AllowForward(ctx)
	}
	if err := d.firewall.DenyForward(ctx); err != nil {
		log.Warn("rules of an earlier --allow-forward may be left", "err", err)
	}
	return nil
}

// serve answers requests until ctx ends, then lets those under way end. Asked
// to, it makes room for the program that is at our path by then, and goes on if
// that cannot be.
func (d *daemon) serve(ctx context.Context, c config.Config, l *server.Listener, clients []server.Kept, replace chan os.Signal, log *slog.Logger) error {
	for {
		signal.Notify(replace, replacement) // an exec that failed has ignored it
		s := server.New(d.engine, log)
		s.PodmanNetworks(c.PodmanNetworks)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l, clients...) }()
		tell(log, "READY=1")
		program, err := d.untilReplaced(ctx, served, replace, log)
		switch {
		case err != nil:
			return err
		case program == "":
			return shutDown(s, served, log)
		}
		clients, err = d.makeRoom(ctx, program, s, log)
		if ctx.Err() == nil {
			log.Error("no other program can take our place; going on", "program", program, "err", err)
		}
		if err := errors.Join(<-served, l.SetDeadline(time.Time{})); err != nil {
			return err
		}
	}
}

// shutDown lets the requests under way end.
func shutDown(s *server.Server, served <-chan error, log *slog.Logger) error {
	log.Info("catenetd stops; containers and their network go on")
	tell(log, "STOPPING=1")
	last, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := s.Shutdown(last)
	return errors.Join(err, <-served)
}
