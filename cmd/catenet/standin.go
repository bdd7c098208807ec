package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
	"github.com/catenet/catenet/api/notify"
)

// lookAgain is how often the daemon is asked how the network is, and how long
// something that is away is let be before it is asked again.
const lookAgain = time.Second

// standIn looks after the network that stands for flanneld.
//
//	ask ─► there, as asked ─► look each second: in order? who has come, who has gone?
//	 ▲       │ other options: remove, make anew with the same subnet
//	 └───────┴─ the daemon or etcd away, no config yet: wait
type standIn struct {
	flags  flanneldFlags
	spec   catenet.NetworkSpec
	daemon *client.Client
	log    *slog.Logger

	alive, ready atomic.Bool // what health says
	waits        string      // for what, as it was said last
	trouble      string      // the network's, likewise
	peers        map[string]string
}

// run ends with an error if the network cannot be had as it was asked for.
func (s *standIn) run(ctx context.Context) error {
	clock := time.NewTicker(lookAgain)
	defer clock.Stop()
	for {
		n, err := s.network(ctx)
		switch {
		case ctx.Err() != nil:
			s.log.Info("ended; the network goes on", "network", s.spec.Name)
			return nil
		case err == nil:
			s.tell(n)
		case passes(err):
			s.wait(err)
		default:
			return err
		}
		select {
		case <-clock.C:
		case <-ctx.Done():
		}
	}
}

// passes reports whether the same may be had later: flanneld waits for etcd and for
// its config as well.
func passes(err error) bool {
	return catenet.KindOf(err) == catenet.KindUnavailable || catenet.IsNotFound(err)
}

func (s *standIn) wait(err error) {
	if err.Error() == s.waits {
		return
	}
	s.waits = err.Error()
	hint := catenet.HintOf(err)
	if !s.alive.Load() {
		hint = "start the daemon: systemctl start catenet"
	}
	s.log.Warn("waiting", "for", err, "hint", hint)
}

// network returns the network as it was asked for, and makes it so if it is not.
func (s *standIn) network(ctx context.Context) (n catenet.NetworkStatus, err error) {
	n, err = s.daemon.Network(ctx, s.spec.Name)
	s.alive.Store(catenet.KindOf(err) != catenet.KindUnavailable || err == nil)
	if err == nil && n.Driver == s.spec.Driver && maps.Equal(n.Options, s.spec.Options) {
		return n, nil
	}
	if err == nil {
		err = s.remake(ctx, n)
	} else if catenet.IsNotFound(err) {
		err = s.create(ctx, s.spec)
	}
	if err != nil {
		return n, err
	}
	return s.daemon.Network(ctx, s.spec.Name)
}

func (s *standIn) create(ctx context.Context, spec catenet.NetworkSpec) error {
	_, warnings, err := s.daemon.CreateNetwork(ctx, spec)
	for _, w := range warnings {
		s.log.Warn(w)
	}
	return err
}

// remake puts the network that there is with other options by what is asked for now.
// The subnet stays, for containers have addresses of it: the file that tells of it is
// gone with the network, and is where the next one looks, unless that is another one in
// etcd. If there is no such network to be had, the earlier one comes back.
func (s *standIn) remake(ctx context.Context, was catenet.NetworkStatus) error {
	if was.Driver != s.spec.Driver || was.Options["bridge"] != "none" {
		return catenet.Conflictf("there is another network %s, of the driver %s", was.Name, was.Driver).WithHint("--network chooses another name for this one")
	}
	s.log.Info("the flags have changed: the network is made anew", "network", was.Name)
	file := was.Options["subnet-file"]
	text, err := os.ReadFile(file)
	if err == nil || errors.Is(err, os.ErrNotExist) { // an empty one tells of nothing
		_, err = s.daemon.RemoveNetwork(ctx, was.ID)
	}
	if err == nil && was.Options["prefix"] == s.spec.Options["prefix"] {
		err = writeNew(s.spec.Options["subnet-file"], text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("make network %s anew: %w", was.Name, err)
	}
	if err = s.create(ctx, s.spec); err == nil || passes(err) {
		return err
	}
	back := catenet.NetworkSpec{Name: was.Name, Driver: was.Driver, Options: was.Options}
	return errors.Join(err, writeNew(file, text, 0o644), s.create(ctx, back))
}

// tell logs what has changed of the network.
func (s *standIn) tell(n catenet.NetworkStatus) {
	if s.waits != "" {
		s.waits = ""
		s.log.Info("the daemon keeps the network", "network", n.Name)
	}
	if n.Trouble != s.trouble {
		s.trouble = n.Trouble
		if n.Trouble == "" {
			s.log.Info("the network is in order again", "network", n.Name)
		} else {
			s.log.Warn("the network is in trouble", "network", n.Name, "err", n.Trouble)
		}
	}
	now := make(map[string]string, len(n.Peers))
	for _, p := range n.Peers {
		key := fmt.Sprint(p.Subnets)
		if now[key] = p.Host.String(); s.peers[key] != now[key] {
			s.log.Debug("a host is there", "host", p.Host, "subnets", p.Subnets, "by", p.By)
		}
	}
	for key, host := range s.peers {
		if now[key] == "" {
			s.log.Debug("a host has gone", "host", host, "subnets", key)
		}
	}
	s.peers = now
	if !s.ready.Load() && s.told(n) {
		s.ready.Store(true)
		s.log.Info("ready", "subnet", n.Part.Subnets, "network", n.Part.Span, "backend", n.Part.By, "mtu", n.Part.MTU, "subnet_file", s.flags.subnetFile)
		if err := notify.State("READY=1"); err != nil {
			s.log.Warn("tell the service manager", "err", err)
		}
	}
}

// told reports whether the subnet file tells of the network.
func (s *standIn) told(n catenet.NetworkStatus) bool {
	text, err := os.ReadFile(s.spec.Options["subnet-file"])
	if err != nil || n.Part == nil || len(n.Part.Subnets) == 0 {
		return false
	}
	first := n.Part.Subnets[0]
	return strings.Contains(string(text), fmt.Sprintf("SUBNET=%v/%d\n", first.Addr().Next(), first.Bits()))
}

// writeUser leaves the daemon the password.
func (s *standIn) writeUser() error {
	path := s.flags.userFile()
	if path == "" {
		return nil
	}
	if err := writeNew(path, []byte(s.flags.user+":"+s.flags.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("leave the daemon etcd's password: %w", err)
	}
	return nil
}

// writeNew replaces a file by another one, and makes its folder.
func writeNew(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, text, mode)
}

// answerHealth answers /healthz, 200 while the daemon answers, and /readyz, 200 once
// the subnet file was there; until end is called.
func (s *standIn) answerHealth(ctx context.Context) (end func(), err error) {
	at := s.flags.health()
	if at == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, fmt.Errorf("listen for questions about health: %w", err)
	}
	mux := http.NewServeMux()
	answer := func(path string, good *atomic.Bool, yes, no string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			text := yes
			if !good.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				text = no
			}
			fmt.Fprint(w, text)
		})
	}
	answer("/healthz", &s.alive, "catenetd is running", "catenetd does not answer")
	answer("/readyz", &s.ready, "the network is ready", "the network is not ready yet")
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return func() { _ = srv.Close(); <-served }, nil // whoever asks just now asks again
}
