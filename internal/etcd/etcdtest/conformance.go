package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/etcd"
)

// World is what the suite needs of a store beside its contract.
type World struct {
	Store   etcd.Store
	Compact func() // forgets what was before now
	Away    func() // from now on nobody answers
}

// Conform holds stores to the contract. Each open is of a new, empty one, and each
// test runs in what makes time pass for it: for the twin synctest.Test.
func Conform(t *testing.T, in func(*testing.T, func(*testing.T)), open func(t *testing.T) World) {
	for name, test := range map[string]func(*testing.T, World){
		"pairs": pairs, "compare": compare, "leases": leases, "renewal": renewal, "watch": watching, "compaction": compaction, "away": away, "close": closing,
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) { test(t, open(t)) })
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, what string, err error, kind catenet.Kind) {
	t.Helper()
	if err == nil || catenet.KindOf(err) != kind {
		t.Errorf("%s: %v, want an error that is %v", what, err, kind)
	}
}

func pairs(t *testing.T, w World) {
	ctx, s := t.Context(), w.Store
	_, err := s.Get(ctx, "/net/config")
	wantKind(t, "an absent key", err, catenet.KindNotFound)
	first := must[int64](t)(s.Put(ctx, "/net/config", "one", 0, 0))
	second := must[int64](t)(s.Put(ctx, "/net/config", "two", first, 0))
	must[int64](t)(s.Put(ctx, "/net/subnets/b", "B", 0, 0))
	must[int64](t)(s.Put(ctx, "/net/subnets/a", "A", 0, 0))
	last := must[int64](t)(s.Put(ctx, "/network", "no", 0, 0))

	p := must[etcd.Pair](t)(s.Get(ctx, "/net/config"))
	if string(p.Value) != "two" || p.Created != first || p.Revision != second || first >= second || p.Lease != 0 {
		t.Errorf("read %q: %+v, was written at %d and %d", p.Value, p, first, second)
	}
	found, revision, err := s.List(ctx, "/net/")
	if err != nil || revision != last {
		t.Errorf("listed at %d: %v; the last change was %d", revision, err, last)
	}
	var keys []string
	for _, p := range found {
		keys = append(keys, p.Key+"="+string(p.Value))
	}
	if want := []string{"/net/config=two", "/net/subnets/a=A", "/net/subnets/b=B"}; !slices.Equal(keys, want) {
		t.Errorf("listed %q, want %q", keys, want)
	}
}

func compare(t *testing.T, w World) {
	ctx, s := t.Context(), w.Store
	first := must[int64](t)(s.Put(ctx, "k", "one", 0, 0))
	_, err := s.Put(ctx, "k", "two", 0, 0)
	wantKind(t, "creating what is there", err, catenet.KindConflict)
	second := must[int64](t)(s.Put(ctx, "k", "two", first, 0))
	_, err = s.Put(ctx, "k", "three", first, 0)
	wantKind(t, "writing over what has changed", err, catenet.KindConflict)
	wantKind(t, "deleting what has changed", s.Delete(ctx, "k", first), catenet.KindConflict)
	if p := must[etcd.Pair](t)(s.Get(ctx, "k")); string(p.Value) != "two" {
		t.Errorf("after three conflicts it is %q", p.Value)
	}
	if err := s.Delete(ctx, "k", second); err != nil {
		t.Error(err)
	}
	wantKind(t, "deleting what is gone", s.Delete(ctx, "k", second), catenet.KindConflict)
	_, err = s.Put(ctx, "k", "four", second, 0)
	wantKind(t, "writing what is gone", err, catenet.KindConflict)
}

func leases(t *testing.T, w World) {
	ctx, s := t.Context(), w.Store
	const short, long etcd.LeaseID = 1, 1<<63 - 1
	for lease, ttl := range map[etcd.LeaseID]time.Duration{short: time.Second, long: 24 * time.Hour} {
		if err := s.Grant(ctx, lease, ttl); err != nil {
			t.Fatal(err)
		}
	}
	must[int64](t)(s.Put(ctx, "k/short", "x", 0, short))
	moved := must[int64](t)(s.Put(ctx, "k/moved", "x", 0, short))
	must[int64](t)(s.Put(ctx, "k/moved", "x", moved, long))
	must[int64](t)(s.Put(ctx, "k/free", "x", 0, 0))
	_, revision, err := s.List(ctx, "k/")
	if err != nil {
		t.Fatal(err)
	}
	gone := read(t, s.Watch(ctx, "k/", revision), 1)
	if gone[0].Key != "k/short" || !gone[0].Deleted || gone[0].Revision <= revision {
		t.Errorf("what went with its lease: %+v", gone)
	}
	if p := must[etcd.Pair](t)(s.Get(ctx, "k/moved")); p.Lease != long {
		t.Errorf("it has lease %d, was put under %d", p.Lease, long)
	}
	for range 2 {
		if err := s.Revoke(ctx, long); err != nil {
			t.Error(err)
		}
	}
	if left, _, err := s.List(ctx, "k/"); err != nil || len(left) != 1 || left[0].Key != "k/free" {
		t.Errorf("after the revocation there are %+v (%v)", left, err)
	}
	_, err = s.Put(ctx, "k/late", "x", 0, long)
	wantKind(t, "writing under a lease that has ended", err, catenet.KindUnavailable)
}

