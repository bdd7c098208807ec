package client

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
	"github.com/catenet/catenet/test/etcdserver"
)

// open returns the store of a config, closed with its test.
func open(t *testing.T, cfg etcd.Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEtcdConforms(t *testing.T) {
	parallel := func(t *testing.T, test func(*testing.T)) {
		t.Parallel()
		test(t)
	}
	etcdtest.Conform(t, parallel, func(t *testing.T) etcdtest.World {
		server := etcdserver.Start(t, etcdserver.Options{})
		s := open(t, etcd.Config{Endpoints: []string{server.Endpoint}})
		compact := func() {
			_, revision, err := s.List(t.Context(), "/")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
		}
		return etcdtest.World{Store: s, Compact: compact, Away: server.Kill}
	})
}

// A server that is killed and started again has what it acknowledged, leases
// included, and the store goes on by itself, also one that was opened while there
// was no server.
func TestServerReturns(t *testing.T) {
	t.Parallel()
	server := etcdserver.Start(t, etcdserver.Options{})
	server.Kill()
	s := open(t, etcd.Config{Endpoints: []string{server.Endpoint}})
	if _, _, err := s.List(t.Context(), "/"); catenet.KindOf(err) != catenet.KindUnavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Fatalf("before there is a server: %v", err)
	}
	server.Start()
	const lease etcd.LeaseID = 1 << 62
	again(t, func() error { return s.Grant(t.Context(), lease, time.Hour) })
	revision, err := s.Put(t.Context(), "k", "v", 0, lease)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Start()
	again(t, func() error {
		p, err := s.Get(t.Context(), "k")
		if err == nil && (p.Revision != revision || p.Lease != lease) {
			t.Errorf("found %+v, wrote %d under %d", p, revision, lease)
		}
		return err
	})
}

// again calls until there is no error, for a while.
func again(t *testing.T, call func() error) {
	t.Helper()
	err := call()
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); err = call() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A server that takes connections and never answers costs no more than patience, and
// ends a watch: who follows it would never hear anything again.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	server := etcdserver.Start(t, etcdserver.Options{})
	s := open(t, etcd.Config{Endpoints: []string{server.Unix}})
	if _, err := s.Put(t.Context(), "k", "v", 0, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far more than patience
	defer cancel()
	watch := s.Watch(ctx, "k", 0)
	if b := <-watch; b.Err != nil || len(b.Events) != 1 {
		t.Fatalf("watching: %+v", b)
	}
	server.Freeze()
	if _, err := s.Get(ctx, "k"); catenet.KindOf(err) != catenet.KindUnavailable || ctx.Err() != nil {
		t.Errorf("a frozen server: %v", err)
	}
	soon, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Get(soon, "k"); catenet.KindOf(err) != catenet.KindUnavailable {
		t.Errorf("a call that is given up: %v", err)
	}
	if b := <-watch; catenet.KindOf(b.Err) != catenet.KindUnavailable || ctx.Err() != nil {
		t.Errorf("a watch of a frozen server: %+v", b)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certs, others := etcdserver.NewCerts(t), etcdserver.NewCerts(t)
	server := etcdserver.Start(t, etcdserver.Options{Certs: certs})
	good := etcd.Config{Endpoints: []string{server.Endpoint}, CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}
	s := open(t, good)
	if _, err := s.Put(t.Context(), "k", "v", 0, 0); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*etcd.Config){
		"another CA":            func(c *etcd.Config) { c.CA = others.CA },
		"the system's CAs":      func(c *etcd.Config) { c.CA = "" },
		"no client certificate": func(c *etcd.Config) { c.Cert, c.Key = "", "" },
		"another CA's client":   func(c *etcd.Config) { c.Cert, c.Key = others.ClientCert, others.ClientKey },
		"no TLS where there is some": func(c *etcd.Config) {
			*c = etcd.Config{Endpoints: []string{strings.Replace(server.Endpoint, "https", "http", 1)}}
		},
	} {
		cfg := good
		spoil(&cfg)
		if _, err := open(t, cfg).Get(t.Context(), "k"); catenet.KindOf(err) != catenet.KindUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A server whose TLS is older than 1.2 is not spoken to.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	certs := etcdserver.NewCerts(t)
	pair, err := tls.LoadX509KeyPair(certs.ClientCert, certs.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).HandshakeContext(t.Context())
			c.Close()
		}
		said <- err
	}()
	s := open(t, etcd.Config{Endpoints: []string{"https://" + l.Addr().String()}, CA: certs.CA})
	if _, err := s.Get(t.Context(), "k"); catenet.KindOf(err) != catenet.KindUnavailable {
		t.Errorf("asked: %v", err)
	}
	if err := <-said; err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("the server is told %v", err)
	}
}

