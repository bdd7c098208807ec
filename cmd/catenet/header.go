package main

import (
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"
)

// headerOf is the header line of a table that t writes a row of: its text as
// it is, and for each action the name of the first field in it. id is what
// the field ID is called.
func headerOf(t *template.Template, id string) string {
	var b strings.Builder
	for _, n := range t.Root.Nodes {
		if text, ok := n.(*parse.TextNode); ok {
			b.Write(text.Text)
		} else {
			b.WriteString(columnName(firstField(n), id))
		}
	}
	return b.String()
}

// firstField returns the name of the first field that n mentions, or "".
func firstField(n parse.Node) string {
	var inside []parse.Node
	switch n := n.(type) {
	case *parse.FieldNode:
		return n.Ident[len(n.Ident)-1]
	case *parse.VariableNode:
		if len(n.Ident) > 1 { // $x.Name
			return n.Ident[len(n.Ident)-1]
		}
	case *parse.ChainNode:
		return n.Field[len(n.Field)-1]
	case *parse.ActionNode:
		return firstField(n.Pipe)
	case *parse.IfNode:
		inside = []parse.Node{n.Pipe}
	case *parse.RangeNode:
		inside = []parse.Node{n.Pipe}
	case *parse.WithNode:
		inside = []parse.Node{n.Pipe}
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			inside = append(inside, c)
		}
	case *parse.CommandNode:
		inside = n.Args
	}
	for _, n := range inside {
		if name := firstField(n); name != "" {
			return name
		}
	}
	return ""
}

// columnName writes the name of a field as docker's headers are written:
// ExitCode is EXIT CODE.
func columnName(field, id string) string {
	if field == "ID" {
		return id
	}
	var b strings.Builder
	var before rune
	for _, r := range field {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToUpper(r))
		before = r
	}
	return b.String()
}
