package nft

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

func open(t testing.TB, ns *kerneltest.NS, o Options) (c *Conn) {
	t.Helper()
	ns.MustDo(func() (err error) { c, err = Open(o); return err })
	t.Cleanup(func() { c.Close() })
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var testTable = Ref{Inet, "test"}

func numbers(n int) Set {
	s := Set{Name: "numbers", Key: Concat(TypeProto, TypeService), Data: Concat(TypeAddr4, TypeService)}
	for i := range n {
		k := binary.BigEndian.AppendUint16([]byte{6, 0, 0, 0}, uint16(i))
		s.Elements = append(s.Elements, Element{Key: string(append(k, 0, 0)), Value: string(k) + "\x00\x00"})
	}
	return s
}

// TestTenThousandElements: what Commit takes for done is in the kernel.
func TestTenThousandElements(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	c := open(t, ns, Options{})
	want := []Table{{Ref: testTable, Sets: []Set{numbers(10000)}}}
	start := time.Now()
	must(t, c.Commit(t.Context(), Diff(nil, want)))
	t.Logf("added in %v", time.Since(start))
	if n := strings.Count(ns.Run("nft", "list", "map", "inet", "test", "numbers"), "tcp . "); n != 10000 {
		t.Errorf("nft counts %d elements", n)
	}
	have, err := c.Dump(t.Context(), testTable)
	must(t, err)
	if n := len(have[0].Sets[0].Elements); n != 10000 {
		t.Errorf("the dump has %d elements", n)
	}
	if b := Diff(have, want); len(b) > 0 {
		t.Errorf("still to do: %d steps", len(b))
	}
	want[0].Sets[0].Elements = nil
	must(t, c.Commit(t.Context(), Diff(have, want)))
	have, err = c.Dump(t.Context(), testTable)
	must(t, err)
	if n := len(have[0].Sets[0].Elements); n != 0 {
		t.Errorf("%d elements are left", n)
	}
}

// TestFailureChangesNothing: the last of ten thousand steps fails.
func TestFailureChangesNothing(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	c := open(t, ns, Options{})
	b := Diff(nil, []Table{{Ref: testTable, Sets: []Set{numbers(10000)}}})
	for range 3 {
		bad := slices.Concat(b, Batch{{Do: DeleteChain, Table: testTable, Chain: Chain{Name: "none"}}})
		err := c.Commit(t.Context(), bad)
		if !IsStale(err) || !strings.Contains(err.Error(), "delete chain none of table inet test") {
			t.Errorf("error: %v", err)
		}
		// And many failures at once: their answers fill the socket.
		var worse Batch
		for i := range 5000 {
			worse = append(worse, Op{Do: DeleteChain, Table: testTable, Chain: Chain{Name: fmt.Sprint("none", i)}})
		}
		if err := c.Commit(t.Context(), append(b[:len(b):len(b)], worse...)); err == nil {
			t.Error("five thousand failures are no error")
		}
	}
	if out := ns.Run("nft", "list", "ruleset"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
	must(t, c.Commit(t.Context(), b)) // the socket is still good
}

func TestErrorsNameWhatFailed(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	c := open(t, ns, Options{})
	chain := func(r Rule) Chain { return Chain{Name: "c", Rules: []Rule{r}} }
	for _, x := range []struct {
		rule Rule
		kind catenet.Kind
		want string
	}{
		{Rule{Meta(MetaIifname, R0), Expr{"telepathy", nil}}, catenet.KindUnsupported,
			`add rule to chain c of table inet test: this kernel has no nf_tables expression "telepathy"`},
		{Rule{Lookup("absent", R0)}, catenet.KindInternal,
			"add rule to chain c of table inet test: expression lookup: no such file or directory"},
		{Rule{Meta(200, R0)}, catenet.KindUnsupported,
			`add rule to chain c of table inet test: this kernel has no nf_tables expression "meta"`},
	} {
		err := c.Commit(t.Context(), Diff(nil, []Table{{Ref: testTable, Chains: []Chain{chain(x.rule)}}}))
		if err == nil || err.Error() != x.want || catenet.KindOf(err) != x.kind {
			t.Errorf("got  %v (%v)\nwant %s", err, catenet.KindOf(err), x.want)
		}
	}
	err := c.Commit(t.Context(), Batch{{Do: AddTable, Table: Ref{99, "x"}}})
	if !catenet.IsUnsupported(err) {
		t.Errorf("a family that is none: %v", err)
	}
}

func TestOwnedByAnother(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	a, b := open(t, ns, Options{}), open(t, ns, Options{})
	if !a.Caps().Owner {
		t.Fatal("this kernel has no owned tables: run the tests on Linux 6.9 or later")
	}
	want := []Table{{Ref: testTable, Flags: Owner | Persist}}
	must(t, a.Commit(t.Context(), Diff(nil, want)))
	have, err := b.Dump(t.Context(), testTable)
	must(t, err)
	if have[0].Held {
		t.Error("b believes to be the owner")
	}
	err = b.Commit(t.Context(), Diff(have, want))
	if !catenet.IsConflict(err) || catenet.HintOf(err) == "" {
		t.Errorf("taking over from a living owner: %v", err)
	}
	must(t, a.Close())
	// The kernel lets go when the last reference to the socket is gone.
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		have, err := b.Dump(t.Context(), testTable)
		must(t, err)
		if len(have) != 1 {
			t.Fatal("the table did not outlive its owner")
		}
		if err = b.Commit(t.Context(), Diff(have, want)); err == nil {
			break
		}
		if time.Since(start) > time.Second {
			t.Fatalf("taking over an orphan: %v", err)
		}
	}
	have, err = b.Dump(t.Context(), testTable)
	must(t, err)
	if !have[0].Held || len(Diff(have, want)) > 0 {
		t.Errorf("taken over, but: %+v", have)
	}
	if !open(t, ns, Options{}).Caps().Owner || open(t, ns, Options{NoOwner: true}).Caps().Owner {
		t.Error("NoOwner is not what decides")
	}
}

// TestShapeChange: what cannot be changed in place is made anew, with what
// hangs on it.
func TestShapeChange(t *testing.T) {
	t.Parallel()
	ns := kerneltest.New(t)
	c := open(t, ns, Options{})
	base := func(prio int32) Chain {
		return Chain{Name: "base", Hook: &Hook{"filter", Forward, prio, uint32(Accept)}, Rules: []Rule{{Do(Verdict{Code: Jump, Chain: "sub"})}}}
	}
	steps := [][]Table{
		{{Ref: testTable, Chains: []Chain{base(0), {Name: "sub"}}, Sets: []Set{numbers(2)}}},
		{{Ref: testTable, Chains: []Chain{base(5), {Name: "sub"}}, Sets: []Set{numbers(3)}}},
		{{Ref: testTable, Flags: Owner | Persist, Chains: []Chain{base(5), {Name: "sub"}}}},
		{{Ref: testTable, Chains: []Chain{{Name: "sub", Rules: []Rule{{Do(Verdict{Code: Drop})}, {Do(Verdict{Code: Accept})}}}}}},
		{},
	}
	for i, want := range steps {
		have, err := c.Dump(t.Context(), testTable)
		must(t, err)
		must(t, c.Commit(t.Context(), Diff(have, want)))
		have, err = c.Dump(t.Context(), testTable)
		must(t, err)
		if b := Diff(have, want); len(b) > 0 {
			t.Errorf("step %d: still to do: %v", i, b)
		}
	}
}

func TestContextEndsWork(t *testing.T) {
	t.Parallel()
	c := open(t, kerneltest.New(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Commit(ctx, Batch{{Do: AddTable, Table: testTable}}); err == nil {
		t.Error("Commit goes on")
	}
	if _, err := c.Dump(ctx, testTable); err == nil {
		t.Error("Dump goes on")
	}
	if err := c.Watch(ctx, nil, func() {}); err == nil {
		t.Error("Watch goes on")
	}
}