// A client certificate that is written anew is used from the next connection on.
func TestCertificateIsReadAnew(t *testing.T) {
	t.Parallel()
	certs, others := etcdserver.NewCerts(t), etcdserver.NewCerts(t)
	server := etcdserver.Start(t, etcdserver.Options{Certs: certs})
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	place := func(c *etcdserver.Certs) {
		for to, from := range map[string]string{cert: c.ClientCert, key: c.ClientKey} {
			pem, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, pem, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	place(others)
	s := open(t, etcd.Config{Endpoints: []string{server.Endpoint}, CA: certs.CA, Cert: cert, Key: key})
	if _, err := s.Put(t.Context(), "k", "v", 0, 0); err == nil {
		t.Fatal("a stranger's certificate is good")
	}
	place(certs)
	again(t, func() error {
		_, err := s.Put(t.Context(), "k", "v", 0, 0)
		return err
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	server := etcdserver.Start(t, etcdserver.Options{})
	plain := etcd.Config{Endpoints: []string{server.Endpoint}}
	admin := open(t, plain)
	again(t, func() error {
		_, err := admin.Put(t.Context(), "/net/k", "v", 0, 0)
		return err
	})
	server.EnableAuth(admin.client, "flannel", "secret", "/net/")

	user := func(name, password string) *Store {
		cfg := plain
		cfg.User, cfg.Password = name, password
		return open(t, cfg)
	}
	s := user("flannel", "secret")
	p, err := s.Get(t.Context(), "/net/k")
	if err != nil {
		t.Fatal(err)
	}
	watch := s.Watch(t.Context(), "/net/", p.Revision)
	if _, err := s.Put(t.Context(), "/net/k", "w", p.Revision, 0); err != nil {
		t.Fatal(err)
	}
	if b := <-watch; b.Err != nil || len(b.Events) != 1 {
		t.Errorf("watching with a password: %+v", b)
	}
	for what, s := range map[string]*Store{"another password": user("flannel", "wrong"), "another user": user("nobody", "secret"), "no user": admin} {
		if _, err := s.Get(t.Context(), "/net/k"); catenet.KindOf(err) != catenet.KindForbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Get(t.Context(), "/elsewhere"); catenet.KindOf(err) != catenet.KindForbidden {
		t.Errorf("a key that the user may not read: %v", err)
	}
	if b := <-s.Watch(t.Context(), "/elsewhere", 0); catenet.KindOf(b.Err) != catenet.KindForbidden {
		t.Errorf("watching what the user may not read: %+v", b)
	}
	// With a password too, a store opens while there is no server.
	server.Kill()
	late := user("flannel", "secret")
	if _, err := late.Get(t.Context(), "/net/k"); catenet.KindOf(err) != catenet.KindUnavailable {
		t.Errorf("with a password, before there is a server: %v", err)
	}
	server.Start()
	again(t, func() error {
		_, err := late.Get(t.Context(), "/net/k")
		return err
	})
	// The server knows none of the tokens that it has given out before.
	again(t, func() error {
		p, err = s.Get(t.Context(), "/net/k")
		return err
	})
	watch = s.Watch(t.Context(), "/net/", p.Revision)
	if _, err := s.Put(t.Context(), "/net/k", "x", p.Revision, 0); err != nil {
		t.Fatal(err)
	}
	if b := <-watch; b.Err != nil || len(b.Events) != 1 {
		t.Errorf("watching with a new token: %+v", b)
	}
}
