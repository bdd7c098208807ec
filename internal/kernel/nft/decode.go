package nft

import (
	"time"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// nftables splits a message of nf_tables into the reference of its table
// and its attributes.
func nftables(m wire.Message) (ref Ref, payload []byte, err error) {
	if len(m.Data) < 4 {
		return Ref{}, nil, errMalformed
	}
	ref.Family = Family(m.Data[0])
	err = walk(m.Data[4:], func(a attr) {
		if a.typ == 1 { // the name of the table in every kind of message
			ref.Name = a.str()
		}
	})
	return ref, m.Data[4:], err
}

// nest walks attributes inside an attribute, and keeps the first error.
type nest struct{ err error }

func (n *nest) walk(b []byte, fn func(attr)) {
	if err := walk(b, fn); err != nil && n.err == nil {
		n.err = err
	}
}

// decodeTable reads the flags of a table, and its owner's port; 0 is none.
func decodeTable(b []byte) (flags, owner uint32, err error) {
	var in nest
	in.walk(b, func(a attr) {
		switch a.typ {
		case 2:
			flags = a.u32()
		case 7: // NFTA_TABLE_OWNER
			owner = a.u32()
		}
	})
	return flags, owner, in.err
}

func decodeChain(b []byte) (c Chain, err error) {
	var in nest
	var h Hook
	base := false
	in.walk(b, func(a attr) {
		switch a.typ {
		case 3:
			c.Name = a.str()
		case 4:
			base = true
			in.walk(a.data, func(a attr) {
				switch a.typ {
				case 1:
					h.Num = a.u32()
				case 2:
					h.Priority = int32(a.u32())
				}
			})
		case 5:
			h.Policy = a.u32()
		case 7:
			h.Type = a.str()
		}
	})
	if base {
		c.Hook = &h
	}
	return c, in.err
}

// decodeRule returns the chain and user data of a rule, and its expressions.
func decodeRule(b []byte) (chain string, userdata []byte, exprs []Expr, err error) {
	var in nest
	in.walk(b, func(a attr) {
		switch a.typ {
		case 2:
			chain = a.str()
		case 4:
			in.walk(a.data, func(a attr) {
				var x Expr
				in.walk(a.data, func(a attr) {
					switch a.typ {
					case 1:
						x.Name = a.str()
					case 2:
						x.Attrs = a.data
					}
				})
				exprs = append(exprs, x)
			})
		case 7:
			userdata = a.data
		}
	})
	return chain, userdata, exprs, in.err
}

func decodeSet(b []byte) (s Set, err error) {
	var in nest
	in.walk(b, func(a attr) {
		switch a.typ {
		case 2:
			s.Name = a.str()
		case 3:
			s.Interval = a.u32()&setInterval != 0
		case 4:
			s.Key.ID = a.u32()
		case 5:
			s.Key.Len = a.u32()
		case 6:
			s.Data.ID = a.u32()
		case 7:
			s.Data.Len = a.u32()
		case 11:
			s.Timeout = time.Duration(a.u64()) * time.Millisecond
		}
	})
	return s, in.err
}

func decodeElements(b []byte) (els []Element, err error) {
	var in nest
	in.walk(b, func(a attr) {
		if a.typ != 3 {
			return
		}
		in.walk(a.data, func(a attr) {
			var e Element
			in.walk(a.data, func(a attr) { in.element(a, &e) })
			els = append(els, e)
		})
	})
	return els, in.err
}

func (in *nest) element(a attr, e *Element) {
	switch a.typ {
	case 1:
		key, _ := in.value(a)
		e.Key = string(key)
	case 2:
		value, verdict := in.value(a)
		e.Value, e.Verdict = string(value), verdict
	case 3:
		e.End = a.u32()&1 != 0
	}
}

// value reads NFTA_DATA_VALUE or NFTA_DATA_VERDICT.
func (in *nest) value(a attr) (value []byte, v Verdict) {
	in.walk(a.data, func(a attr) {
		switch a.typ {
		case 1:
			value = a.data
		case 2:
			in.walk(a.data, func(a attr) {
				switch a.typ {
				case 1:
					v.Code = int32(a.u32())
				case 2:
					v.Chain = a.str()
				}
			})
		}
	})
	return value, v
}
