package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/catenet/catenet/api/dockerplugin"
	"github.com/catenet/catenet/api/server"
	"github.com/catenet/catenet/internal/config"
	"github.com/catenet/catenet/internal/kernel/handover"
)

// plugin is where dockerd calls. A call that is cut off it makes once more, but
// without what it asks: so they are waited for, and the socket is handed over.
type plugin struct {
	*server.Listener
	handler http.Handler
	log     *slog.Logger
	front   *server.Front // answers by now
	served  chan struct{} // closed when it has ended
}

// servePlugin answers dockerd on the plugin's socket, and learns names from it.
// dockerd that finds nobody asks again for half a minute.
func (d *daemon) servePlugin(ctx context.Context, c config.Config, given *handover.Parcel, log *slog.Logger) error {
	l, err := listen(ctx, pluginSocket, c.DockerPlugin, given, log)
	if l == nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := dockerplugin.New(dockerplugin.Options{
		Engine: d.engine, Log: log, Host: strings.TrimPrefix(c.DockerHost, "unix://"),
		Forward: func(ctx context.Context, any bool) error {
			if any || c.AllowForward {
				return d.firewall.AllowForward(ctx)
			}
			return d.firewall.DenyForward(ctx)
		},
	})
	d.plugin = &plugin{Listener: l, handler: p.Handler(), log: log}
	learned := make(chan struct{})
	d.later(func() error {
		cancel()
		last, done := context.WithTimeout(context.Background(), farewell)
		defer done()
		err := d.plugin.front.Shutdown(last)
		<-learned
		<-d.plugin.served
		return err
	})
	calls, err := inheritClients(given, pluginCalls)
	d.plugin.serve(calls)
	d.offers = append(d.offers, offer{pluginSocket, l})
	go func() { defer close(learned); p.Learn(ctx) }()
	d.keep(ctx, l)
	return err
}

// serve answers dockerd until a pause or the end, first on connections that an
// earlier pause has kept.
func (p *plugin) serve(kept []server.Kept) {
	if p == nil {
		return
	}
	p.front = server.NewFront(&http.Server{Handler: p.handler, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn)})
	p.served = make(chan struct{})
	go func() {
		defer close(p.served)
		if err := errors.Join(p.SetDeadline(time.Time{}), p.front.Serve(p, kept...)); err != nil {
			p.log.Error("dockerd is not answered any more", "err", err)
		}
	}()
}

// pause ends that, once the calls under way have been answered or ctx ends.
func (p *plugin) pause(ctx context.Context) ([]server.Kept, error) {
	if p == nil {
		return nil, nil
	}
	kept, err := p.front.Pause(ctx)
	<-p.served
	return kept, err
}
