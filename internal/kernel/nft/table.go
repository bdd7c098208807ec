package nft

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// Family is the protocol family of a table (NFPROTO_*).
type Family uint8

// Families of tables.
const (
	Inet   Family = 1
	IPv4   Family = 2
	Bridge Family = 7
	IPv6   Family = 10
)

// String returns the family as nft(8) spells it.
func (f Family) String() string {
	switch f {
	case Inet:
		return "inet"
	case IPv4:
		return "ip"
	case Bridge:
		return "bridge"
	case IPv6:
		return "ip6"
	}
	return fmt.Sprintf("family %d", uint8(f))
}

// Ref names a table.
type Ref struct {
	Family Family
	Name   string
}

// String returns the reference as nft(8) spells it: "inet catenet".
func (r Ref) String() string { return r.Family.String() + " " + r.Name }

// Flags of a table.
const (
	// Owner ties the table to the netlink socket that made it: nobody else
	// can change it (Linux 5.12).
	Owner uint32 = 2
	// Persist keeps an owned table when its socket goes; the next one that
	// asks for it becomes its owner (Linux 6.9).
	Persist uint32 = 4
)

// Table is a table with all that is in it.
type Table struct {
	Ref
	Flags  uint32
	Chains []Chain
	Sets   []Set
	// Held is set in a dump: no owner is needed, or we are the owner.
	Held bool
}

// Hook makes a chain a base chain: the kernel enters it by itself.
type Hook struct {
	Type     string // filter, nat, route
	Num      uint32 // PreRouting, …
	Priority int32  // lower runs first
	Policy   uint32 // Accept or Drop
}

// Hook numbers, alike for the IP families and bridge (NF_INET_*, NF_BR_*).
const (
	PreRouting  uint32 = 0
	Input       uint32 = 1
	Forward     uint32 = 2
	Output      uint32 = 3
	PostRouting uint32 = 4
)

// Chain is a list of rules. A nil Hook makes it one that others jump to.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Rule is a list of expressions: the first that does not match ends it.
type Rule []Expr

// mark is what a rule carries as user data: a fingerprint of how it was
// rendered. The kernel gives expressions back in another form than it got
// them; the mark tells whether a rule is still the one we want.
func (r Rule) mark() []byte {
	if len(r) == 1 && r[0].Name == marked {
		return r[0].Attrs
	}
	h := fnv.New64a()
	for _, e := range r {
		fmt.Fprintf(h, "%s %d ", e.Name, len(e.Attrs))
		h.Write(e.Attrs)
	}
	return h.Sum([]byte{udMark, 8})
}

// udMark is the type of our entry in a rule's user data, which is a list of
// type, length and value (libnftnl's udata). nft(8) skips types it does not
// know.
const udMark = 0xca

// marked is the name of the one pseudo-expression of a dumped rule; its
// attributes are the rule's user data.
const marked = "marked"

// Verdict ends the evaluation of a chain, or sends it on.
type Verdict struct {
	Code  int32
	Chain string // of Jump and Goto
}

// Verdict codes (NF_*, NFT_*).
const (
	Drop   int32 = 0
	Accept int32 = 1
	Jump   int32 = -3
	Goto   int32 = -4
	Return int32 = -5
)

// Type is a data type of keys and values: the number by which nft(8) shows
// it, and its length in registers.
type Type struct {
	ID  uint32
	Len uint32 // bytes
}

// Types of keys and values (datatype.h of nftables).
var (
	TypeAddr4   = Type{7, 4}
	TypeAddr6   = Type{8, 16}
	TypeProto   = Type{12, 1}
	TypeService = Type{13, 2}
	TypeIfname  = Type{41, 16}
	TypeVerdict = Type{0xffffff00, 16}
)

// Concat is a concatenation of types; each takes whole registers of 4 bytes.
func Concat(types ...Type) Type {
	var c Type
	for _, t := range types {
		c.ID = c.ID<<6 | t.ID
		c.Len += (t.Len + 3) &^ 3
	}
	return c
}

// Set is a set, or with a Data type a map.
type Set struct {
	Name     string
	Interval bool // elements are the bounds of ranges
	Key      Type
	Data     Type // zero: a set
	// Timeout, if not 0, is how long an element is in the set after a rule has
	// put it there. Nothing else does, and Diff takes out what is there.
	Timeout  time.Duration
	Elements []Element
}

// shape is what cannot be changed in a set that exists.
func (s Set) shape() Set {
	s.Elements = nil
	if s.Data == TypeVerdict {
		s.Data.Len = 0 // the kernel's own affair
	}
	return s
}

// Element is one element of a set. Of an interval set it is the begin of a
// range or, with End, the first key after one.
type Element struct {
	Key     string // bytes, as in registers
	End     bool
	Value   string  // of a map with other data than verdicts
	Verdict Verdict // of a map of verdicts
}

// id is what tells an element from the others of its set.
func (e Element) id() string {
	if e.End {
		return e.Key + "e"
	}
	return e.Key + "s"
}

// Sort brings chains, sets and elements into a fixed order, so that rulesets
// can be compared and printed. Rules keep theirs.
func (t *Table) Sort() {
	slices.SortFunc(t.Chains, func(a, b Chain) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Sets, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range t.Sets {
		slices.SortFunc(s.Elements, func(a, b Element) int { return cmp.Compare(a.id(), b.id()) })
	}
}
