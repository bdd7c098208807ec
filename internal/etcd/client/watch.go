package client

import (
	"context"
	"fmt"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// Watch tells of changes below a prefix. It is a stream of etcd's protocol and not
// a watch of its client: that goes on behind a broken connection from the
// revision it has seen, of which a server that was restored from a snapshot
// knows nothing yet, and so is silent.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) <-chan etcd.Batch {
	out := make(chan etcd.Batch)
	go func() {
		defer close(out)
		send := func(b etcd.Batch) {
			select {
			case out <- b:
			case <-ctx.Done():
			}
		}
		ctx, cancel := context.WithCancel(ctx) // ends the stream
		defer cancel()
		send(etcd.Batch{Err: s.watch(ctx, prefix, after, send)})
	}()
	return out
}

func (s *Store) watch(ctx context.Context, prefix string, after int64, send func(etcd.Batch)) error {
	c, err := s.open()
	if err != nil {
		return err
	}
	stream, err := pb.NewWatchClient(c.ActiveConnection()).Watch(clientv3.WithRequireLeader(ctx), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return fmt.Errorf("watch %s: %w", prefix, kind(err))
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix)), StartRevision: after + 1,
	}}})
	for err == nil {
		var r *pb.WatchResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		switch {
		case r.CompactRevision != 0:
			return etcd.ErrCompacted
		case r.Canceled && r.CancelReason == rpctypes.ErrGRPCPermissionDenied.Error():
			return fmt.Errorf("watch %s: %w", prefix, kind(rpctypes.ErrGRPCPermissionDenied))
		case r.Canceled:
			return catenet.Errorf(catenet.KindUnavailable, "etcd ends the watch of %s: %s", prefix, r.CancelReason)
		case r.Header.Revision < after:
			return catenet.Errorf(catenet.KindUnavailable, "etcd is at revision %d, and was at %d", r.Header.Revision, after)
		case len(r.Events) > 0:
			send(etcd.Batch{Events: events(r.Events)})
		}
	}
	return fmt.Errorf("watch %s: %w", prefix, kind(err))
}

func events(all []*mvccpb.Event) []etcd.Event {
	out := make([]etcd.Event, len(all))
	for i, e := range all {
		out[i] = etcd.Event{Pair: pair(e.Kv), Deleted: e.Type == mvccpb.Event_DELETE}
	}
	return out
}
