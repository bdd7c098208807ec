package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/catenet/catenet/internal/failpoint"
)

// The comments of the rules that we put among those of others.
const (
	mark     = "catenet"
	spanMark = "catenet-span"
)

// Wanted is whose forwarded packets others are to let pass; the zero value is
// nobody's.
type Wanted struct {
	Bridges []string
	// Spans are networks of several hosts whose containers are somebody else's:
	// what comes from an address there or goes to one.
	Spans []netip.Prefix
}

// Empty reports whether nobody's are.
func (w Wanted) Empty() bool { return len(w.Bridges)+len(w.Spans) == 0 }

// Allow keeps exactly these accepted where others filter what is forwarded by
// iptables, for IPv4 and IPv6. Bridges in DOCKER-USER, the chain that Docker
// leaves to its users, and then also at the end of FORWARD, or without one at the
// begin of FORWARD. Spans at the end of FORWARD, so that whatever somebody says of
// his containers there comes first: only what no rule speaks of is let pass. With
// nothing wanted nothing of ours is left; it is taken for granted then that whose
// iptables is not installed has no rule of ours. It makes no chain and no table.
func (r *Rules) Allow(ctx context.Context, w Wanted) error {
	var errs []error
	for _, v6 := range []bool{false, true} {
		tools, err := r.tools(ctx, v6)
		if err != nil {
			return err
		}
		for _, t := range tools {
			err := allow(ctx, t, w.of(v6))
			if errors.Is(err, exec.ErrNotFound) && w.Empty() {
				continue
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// of is what is wanted of one family.
func (w Wanted) of(v6 bool) Wanted {
	w.Spans = slices.DeleteFunc(slices.Clone(w.Spans), func(p netip.Prefix) bool { return p.Addr().Is6() != v6 })
	return w
}

// tools are the iptables programs of a family that have a table filter here,
// with something in it that is not ours to make.
func (r *Rules) tools(ctx context.Context, v6 bool) ([]string, error) {
	var out []string
	chains, err := r.nft.ForwardChains(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range chains {
		if isIptables(c) && c.Table.Family.String() == map[bool]string{false: "ip", true: "ip6"}[v6] {
			out = append(out, tool(v6)+"-nft")
		}
	}
	legacy, err := legacyLoaded(v6)
	if legacy {
		out = append(out, tool(v6)+"-legacy")
	}
	return out, err
}

// allow changes one table, in one transaction, and only where it differs.
func allow(ctx context.Context, tool string, w Wanted) error {
	saved, err := run(ctx, "", tool+"-save", "-t", "filter")
	if err != nil {
		return err
	}
	chains, ours := parse(saved)
	var b strings.Builder
	for _, p := range places(chains, w) {
		had := slices.DeleteFunc(slices.Clone(ours[p.chain]), func(rule string) bool { return !strings.Contains(rule, comment(p.mark)) })
		if slices.Equal(had, p.rules) {
			continue
		}
		for _, r := range had {
			fmt.Fprintf(&b, "-D %s\n", r)
		}
		if p.last {
			for _, r := range p.rules {
				fmt.Fprintf(&b, "-A %s\n", r)
			}
			continue
		}
		for _, r := range slices.Backward(p.rules) {
			fmt.Fprintf(&b, "-I %s\n", r) // each before the last: at the end in order
		}
	}
	if b.Len() == 0 {
		return nil
	}
	failpoint.Before("foreign.restore")
	_, err = run(ctx, "*filter\n"+b.String()+"COMMIT\n", tool+"-restore", "--noflush", "-w", "5")
	failpoint.After("foreign.restore")
	return err
}

// place is where rules of ours stand in one chain.
type place struct {
	chain string
	mark  string // by which they are known again
	rules []string
	last  bool // behind what is there, and not before it
}

// comment is a mark as iptables-save prints it.
func comment(mark string) string { return " --comment " + mark + " " }

// places are those of a table with these chains. A dockerd that starts takes
// the jump to DOCKER-USER out for some milliseconds: what is at the end of
// FORWARD speaks for our packets meanwhile.
func places(chains []string, w Wanted) (all []place) {
	docker, forward := slices.Contains(chains, "DOCKER-USER"), slices.Contains(chains, "FORWARD")
	if docker {
		all = append(all, place{"DOCKER-USER", mark, rules("DOCKER-USER", w.Bridges, true), false})
	}
	if forward {
		all = append(all, place{"FORWARD", mark, rules("FORWARD", w.Bridges, docker), docker}, place{"FORWARD", spanMark, spanRules(w.Spans), true})
	}
	return all
}

// spanRules are likewise those for spans.
func spanRules(spans []netip.Prefix) (out []string) {
	for _, p := range spans {
		for _, way := range []string{"-s", "-d"} {
			out = append(out, fmt.Sprintf("FORWARD %s %v -m comment%s-j ACCEPT", way, p, comment(spanMark)))
		}
	}
	return out
}

// rules are what is wanted in a chain, as iptables-save prints it without
// "-A". What comes to our bridges our own table filters. What leaves them is
// accepted too, but beside Docker not towards Docker's bridges: what Docker
// thinks of that comes after, or came before.
func rules(chain string, bridges []string, docker bool) (out []string) {
	add := func(b string, match, target string) {
		out = append(out, fmt.Sprintf("%s %s -m comment%s-j %s", chain, fmt.Sprintf(match, b), comment(mark), target))
	}
	for _, b := range bridges {
		add(b, "-o %s", "ACCEPT")
	}
	for _, b := range bridges {
		if docker {
			add(b, "-i %s -o docker+", "RETURN")
			add(b, "-i %s -o br-+", "RETURN")
		}
		add(b, "-i %s", "ACCEPT")
	}
	return out
}

// parse returns the chains of what iptables-save printed, and of each the rules
// that carry a mark of ours, without "-A".
func parse(saved string) (chains []string, ours map[string][]string) {
	ours = make(map[string][]string)
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, ":"); ok {
			name, _, _ = strings.Cut(name, " ")
			chains = append(chains, name)
		}
		if rule, ok := strings.CutPrefix(line, "-A "); ok && (strings.Contains(rule, comment(mark)) || strings.Contains(rule, comment(spanMark))) {
			chain, _, _ := strings.Cut(rule, " ")
			ours[chain] = append(ours[chain], rule)
		}
	}
	return chains, ours
}

// run runs a command and returns what it printed.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", name, err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}
