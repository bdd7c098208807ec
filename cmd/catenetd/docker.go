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
)

// servePlugin answers dockerd on the plugin's socket, and learns names from it. dockerd
// that finds nobody asks again for half a minute.
func (d *daemon) servePlugin(ctx context.Context, c config.Config, log *slog.Logger) error {
	if c.DockerPlugin == "" {
		return nil
	}
	l, err := server.Listen(ctx, c.DockerPlugin, server.DefaultGroup, log)
	if err != nil {
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
	learned, served := make(chan struct{}), make(chan struct{})
	s := &http.Server{Handler: p.Handler(), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	d.later(func() error {
		cancel()
		last, done := context.WithTimeout(context.Background(), farewell)
		defer done()
		err := s.Shutdown(last)
		<-learned
		<-served
		return err
	})
	go func() { defer close(learned); p.Learn(ctx) }()
	go func() {
		defer close(served)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("dockerd is not answered any more", "err", err)
		}
	}()
	d.keep(ctx, l)
	return nil
}