// renewal: a lease that is granted again before its end has all of its time.
func renewal(t *testing.T, w World) {
	const lease, other etcd.LeaseID = 5, 6
	ctx, s := t.Context(), w.Store
	grant := func(lease etcd.LeaseID, ttl time.Duration) {
		if err := s.Grant(ctx, lease, ttl); err != nil {
			t.Fatal(err)
		}
	}
	grant(lease, 3*time.Second)
	revision := must[int64](t)(s.Put(ctx, "k/renewed", "x", 0, lease))
	time.Sleep(2 * time.Second)
	grant(lease, 3*time.Second)
	grant(other, 2*time.Second) // which ends between the two ends of that one
	must[int64](t)(s.Put(ctx, "k/other", "x", 0, other))
	gone := read(t, s.Watch(ctx, "k/", revision+1), 2)
	if gone[0].Key != "k/other" || gone[1].Key != "k/renewed" {
		t.Errorf("ended are %+v", gone)
	}
	grant(lease, 3*time.Second) // once it has ended
	must[int64](t)(s.Put(ctx, "k/renewed", "x", 0, lease))
}

// read takes events off a watch.
func read(t *testing.T, watch <-chan etcd.Batch, n int) (events []etcd.Event) {
	t.Helper()
	for len(events) < n {
		b, ok := <-watch
		if !ok || b.Err != nil {
			t.Fatalf("the watch ended: %v; had told %+v", b.Err, events)
		}
		events = append(events, b.Events...)
	}
	return events
}

func watching(t *testing.T, w World) {
	s := w.Store
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	missed := must[int64](t)(s.Put(ctx, "n/a", "missed", 0, 0))
	must[int64](t)(s.Put(ctx, "n/a", "first", missed, 0))
	watch := s.Watch(ctx, "n/", missed)
	read(t, watch, 1)
	b := must[int64](t)(s.Put(ctx, "n/b", "second", 0, 0))
	must[int64](t)(s.Put(ctx, "m", "elsewhere", 0, 0))
	if err := s.Delete(ctx, "n/b", b); err != nil {
		t.Fatal(err)
	}
	must[int64](t)(s.Put(ctx, "n/c", "fourth", 0, 0))
	var told []string
	for _, e := range read(t, watch, 3) {
		told = append(told, fmt.Sprintf("%s %q %v", e.Key, e.Value, e.Deleted))
	}
	if want := []string{`n/b "second" false`, `n/b "" true`, `n/c "fourth" false`}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	cancel()
	for range watch { // it is closed
	}
}

func compaction(t *testing.T, w World) {
	ctx, s := t.Context(), w.Store
	first := must[int64](t)(s.Put(ctx, "k", "one", 0, 0))
	second := must[int64](t)(s.Put(ctx, "k", "two", first, 0))
	live := s.Watch(ctx, "k", first)
	read(t, live, 1)
	w.Compact()
	if b := <-s.Watch(ctx, "k", first-1); !errors.Is(b.Err, etcd.ErrCompacted) {
		t.Errorf("a watch from what is forgotten: %+v", b)
	}
	must[int64](t)(s.Put(ctx, "k", "three", second, 0))
	if e := read(t, live, 1); string(e[0].Value) != "three" {
		t.Errorf("a watch that has seen all goes on with %+v", e)
	}
	if b := <-s.Watch(ctx, "k", 1<<40); catenet.KindOf(b.Err) != catenet.KindUnavailable {
		t.Errorf("a watch from what is to come: %+v", b)
	}
}

func away(t *testing.T, w World) {
	ctx, s := t.Context(), w.Store
	revision := must[int64](t)(s.Put(ctx, "k", "one", 0, 0))
	live := s.Watch(ctx, "k", revision-1)
	read(t, live, 1)
	w.Away()
	if b := <-live; catenet.KindOf(b.Err) != catenet.KindUnavailable {
		t.Errorf("the watch: %+v", b)
	}
	_, err := s.Get(ctx, "k")
	wantKind(t, "reading", err, catenet.KindUnavailable)
	_, err = s.Put(ctx, "k", "two", revision, 0)
	wantKind(t, "writing", err, catenet.KindUnavailable)
	wantKind(t, "a lease", s.Grant(ctx, 7, time.Hour), catenet.KindUnavailable)
	if b := <-s.Watch(ctx, "k", revision); catenet.KindOf(b.Err) != catenet.KindUnavailable {
		t.Errorf("another watch: %+v", b)
	}
}

func closing(t *testing.T, w World) {
	s := w.Store
	revision := must[int64](t)(s.Put(t.Context(), "k", "one", 0, 0))
	live := s.Watch(t.Context(), "k", revision-1)
	read(t, live, 1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range live { // it ends
	}
	_, err := s.Get(t.Context(), "k")
	wantKind(t, "reading what is closed", err, catenet.KindUnavailable)
}
