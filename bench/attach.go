package main

import (
	"context"
	"errors"
	"fmt"
)

// attachPlain: the time to give a namespace its place in a network.
func attachPlain(ctx context.Context, b *Bench) ([]Line, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	c, err := startCNI(ctx, b, false)
	if err != nil {
		return nil, err
	}
	n, err := startNetavark(ctx, b)
	if err != nil {
		return nil, err
	}
	f, err := startFloor(ctx, b)
	if err != nil {
		return nil, err
	}
	s, err := interleave(ctx, b.Rounds(60), o.attaching(0), c.attaching(0), n.attaching("netavark", 0), f.attaching())
	if err != nil {
		return nil, err
	}
	line := func(i int, peer string, goal float64) Line {
		return Line{
			Work: "attach, no port (p50)", Ours: ms(s.Median(0)), Peer: peer + " " + ms(s.Median(i)),
			Ratio: s.Ratio(i, 0), Goal: goal,
		}
	}
	least := line(3, "kernel floor", 2.5)
	least.Ratio, least.AtMost = s.Ratio(0, 3), true
	return []Line{line(1, "CNI loopback, bridge + host-local", 10), line(2, "netavark", 15), least}, nil
}

// attachPorts: the same with published ports.
func attachPorts(ports int, goal float64) func(context.Context, *Bench) ([]Line, error) {
	return func(ctx context.Context, b *Bench) ([]Line, error) {
		o, err := startOurs(ctx, b)
		if err != nil {
			return nil, err
		}
		c, err := startCNI(ctx, b, true)
		if err != nil {
			return nil, err
		}
		rounds := 15
		if ports > 10 {
			rounds = 5
		}
		s, err := interleave(ctx, b.Rounds(rounds), o.attaching(ports), c.attaching(ports))
		if err != nil {
			return nil, err
		}
		return []Line{{
			Work: fmt.Sprintf("attach, ports: %d", ports), Ours: ms(s.Median(0)),
			Peer: "CNI loopback, bridge + host-local, portmap " + ms(s.Median(1)), Ratio: s.Ratio(1, 0), Goal: goal,
		}}, nil
	}
}

// publishAmongMany: whether a port costs more because others are there. Two
// daemons, one of them with 2,000 ports published.
func publishAmongMany(ctx context.Context, b *Bench) ([]Line, error) {
	empty, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	full, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	for i := range 20 {
		ns, err := b.Place(ctx)
		if err != nil {
			return nil, err
		}
		if err := full.attach(ctx, fmt.Sprintf("many%d", i), ns, 30000+100*i, 100); err != nil {
			return nil, err
		}
	}
	s, err := interleave(ctx, b.Rounds(60), full.attaching(1), empty.attaching(1))
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: "publish a port, 2,000 present", Ours: ms(s.Median(0)), Peer: "as the first " + ms(s.Median(1)),
		Ratio: s.Ratio(0, 1), Goal: 1.3, AtMost: true,
	}}, nil
}

// detachOne: how long the caller waits for a detach.
func detachOne(ctx context.Context, b *Bench) ([]Line, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	c, err := startCNI(ctx, b, false)
	if err != nil {
		return nil, err
	}
	mine := Contender{"catenet", func(ctx context.Context, round int) (float64, error) {
		ns, err := b.Place(ctx)
		if err != nil {
			return 0, err
		}
		name := fmt.Sprintf("c%d", b.made)
		if err := o.attach(ctx, name, ns, 0, 0); err != nil {
			return 0, err
		}
		took, err := timed(func() error { return o.Remove(ctx, name, true) })
		return took, errors.Join(err, b.Forget(ctx, ns))
	}}
	theirs := Contender{"CNI bridge", func(ctx context.Context, round int) (float64, error) {
		ns, err := b.Place(ctx)
		if err != nil {
			return 0, err
		}
		id := fmt.Sprintf("c%d", b.made)
		if _, err := c.add(ctx, id, ns, 0); err != nil {
			return 0, err
		}
		took, err := timed(func() error { return c.del(ctx, id, ns, 0, nil) })
		return took, errors.Join(err, b.Forget(ctx, ns))
	}}
	s, err := interleave(ctx, b.Rounds(30), mine, theirs)
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: "detach, as the caller sees it", Ours: ms(s.Median(0)), Peer: "CNI DEL " + ms(s.Median(1)),
		Ratio: s.Ratio(1, 0), Goal: 20,
	}}, nil
}

// hundred is how many detachHundred detaches.
const hundred = 100

// detachHundred: until the last link is gone from the host.
func detachHundred(ctx context.Context, b *Bench) ([]Line, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	c, err := startCNI(ctx, b, false)
	if err != nil {
		return nil, err
	}
	mine := Contender{"catenet", func(ctx context.Context, round int) (float64, error) {
		places, err := b.Places(ctx, hundred)
		if err != nil {
			return 0, err
		}
		for i, ns := range places {
			if err := o.attach(ctx, fmt.Sprintf("h%d", i), ns, 0, 0); err != nil {
				return 0, err
			}
		}
		took, err := timed(func() error {
			for i := range places {
				if err := o.Remove(ctx, fmt.Sprintf("h%d", i), true); err != nil {
					return err
				}
			}
			return until(ctx, "the links to go", func() bool { n, err := o.links(); return err == nil && n == 0 })
		})
		return took, errors.Join(err, b.Forget(ctx, places...))
	}}
	theirs := Contender{"CNI bridge", func(ctx context.Context, round int) (float64, error) {
		places, err := b.Places(ctx, hundred)
		if err != nil {
			return 0, err
		}
		for i, ns := range places {
			if _, err := c.add(ctx, fmt.Sprintf("h%d", i), ns, 0); err != nil {
				return 0, err
			}
		}
		took, err := timed(func() error {
			for i, ns := range places {
				if err := c.del(ctx, fmt.Sprintf("h%d", i), ns, 0, nil); err != nil {
					return err
				}
			}
			return nil
		})
		return took, errors.Join(err, b.Forget(ctx, places...))
	}}
	s, err := interleave(ctx, b.Rounds(1), mine, theirs)
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: "100 detaches, until the links are gone", Ours: ms(s.Median(0)), Peer: "CNI DEL " + ms(s.Median(1)),
		Ratio: s.Ratio(1, 0), Goal: 5,
	}}, nil
}
