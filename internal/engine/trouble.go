package engine

import (
	"errors"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// trouble is what keeps a network that is up from being in order, or nil. e.mu is
// held.
func (n *network) trouble() error {
	if n.span != nil && n.span.trouble != nil {
		return errors.Join(n.state.Trouble, n.span.trouble)
	}
	return n.state.Trouble
}

// warnings are what whoever makes or changes a network should know. Engine.mu is held.
func (n *network) warnings() []string {
	all := slices.Clone(n.state.Warnings)
	if n.state.Trouble != nil {
		all = append(all, told(n.state.Trouble))
	}
	return all
}

// told is what people are told of trouble, on one line: what is wrong, and what would be
// right.
func told(trouble error) string {
	text := strings.ReplaceAll(trouble.Error(), "\n", "; ") // of more than one
	if hint := catenet.HintOf(trouble); hint != "" {
		text += "; " + hint
	}
	return text
}
