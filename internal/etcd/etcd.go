// Package etcd is the contract of a key-value store with leases, compare and
// watch: as much of etcd's version 3 as a network across hosts needs. The
// client in client/ speaks to servers from 3.4 on; etcdtest/ has a twin in
// memory, with virtual time, and the suite that both pass.
//
// Every call ends: with an answer, or when its context or the store's own
// patience does, with an error of catenet.KindUnavailable. Such a call may have
// been carried out all the same; who writes again compares first, and knows what
// is his by its lease. Refused credentials are forbidden.
package etcd

import (
	"context"
	"errors"
	"time"
)

// Store is a key-value store. A revision numbers the store's states from 1 on, and
// rises by one with each change; it falls only when the store is restored from a
// snapshot.
type Store interface {
	// Get returns the pair of a key; where there is none, a not-found error.
	Get(ctx context.Context, key string) (Pair, error)
	// List returns the pairs whose keys begin with prefix, in the order of their
	// keys, and the revision of the store that had them: one call, however many.
	List(ctx context.Context, prefix string) ([]Pair, int64, error)
	// Grant makes a lease that ends by itself after ttl (whole seconds; the server
	// may take more, for short ones), and with it the pairs that were last put under it.
	// The caller names it: so he can end it whatever became of the answer. One that
	// there is already begins anew, with the time that it was made for.
	Grant(ctx context.Context, lease LeaseID, ttl time.Duration) error
	// Revoke ends a lease now. One that has ended already is no error.
	Revoke(ctx context.Context, lease LeaseID) error
	// Put writes a pair, under a lease unless that is 0, and returns its revision.
	// The key's present revision must be at, where 0 says that there is no such
	// key: anything else is a conflict, and nothing is written.
	Put(ctx context.Context, key, value string, at int64, lease LeaseID) (int64, error)
	// Delete deletes the pair of a key whose revision is at; if it has another, or
	// none, that is a conflict.
	Delete(ctx context.Context, key string, at int64) error
	// Watch tells of every change after a revision to keys that begin with prefix,
	// in order. It ends with ctx, or with a batch that says why; then what was
	// missed is found by List. It does not go on by itself: behind a connection
	// that is made anew there may be an older store.
	Watch(ctx context.Context, prefix string, after int64) <-chan Batch
	// Close ends all calls and watches.
	Close() error
}

// LeaseID names a lease, and is positive; 0 is none. No two leases of a store have
// the same: it is to be chosen where nobody else chooses it, at random or by a hash.
type LeaseID int64

// Pair is a key and its value.
type Pair struct {
	Key      string
	Value    []byte
	Created  int64   // revision at which the key came into being
	Revision int64   // of the last Put
	Lease    LeaseID // it goes with; 0: it stays
}

// Event is one change of a pair.
type Event struct {
	Pair         // of a deleted one Key and Revision, the deletion's
	Deleted bool // or expired
}

// Batch is what a watch tells at once.
type Batch struct {
	Events []Event
	Err    error // set in the last: ErrCompacted, or one of a kind
}

// What of a Config an error is about: it wraps one of them where that is known.
var (
	ErrCA   = errors.New("the CA of etcd's servers")
	ErrCert = errors.New("the client certificate for etcd")
	ErrUser = errors.New("etcd's user")
)

// ErrCompacted ends a watch after a revision whose successors the store has
// forgotten already: List, and Watch from there.
var ErrCompacted = errors.New("the store has forgotten the changes asked for: list again")
