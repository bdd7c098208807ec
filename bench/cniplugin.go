package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// plugin drives our plugin as a runtime does: one exec, with a configuration of
// the reference plugin bridge whose type is changed.
type plugin struct{ *cni }

func startPlugin(ctx context.Context, b *Bench) (*plugin, error) {
	o, err := startOurs(ctx, b)
	if err != nil {
		return nil, err
	}
	bin, err := programs()
	return &plugin{&cni{b: b, host: o.host, masq: true, path: bin, env: []string{"CATENET_HOST=unix://" + o.socket}}}, err
}

func (p *plugin) chain(ctx context.Context, id, path string, first, ports int) (json.RawMessage, error) {
	return p.call(ctx, "ADD", id, path, first, ports)
}

func (p *plugin) call(ctx context.Context, command, id, path string, first, ports int) (json.RawMessage, error) {
	config := maps.Clone(p.bridge())
	config["name"], config["type"], config["runtimeConfig"] = "pods", "catenet", mappings(first, ports)
	return p.exec(ctx, "catenet-cni", command, id, path, config)
}

func (p *plugin) del(ctx context.Context, id, path string, ports int, _ json.RawMessage) error {
	_, err := p.call(ctx, "DEL", id, path, firstPort, ports)
	return err
}

// chain is what ADD and DEL of one attachment are.
type chain interface {
	chain(ctx context.Context, id, path string, first, ports int) (json.RawMessage, error)
	del(ctx context.Context, id, path string, ports int, result json.RawMessage) error
}

// adding is the time of one ADD, all its programs from their start to their
// end.
func adding(b *Bench, name string, c chain, ports int) Contender {
	return Contender{name, func(ctx context.Context, _ int) (float64, error) {
		ns, err := b.Place(ctx)
		if err != nil {
			return 0, err
		}
		id := fmt.Sprintf("c%d", b.made)
		var result json.RawMessage
		took, err := timed(func() error { result, err = c.chain(ctx, id, ns, firstPort, ports); return err })
		if err != nil {
			return 0, err
		}
		return took, errors.Join(c.del(ctx, id, ns, ports, result), b.Forget(ctx, ns))
	}}
}

// cniAdd: a runtime's ADD, whole processes, with 0, 1 and 50 ports.
func cniAdd(ctx context.Context, b *Bench) (lines []Line, err error) {
	p, err := startPlugin(ctx, b)
	if err != nil {
		return nil, err
	}
	c, err := startCNI(ctx, b, true)
	if err != nil {
		return nil, err
	}
	for _, row := range []struct {
		ports, rounds int
		goal          float64
		peer          string
	}{{0, 30, 4, "bridge"}, {1, 15, 10, "bridge + portmap"}, {50, 5, 30, "bridge + portmap"}} {
		s, err := interleave(ctx, b.Rounds(row.rounds), adding(b, "catenet", p, row.ports), adding(b, row.peer, c, row.ports))
		if err != nil {
			return lines, err
		}
		lines = append(lines, Line{
			Work: fmt.Sprintf("CNI ADD, whole process, ports: %d", row.ports), Ours: ms(s.Median(0)),
			Peer: row.peer + " " + ms(s.Median(1)), Ratio: s.Ratio(1, 0), Goal: row.goal,
		})
	}
	return lines, nil
}

// cniPods: many containers at once, as many at a time as there are clients in a
// crowd, each with a port.
func cniPods(ctx context.Context, b *Bench) ([]Line, error) {
	p, err := startPlugin(ctx, b)
	if err != nil {
		return nil, err
	}
	c, err := startCNI(ctx, b, true)
	if err != nil {
		return nil, err
	}
	crowd := func(name string, c chain) Contender {
		return Contender{name, func(ctx context.Context, _ int) (float64, error) {
			places, err := b.Places(ctx, hundred)
			if err != nil {
				return 0, err
			}
			results := make([]json.RawMessage, hundred)
			rate, err := atOnce(hundred, func(_, i int) (err error) {
				results[i], err = c.chain(ctx, fmt.Sprintf("p%d", i), places[i], firstPort+i, 1)
				return err
			})
			if err != nil {
				return 0, err
			}
			for i, ns := range places {
				err = errors.Join(err, c.del(ctx, fmt.Sprintf("p%d", i), ns, 1, results[i]))
			}
			return rate, errors.Join(err, b.Forget(ctx, places...))
		}}
	}
	s, err := interleave(ctx, b.Rounds(1), crowd("catenet", p), crowd("bridge + portmap", c))
	if err != nil {
		return nil, err
	}
	return []Line{{
		Work: fmt.Sprintf("%d pods by CNI, %d at a time", hundred, crowdClients), Ours: perSecond(s.Median(0)),
		Peer: "bridge + portmap " + perSecond(s.Median(1)), Ratio: s.Ratio(0, 1), Goal: 8,
	}}, nil
}
