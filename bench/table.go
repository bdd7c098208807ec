package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Line is one line of the table: a figure of ours beside one of a peer.
type Line struct {
	Work       string
	Ours, Peer string // figures with units, the peer's with its name
	Ratio      float64
	Goal       float64
	AtMost     bool // the ratio is to stay below the goal, not above
	Verdict    string
}

// verdict says whether the goal was met.
func (l Line) verdict() string {
	switch {
	case l.Verdict != "":
		return l.Verdict
	case l.AtMost && l.Ratio <= l.Goal, !l.AtMost && l.Ratio >= l.Goal:
		return "ok"
	}
	return "short"
}

func (l Line) goal() string {
	switch {
	case l.Goal == 0:
		return ""
	case l.AtMost:
		return fmt.Sprintf("≤ %g", l.Goal)
	}
	return fmt.Sprintf("≥ %g", l.Goal)
}

func printTable(w io.Writer, lines []Line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	row("WORK", "OURS", "PEER", "RATIO", "GOAL", "VERDICT")
	last := ""
	for _, l := range lines {
		ratio := ""
		if l.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", l.Ratio)
		}
		work := l.Work
		if work == last {
			work = ""
		}
		last = l.Work
		row(work, l.Ours, l.Peer, ratio, l.goal(), l.verdict())
	}
	return t.Flush()
}
