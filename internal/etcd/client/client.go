// Package client is a store that asks the servers of an etcd cluster, from 3.4
// on, by etcd's own Go client. It opens without asking anybody, so that a daemon
// starts whether or not they are there, and goes on by itself when they are again.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

const (
	// patience is how long one call may take.
	patience = 5 * time.Second
	// An open connection on which nothing is heard is asked for a sign of life
	// after pingAfter, and given up pingWait later. Servers forbid more than one
	// ping in five seconds.
	pingAfter, pingWait = 10 * time.Second, 5 * time.Second
	// A server that was away is tried again at least as often as this.
	redial = 5 * time.Second
	// tries bounds how often one call is made: an absent server is the caller's
	// affair, who waits longer.
	tries = 3
)

// Store is a cluster's. Its methods may be called at once.
type Store struct {
	cfg    clientv3.Config
	ctx    context.Context // ends with the store
	cancel context.CancelFunc

	mu     sync.Mutex
	client *clientv3.Client // nil until the first call: with a password, opening it is one
}

var _ etcd.Store = (*Store)(nil)

// New returns the store that a config describes. An invalid config, and files that
// cannot be read, are invalid errors; absent servers are none.
func New(cfg etcd.Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	secure, err := tlsConfig(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{ctx: ctx, cancel: cancel, cfg: clientv3.Config{
		Context:              ctx,
		Endpoints:            cfg.Endpoints,
		TLS:                  secure,
		Username:             cfg.User,
		Password:             cfg.Password,
		DialTimeout:          patience,
		DialKeepAliveTime:    pingAfter,
		DialKeepAliveTimeout: pingWait,
		MaxUnaryRetries:      tries,
		Logger:               zap.NewNop(), // its errors are ours to tell
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redial},
				MinConnectTimeout: patience,
			}),
			grpc.WithChainUnaryInterceptor(failFast),
		},
	}}, nil
}

// failFast has a call to servers that refuse connections fail at once, and with
// the reason; by default it would wait for them, and say that it took too long.
func failFast(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(ctx, method, req, reply, c, append(opts, grpc.WaitForReady(false))...)
}

// tlsConfig returns nil for servers that are asked without TLS.
func tlsConfig(cfg etcd.Config) (*tls.Config, error) {
	if !cfg.TLS() {
		return nil, nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		pem, err := etcd.ReadFile(cfg.CA)
		if err != nil {
			return nil, catenet.Invalidf("%w: %v", etcd.ErrCA, err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, catenet.Invalidf("%w: %s has no certificate (PEM)", etcd.ErrCA, cfg.CA)
		}
	}
	if cfg.Cert != "" {
		load := func() (*tls.Certificate, error) {
			cert, err := etcd.ReadFile(cfg.Cert)
			if err != nil {
				return nil, err
			}
			key, err := etcd.ReadFile(cfg.Key)
			if err != nil {
				return nil, err
			}
			pair, err := tls.X509KeyPair(cert, key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, catenet.Invalidf("%w: %v", etcd.ErrCert, err)
		}
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return secure, nil
}

// open returns the client, made at the first call that succeeds.
func (s *Store) open() (*clientv3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil && s.ctx.Err() == nil {
		c, err := clientv3.New(s.cfg)
		if err != nil {
			return nil, fmt.Errorf("reach etcd: %w", kind(err))
		}
		s.client = c
	}
	if s.ctx.Err() != nil {
		return nil, catenet.Errorf(catenet.KindUnavailable, "the connection to etcd is closed")
	}
	return s.client, nil
}

// ask makes one call, within the store's patience, and gives its error a kind.
func ask[T any](ctx context.Context, s *Store, call func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	var none T
	c, err := s.open()
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := call(ctx, c)
	if err != nil {
		return none, kind(err)
	}
	return answer, nil
}

// Close ends all calls and watches.
func (s *Store) Close() error {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close connection to etcd: %w", err)
	}
	return nil
}
