package nft

import (
	"bytes"
	"slices"
)

// Verb says what an Op does.
type Verb uint8

// Verbs. Adding what is there already is no error, unless it differs in what
// cannot be changed; deleting what is not there is one.
const (
	AddTable       Verb = iota // or become the owner of an orphan
	DeleteTable                // with all that is in it
	AddChain                   // without its rules
	FlushChain                 // deletes its rules
	DeleteChain                // must be empty and unreferenced
	AddRules                   // appends the rules of Chain
	AddSet                     // without its elements
	AddElements                // the elements of Set
	DeleteElements             // … or all, if the set names none
)

// Op is one step of a transaction.
type Op struct {
	Do    Verb
	Table Ref
	Flags uint32 // of AddTable
	Chain Chain  // of AddChain, AddRules; only its name of FlushChain, DeleteChain
	Set   Set    // of AddSet, AddElements, DeleteElements
}

// String says what the step does, for errors.
func (o Op) String() string {
	in := " of table " + o.Table.String()
	switch o.Do {
	case AddTable:
		return "add table " + o.Table.String()
	case DeleteTable:
		return "delete table " + o.Table.String()
	case AddChain:
		return "add chain " + o.Chain.Name + in
	case FlushChain:
		return "flush chain " + o.Chain.Name + in
	case DeleteChain:
		return "delete chain " + o.Chain.Name + in
	case AddRules:
		return "add rule to chain " + o.Chain.Name + in
	case AddSet:
		return "add set " + o.Set.Name + in
	case AddElements:
		return "add elements to set " + o.Set.Name + in
	case DeleteElements:
		return "delete elements from set " + o.Set.Name + in
	}
	return "unknown step"
}

// Batch is one transaction: all of it happens, at once, or nothing.
type Batch []Op

// Diff returns the transaction that turns the tables of have into those of
// want. Tables, and within one table chains and sets, that neither names are
// not touched, so parts of rulesets can be given too. It is empty if nothing
// differs.
func Diff(have, want []Table) Batch {
	var b Batch
	for _, w := range want {
		i := slices.IndexFunc(have, func(h Table) bool { return h.Ref == w.Ref })
		switch {
		case i < 0:
			b.create(w)
		case !sameShape(have[i], w):
			b = append(b, Op{Do: DeleteTable, Table: w.Ref})
			b.create(w)
		default:
			b.change(have[i], w)
		}
	}
	for _, h := range have {
		if !slices.ContainsFunc(want, func(w Table) bool { return h.Ref == w.Ref }) {
			b = append(b, Op{Do: DeleteTable, Table: h.Ref})
		}
	}
	return b
}

func (b *Batch) create(w Table) {
	*b = append(*b, Op{Do: AddTable, Table: w.Ref, Flags: w.Flags})
	b.change(Table{Ref: w.Ref, Flags: w.Flags, Held: true}, w)
}

// sameShape reports whether h can become w without being deleted.
func sameShape(h, w Table) bool {
	if h.Flags != w.Flags {
		return false
	}
	for _, hc := range h.Chains {
		for _, wc := range w.Chains {
			if hc.Name == wc.Name && !sameHook(hc.Hook, wc.Hook) {
				return false
			}
		}
	}
	for _, hs := range h.Sets {
		i := slices.IndexFunc(w.Sets, func(s Set) bool { return s.Name == hs.Name })
		if i < 0 || !sameSet(hs, w.Sets[i]) {
			return false
		}
	}
	return true
}

func sameHook(a, b *Hook) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameSet(a, b Set) bool {
	a, b = a.shape(), b.shape()
	return a.Name == b.Name && a.Interval == b.Interval && a.Key == b.Key && a.Data == b.Data && a.Timeout == b.Timeout
}

// change orders the steps so that each finds what it refers to, and nothing
// is deleted while something refers to it:
//
//	add chains and sets → delete elements → flush chains →
//	add elements and rules → delete chains
func (b *Batch) change(h, w Table) {
	op := func(o Op) { o.Table = w.Ref; *b = append(*b, o) }
	if !h.Held {
		op(Op{Do: AddTable, Flags: w.Flags})
	}
	hc, wc := chainsByName(h), chainsByName(w)
	for _, c := range w.Chains {
		if _, ok := hc[c.Name]; !ok {
			op(Op{Do: AddChain, Chain: c})
		}
	}
	var add []Set
	for _, s := range w.Sets {
		i := slices.IndexFunc(h.Sets, func(x Set) bool { return x.Name == s.Name })
		var old Set
		if i < 0 {
			op(Op{Do: AddSet, Set: s})
		} else {
			old = h.Sets[i]
		}
		gone, fresh := diffElements(old.Elements, s.Elements)
		if s.Elements = gone; len(gone) > 0 {
			if s.Timeout != 0 {
				s.Elements = nil // all: one may be over by then
			}
			op(Op{Do: DeleteElements, Set: s})
		}
		if s.Elements = fresh; len(fresh) > 0 {
			add = append(add, s)
		}
	}
	for _, c := range h.Chains {
		if x, ok := wc[c.Name]; len(c.Rules) > 0 && (!ok || !sameRules(c, x)) {
			op(Op{Do: FlushChain, Chain: c})
		}
	}
	for _, s := range add {
		op(Op{Do: AddElements, Set: s})
	}
	for _, c := range w.Chains {
		if len(c.Rules) > 0 && !sameRules(hc[c.Name], c) {
			op(Op{Do: AddRules, Chain: c})
		}
	}
	for _, c := range h.Chains {
		if _, ok := wc[c.Name]; !ok {
			op(Op{Do: DeleteChain, Chain: c})
		}
	}
}

func chainsByName(t Table) map[string]Chain {
	m := make(map[string]Chain, len(t.Chains))
	for _, c := range t.Chains {
		m[c.Name] = c
	}
	return m
}

func sameRules(a, b Chain) bool {
	return slices.EqualFunc(a.Rules, b.Rules, func(x, y Rule) bool {
		return bytes.Equal(x.mark(), y.mark())
	})
}

// diffElements returns those only in have, and those only in want; one whose
// value differs is in both.
func diffElements(have, want []Element) (gone, fresh []Element) {
	old := make(map[string]Element, len(have))
	for _, e := range have {
		old[e.id()] = e
	}
	for _, e := range want {
		if h, ok := old[e.id()]; ok && h == e {
			delete(old, e.id())
			continue
		}
		fresh = append(fresh, e)
	}
	for _, e := range have { // in order, not in that of the map
		if _, ok := old[e.id()]; ok {
			gone = append(gone, e)
		}
	}
	return gone, fresh
}
