package nft

import (
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
)

// errShort is what a message of the kernel is refused with that has no room
// for its own header.
var errShort = errors.New("short nf_tables message")

// walk calls fn with each attribute of a message's or attribute's payload.
// Numbers are read in network order.
func walk(b []byte, fn func(*netlink.AttributeDecoder)) error {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		fn(d)
	}
	return d.Err()
}

// inside walks the attributes inside the current one.
func inside(d *netlink.AttributeDecoder, fn func(*netlink.AttributeDecoder)) {
	d.Do(func(b []byte) error { return walk(b, fn) })
}

// message splits a message into the reference of its table and its
// attributes.
func message(m netlink.Message) (ref Ref, payload []byte, err error) {
	if len(m.Data) < 4 {
		return Ref{}, nil, errShort
	}
	ref.Family = Family(m.Data[0])
	err = walk(m.Data[4:], func(d *netlink.AttributeDecoder) {
		if d.Type() == 1 { // the name of the table in every kind of message
			ref.Name = cstring(d.Bytes())
		}
	})
	return ref, m.Data[4:], err
}

// cstring is a string up to its first NUL.
func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// decodeTable reads the flags of a table, and its owner's port; 0 is none.
func decodeTable(b []byte) (flags, owner uint32, err error) {
	err = walk(b, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case 2:
			flags = d.Uint32()
		case 7: // NFTA_TABLE_OWNER
			owner = d.Uint32()
		}
	})
	return flags, owner, err
}

func decodeChain(b []byte) (c Chain, err error) {
	var h Hook
	base := false
	err = walk(b, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case 3:
			c.Name = cstring(d.Bytes())
		case 4:
			base = true
			inside(d, func(d *netlink.AttributeDecoder) {
				switch d.Type() {
				case 1:
					h.Num = d.Uint32()
				case 2:
					h.Priority = int32(d.Uint32())
				}
			})
		case 5:
			h.Policy = d.Uint32()
		case 7:
			h.Type = cstring(d.Bytes())
		}
	})
	if base {
		c.Hook = &h
	}
	return c, err
}

// decodeRule returns the chain and user data of a rule, and its expressions.
func decodeRule(b []byte) (chain string, userdata []byte, exprs []Expr, err error) {
	err = walk(b, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case 2:
			chain = cstring(d.Bytes())
		case 4:
			inside(d, func(d *netlink.AttributeDecoder) {
				var x Expr
				inside(d, func(d *netlink.AttributeDecoder) {
					switch d.Type() {
					case 1:
						x.Name = cstring(d.Bytes())
					case 2:
						x.Attrs = d.Bytes()
					}
				})
				exprs = append(exprs, x)
			})
		case 7:
			userdata = d.Bytes()
		}
	})
	return chain, userdata, exprs, err
}

func decodeSet(b []byte) (s Set, err error) {
	err = walk(b, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case 2:
			s.Name = cstring(d.Bytes())
		case 3:
			s.Interval = d.Uint32()&setInterval != 0
		case 4:
			s.Key.ID = d.Uint32()
		case 5:
			s.Key.Len = d.Uint32()
		case 6:
			s.Data.ID = d.Uint32()
		case 7:
			s.Data.Len = d.Uint32()
		}
	})
	return s, err
}

func decodeElements(b []byte) (els []Element, err error) {
	err = walk(b, func(d *netlink.AttributeDecoder) {
		if d.Type() != 3 {
			return
		}
		inside(d, func(d *netlink.AttributeDecoder) {
			var e Element
			inside(d, func(d *netlink.AttributeDecoder) { decodeElement(d, &e) })
			els = append(els, e)
		})
	})
	return els, err
}

func decodeElement(d *netlink.AttributeDecoder, e *Element) {
	switch d.Type() {
	case 1:
		key, _ := decodeData(d)
		e.Key = string(key)
	case 2:
		value, verdict := decodeData(d)
		e.Value, e.Verdict = string(value), verdict
	case 3:
		e.End = d.Uint32()&1 != 0
	}
}

// decodeData reads NFTA_DATA_VALUE or NFTA_DATA_VERDICT.
func decodeData(d *netlink.AttributeDecoder) (value []byte, v Verdict) {
	inside(d, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case 1:
			value = d.Bytes()
		case 2:
			inside(d, func(d *netlink.AttributeDecoder) {
				switch d.Type() {
				case 1:
					v.Code = int32(d.Uint32())
				case 2:
					v.Chain = cstring(d.Bytes())
				}
			})
		}
	})
	return value, v
}
