// Package adopt reads the networks that other engines define, in catenet's
// words. What they have and catenet has not is told, in notes for people.
package adopt

import (
	"context"

	"github.com/catenet/catenet"
)

// Found is one network that another engine defines.
type Found struct {
	Spec  catenet.NetworkSpec
	Notes []string // what of it is another here, or not carried over
	// LeftOut says why nothing is to be made of it; Err why nothing can be.
	LeftOut string
	Err     error

	Link    string   // the bridge it has on this host while it is up
	Members []string // the containers in it now
	// Remove removes it where it is defined, and returns what defines it
	// again; nil where catenet does not do so. Leave says how a person
	// makes Link go.
	Remove func(context.Context) (undo func(context.Context) error, err error)
	Leave  string
}

// note adds what somebody should know.
func (f *Found) note(text string) { f.Notes = append(f.Notes, text) }
