package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	crowdSize    = 1000
	crowdClients = 8
	// crowdMetrics is where the daemon of a crowd tells of itself.
	crowdMetrics = "127.0.0.1:9323"
)

// crowd: many containers attached by several clients at once, against the
// kernel's floor by as many; and what the daemon holds meanwhile and after.
func crowd(ctx context.Context, b *Bench) ([]Line, error) {
	o, err := startOurs(ctx, b, "--metrics", crowdMetrics)
	if err != nil {
		return nil, err
	}
	f, err := startFloor(ctx, b)
	if err != nil {
		return nil, err
	}
	floors := make([]*floor, crowdClients)
	for i := range floors {
		if floors[i], err = f.again(); err != nil {
			return nil, err
		}
	}
	o.Close()
	idle, err := o.metric(ctx, "go_goroutines")
	if err != nil {
		return nil, err
	}
	var memory, left float64 // of the last round
	mine := Contender{"catenet", func(ctx context.Context, _ int) (float64, error) {
		places, err := b.Places(ctx, crowdSize)
		if err != nil {
			return 0, err
		}
		rate, err := atOnce(crowdSize, func(_, i int) error { return o.attach(ctx, fmt.Sprintf("m%d", i), places[i], 0, 0) })
		if err != nil {
			return 0, err
		}
		if memory, err = o.metric(ctx, "process_resident_memory_bytes"); err != nil {
			return 0, err
		}
		if _, err := atOnce(crowdSize, func(_, i int) error { return o.Remove(ctx, fmt.Sprintf("m%d", i), true) }); err != nil {
			return 0, err
		}
		err = until(ctx, "the links to go", func() bool { n, err := o.links(); return err == nil && n == 0 })
		o.Close() // the clients' connections are no leak
		if err == nil {
			left, err = o.settled(ctx, "go_goroutines", idle)
		}
		return rate, errors.Join(err, b.Forget(ctx, places...), b.Swept(ctx))
	}}
	theirs := Contender{"kernel floor", func(ctx context.Context, _ int) (float64, error) {
		places, err := b.Places(ctx, crowdSize)
		if err != nil {
			return 0, err
		}
		rate, err := atOnce(crowdSize, func(client, i int) error {
			return floors[client].attach(fmt.Sprintf("f%d", i), places[i], netip.AddrFrom4([4]byte{10, 97, byte(1 + i/250), byte(1 + i%250)}))
		})
		// Namespaces take their links along.
		return rate, errors.Join(err, b.Forget(ctx, places...), b.Swept(ctx))
	}}
	s, err := interleave(ctx, b.Rounds(5), mine, theirs)
	if err != nil {
		return nil, err
	}
	work := fmt.Sprintf("%d attaches by %d clients", crowdSize, crowdClients)
	return []Line{
		{Work: work, Ours: perSecond(s.Median(0)), Peer: "kernel floor " + perSecond(s.Median(1)), Ratio: s.Ratio(0, 1), Goal: 0.7},
		{Work: "the daemon's memory then", Ours: fmt.Sprintf("%.0f MB", memory/1e6), Peer: "64 MB", Ratio: memory / 64e6, Goal: 1, AtMost: true},
		{Work: "goroutines, when all are detached", Ours: fmt.Sprint(left), Peer: fmt.Sprintf("before %v", idle), Ratio: left / idle, Goal: 1, AtMost: true},
	}, nil
}

// atOnce has clients do n pieces of work between them, and returns how many
// were done in a second.
func atOnce(n int, do func(client, i int) error) (float64, error) {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, crowdClients)
	start := time.Now()
	for client := range crowdClients {
		all.Go(func() {
			for errs[client] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[client] = do(client, i)
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(start).Seconds(), errors.Join(errs...)
}

// metric asks the daemon for one number of its metrics.
func (o *ours) metric(ctx context.Context, name string) (float64, error) {
	out, err := o.b.tool(ctx, o.host, "curl", "-s", "http://"+crowdMetrics+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// settled waits a while for a metric to be no more than wanted, and returns
// what it is in the end.
func (o *ours) settled(ctx context.Context, name string, wanted float64) (v float64, err error) {
	late := time.Now().Add(5 * time.Second)
	for {
		if v, err = o.metric(ctx, name); err != nil || v <= wanted || time.Now().After(late) {
			return v, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
