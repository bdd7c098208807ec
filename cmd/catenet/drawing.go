package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// draw draws a picture with box characters: the host on top, its networks on
// a spine below it, those that it is not in at the end, and their containers
// below each, with its other hosts.
func draw(p picture) string {
	// A network's box stands 6 columns to the right of the host's, and both
	// end at one.
	inner := max(width(p.title)+3, width(p.about)+2) - 6
	for _, b := range p.boxes {
		inner = max(inner, width(b.title)+3, width(b.about)+2)
	}
	host := inner + 6
	var s strings.Builder
	fmt.Fprintf(&s, "╔═ %s %s╗\n", p.title, strings.Repeat("═", host-width(p.title)-3))
	fmt.Fprintf(&s, "║ %s ║\n", pad(p.about, host-2))
	joined := slices.IndexFunc(p.boxes, func(b box) bool { return b.apart })
	if joined < 0 {
		joined = len(p.boxes)
	}
	root := "═"
	if joined > 0 {
		root = "╤"
	}
	fmt.Fprintf(&s, "╚═%s%s╝\n", root, strings.Repeat("═", host-2))
	cols := columns(p.boxes)
	for i, b := range p.boxes {
		if i > 0 && i >= joined {
			s.WriteByte('\n')
		}
		drawBox(&s, b, inner, cols, i-joined)
	}
	return s.String()
}

// columns are the widths of names, links and addresses.
func columns(boxes []box) (w [3]int) {
	for _, b := range boxes {
		for _, m := range b.members {
			w = [3]int{max(w[0], width(m.name)), max(w[1], width(m.link)), max(w[2], width(m.addr))}
		}
	}
	return w
}

// drawBox draws a network. The spine ends at the one whose place is -1; later
// ones do not hang on it.
func drawBox(s *strings.Builder, b box, inner int, cols [3]int, place int) {
	above, branch, spine := "│", "├───┤", "│"
	switch {
	case place == -1:
		branch, spine = "╰───┤", " "
	case place >= 0:
		above, branch, spine = " ", "    │", " "
	}
	fmt.Fprintf(s, "  %s   ╭─ %s %s╮\n", above, b.title, strings.Repeat("─", inner-width(b.title)-3))
	fmt.Fprintf(s, "  %s %s │\n", branch, pad(b.about, inner-2))
	foot := strings.Repeat("─", inner)
	if len(b.members) > 0 {
		foot = "─┬" + strings.Repeat("─", inner-2)
	}
	fmt.Fprintf(s, "  %s   ╰%s╯\n", spine, foot)
	for i, m := range b.members {
		twig, dot := "├", "●"
		if i == len(b.members)-1 {
			twig = "╰"
		}
		switch {
		case m.host && m.running:
			dot = "◆"
		case m.host:
			dot = "◇"
		case !m.running:
			dot = "○"
		}
		line := fmt.Sprintf("  %s     %s─%s %s  %s  %s  %s", spine, twig, dot, pad(m.name, cols[0]), pad(m.link, cols[1]), pad(m.addr, cols[2]), m.notes)
		s.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if place < -1 {
		s.WriteString("  │\n")
	}
}

func width(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, w int) string { return s + strings.Repeat(" ", max(0, w-width(s))) }
