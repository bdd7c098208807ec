package nft

import (
	"reflect"
	"testing"

	"github.com/catenet/catenet/internal/kernel/wire"
)

// FuzzDecode feeds the parsers what the kernel might send: nothing may
// panic, and nothing may be made of less than it says.
func FuzzDecode(f *testing.F) {
	chain := Chain{Name: "c", Hook: &Hook{"nat", Output, -100, 1}, Rules: []Rule{{Do(Verdict{Code: Jump, Chain: "d"}), Masquerade()}}}
	set := Set{Name: "s", Interval: true, Key: TypeAddr4, Data: TypeVerdict, Elements: []Element{
		{Key: "abcd", Verdict: Verdict{Goto, "e"}}, {Key: "abce", End: true},
	}}
	for _, m := range encode(Diff(nil, []Table{{Ref: testTable, Flags: Owner, Chains: []Chain{chain}, Sets: []Set{set, numbers(2)}}})).msgs {
		f.Add(m.Data, 20)
	}
	f.Fuzz(func(t *testing.T, data []byte, offset int) {
		exprAt(data, offset)
		if msgs, err := parse(data); err == nil {
			for _, m := range msgs {
				m.Answer()
			}
		}
		_, b, err := nftables(wire.Message{Data: data})
		if err != nil {
			return
		}
		decodeTable(b)
		decodeChain(b)
		decodeSet(b)
		if _, _, exprs, err := decodeRule(b); err == nil {
			refusesAll(exprs)
		}
		if els, err := decodeElements(b); err == nil && len(els) > len(b)/4 {
			t.Errorf("%d elements from %d bytes", len(els), len(b))
		}
	})
}

// TestDecodeEncoded: what we write we read.
func TestDecodeEncoded(t *testing.T) {
	hook := &Hook{"filter", Forward, -7, 1}
	set := Set{Name: "s", Interval: true, Key: TypeAddr4, Data: TypeVerdict, Elements: []Element{
		{Key: "abcd", Verdict: Verdict{Goto, "e"}}, {Key: "abce", End: true},
	}}
	rule := Rule{Meta(MetaL4Proto, R0), Equal(R0, []byte{6}), Do(Verdict{Code: Drop})}
	want := []Table{{Ref: testTable, Flags: Owner, Chains: []Chain{{"c", hook, []Rule{rule}}}, Sets: []Set{set}}}
	var got struct {
		flags uint32
		chain Chain
		set   Set
		exprs []Expr
		mark  []byte
	}
	for _, m := range encode(Diff(nil, want)).msgs {
		ref, b, err := nftables(m)
		if m.Type < 0x100 {
			continue // the frame
		}
		if err != nil || ref != testTable {
			t.Fatalf("%v %v", ref, err)
		}
		switch m.Type & 0xff {
		case 0:
			got.flags, _, err = decodeTable(b)
		case 3:
			got.chain, err = decodeChain(b)
		case 6:
			_, got.mark, got.exprs, err = decodeRule(b)
		case 9:
			els := got.set.Elements
			got.set, err = decodeSet(b)
			got.set.Elements = els
		case 12:
			got.set.Elements, err = decodeElements(b)
		}
		must(t, err)
	}
	want[0].Chains[0].Rules = nil
	if got.flags != Owner || !reflect.DeepEqual(got.chain, want[0].Chains[0]) || !reflect.DeepEqual(got.set, set) ||
		!reflect.DeepEqual(got.exprs, []Expr(rule)) || !reflect.DeepEqual(got.mark, rule.mark()) {
		t.Errorf("%+v", got)
	}
}
