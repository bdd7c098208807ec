package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/failpoint"
)

// Get returns one pair.
func (s *Store) Get(ctx context.Context, key string) (etcd.Pair, error) {
	r, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) { return c.Get(ctx, key) })
	if err != nil {
		return etcd.Pair{}, fmt.Errorf("read %s: %w", key, err)
	}
	if len(r.Kvs) == 0 {
		return etcd.Pair{}, catenet.NotFoundf("etcd has no key %s", key)
	}
	return pair(r.Kvs[0]), nil
}

// List returns all pairs below a prefix.
func (s *Store) List(ctx context.Context, prefix string) ([]etcd.Pair, int64, error) {
	r, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		return c.Get(ctx, prefix, clientv3.WithPrefix())
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
	}
	pairs := make([]etcd.Pair, len(r.Kvs))
	for i, kv := range r.Kvs {
		pairs[i] = pair(kv)
	}
	return pairs, r.Header.Revision, nil
}

// Grant makes a lease, or has it begin anew. The client's own Grant leaves its ID to
// the server.
func (s *Store) Grant(ctx context.Context, lease etcd.LeaseID, ttl time.Duration) error {
	failpoint.Before("etcd.grant")
	_, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*pb.LeaseGrantResponse, error) {
		r, err := clientv3.RetryLeaseClient(c).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: int64(lease), TTL: int64(ttl / time.Second)})
		if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseExist) {
			return nil, renew(ctx, c, lease)
		}
		return r, err
	})
	failpoint.After("etcd.grant")
	if err != nil {
		return fmt.Errorf("grant lease: %w", err)
	}
	return nil
}

// renew has a lease begin anew. The client's own call tries again without a pause
// where no server is there.
func renew(ctx context.Context, c *clientv3.Client, lease etcd.LeaseID) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	stream, err := clientv3.RetryLeaseClient(c).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return err
	}
	r, err := stream.Recv()
	if err == nil && r.TTL <= 0 {
		return rpctypes.ErrLeaseNotFound // it has ended meanwhile
	}
	return err
}

// Revoke ends a lease.
func (s *Store) Revoke(ctx context.Context, lease etcd.LeaseID) error {
	failpoint.Before("etcd.revoke")
	_, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
		r, err := c.Revoke(ctx, clientv3.LeaseID(lease))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil, nil
		}
		return r, err
	})
	failpoint.After("etcd.revoke")
	if err != nil {
		return fmt.Errorf("revoke lease: %w", err)
	}
	return nil
}

// Put writes a pair whose key is at a revision.
func (s *Store) Put(ctx context.Context, key, value string, at int64, lease etcd.LeaseID) (int64, error) {
	return s.change(ctx, key, at, clientv3.OpPut(key, value, clientv3.WithLease(clientv3.LeaseID(lease))))
}

// Delete deletes a pair whose key is at a revision.
func (s *Store) Delete(ctx context.Context, key string, at int64) error {
	_, err := s.change(ctx, key, at, clientv3.OpDelete(key))
	return err
}

// change does op if key is at a revision, where an absent key is at 0.
func (s *Store) change(ctx context.Context, key string, at int64, op clientv3.Op) (int64, error) {
	failpoint.Before("etcd.write")
	r, err := ask(ctx, s, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", at)).Then(op).Commit()
	})
	failpoint.After("etcd.write")
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	if !r.Succeeded {
		return 0, catenet.Conflictf("somebody else has changed %s", key)
	}
	return r.Header.Revision, nil
}

func pair(kv *mvccpb.KeyValue) etcd.Pair {
	return etcd.Pair{Key: string(kv.Key), Value: kv.Value, Created: kv.CreateRevision, Revision: kv.ModRevision, Lease: etcd.LeaseID(kv.Lease)}
}
