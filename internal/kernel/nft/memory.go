package nft

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory is a kernel's nf_tables in memory, for tests of those who use a
// Conn: it applies batches as the kernel does, all or nothing, and refuses
// what the kernel refuses. It stands here and not in package fake because what
// is the same hook, set or element must be one answer, for Diff and for it.
type Memory struct {
	Has Caps
	// Refuse, if set, is asked before each step; its error fails the batch.
	Refuse func(Op) error

	mu      sync.Mutex
	tables  []Table
	commits int
	changes chan struct{}
}

// NewMemory returns an empty one that has everything.
func NewMemory() *Memory {
	return &Memory{Has: Caps{Owner: true, Bridge: true}, changes: make(chan struct{}, 1)}
}

// Caps returns Has.
func (m *Memory) Caps() Caps { return m.Has }

// Commits returns how many batches that were not empty have been committed.
func (m *Memory) Commits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commits
}

// Flush removes everything, as somebody else's `nft flush ruleset`, and
// wakes Watch.
func (m *Memory) Flush() {
	m.mu.Lock()
	m.tables = nil
	m.mu.Unlock()
	select {
	case m.changes <- struct{}{}:
	default:
	}
}

// Watch calls changed after each Flush, until ctx ends.
func (m *Memory) Watch(ctx context.Context, _ []Ref, changed func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.changes:
			changed()
		}
	}
}

// Dump returns copies of the named tables, sorted.
func (m *Memory) Dump(_ context.Context, refs ...Ref) ([]Table, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Table
	for _, t := range m.tables {
		if slices.Contains(refs, t.Ref) {
			out = append(out, t.clone())
			out[len(out)-1].Sort()
		}
	}
	return out, nil
}

func (t Table) clone() Table {
	t.Chains, t.Sets = slices.Clone(t.Chains), slices.Clone(t.Sets)
	for i := range t.Chains {
		t.Chains[i].Rules = slices.Clone(t.Chains[i].Rules)
	}
	for i := range t.Sets {
		t.Sets[i].Elements = slices.Clone(t.Sets[i].Elements)
	}
	return t
}

// Commit applies a batch; on an error nothing has changed.
func (m *Memory) Commit(_ context.Context, b Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(b) == 0 {
		return nil
	}
	next := make([]Table, len(m.tables))
	for i, t := range m.tables {
		next[i] = t.clone()
	}
	for _, op := range b {
		if m.Refuse != nil {
			if err := m.Refuse(op); err != nil {
				return err
			}
		}
		var err error
		if next, err = step(next, op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	for _, t := range next {
		if err := t.check(); err != nil {
			return err
		}
	}
	m.tables, m.commits = next, m.commits+1
	return nil
}

func step(tables []Table, op Op) ([]Table, error) {
	i := slices.IndexFunc(tables, func(t Table) bool { return t.Ref == op.Table })
	switch {
	case op.Do == AddTable && i < 0:
		return append(tables, Table{Ref: op.Table, Flags: op.Flags, Held: true}), nil
	case op.Do == AddTable && tables[i].Flags != op.Flags:
		return nil, unix.EOPNOTSUPP
	case op.Do == AddTable:
		return tables, nil
	case i < 0:
		return nil, unix.ENOENT
	case op.Do == DeleteTable:
		return slices.Delete(tables, i, i+1), nil
	}
	return tables, tables[i].step(op)
}

func (t *Table) step(op Op) error {
	c := slices.IndexFunc(t.Chains, func(c Chain) bool { return c.Name == op.Chain.Name })
	s := slices.IndexFunc(t.Sets, func(s Set) bool { return s.Name == op.Set.Name })
	switch op.Do {
	case AddChain:
		if c < 0 {
			t.Chains = append(t.Chains, Chain{Name: op.Chain.Name, Hook: op.Chain.Hook})
		} else if !sameHook(t.Chains[c].Hook, op.Chain.Hook) {
			return unix.EEXIST
		}
		return nil
	case AddSet:
		if s < 0 {
			t.Sets = append(t.Sets, op.Set.shape())
		} else if !sameSet(t.Sets[s], op.Set) {
			return unix.EEXIST
		}
		return nil
	case FlushChain, DeleteChain, AddRules:
		if c < 0 {
			return unix.ENOENT
		}
		return t.stepChain(c, op)
	}
	if s < 0 {
		return unix.ENOENT
	}
	return stepElements(&t.Sets[s], op)
}

func (t *Table) stepChain(c int, op Op) error {
	switch op.Do {
	case FlushChain:
		t.Chains[c].Rules = nil
	case AddRules:
		t.Chains[c].Rules = append(t.Chains[c].Rules, op.Chain.Rules...)
	case DeleteChain:
		if len(t.Chains[c].Rules) > 0 {
			return unix.EBUSY
		}
		t.Chains = slices.Delete(t.Chains, c, c+1)
	}
	return nil
}

func stepElements(s *Set, op Op) error {
	index := make(map[string]int, len(s.Elements))
	for i, e := range s.Elements {
		index[e.id()] = i
	}
	gone := make(map[string]bool)
	for _, e := range op.Set.Elements {
		i, there := index[e.id()]
		switch {
		case op.Do == DeleteElements && (!there || gone[e.id()]):
			return unix.ENOENT
		case op.Do == DeleteElements:
			gone[e.id()] = true
		case !there:
			index[e.id()] = len(s.Elements)
			s.Elements = append(s.Elements, e)
		case s.Elements[i] != e:
			return unix.EBUSY
		}
	}
	s.Elements = slices.DeleteFunc(s.Elements, func(e Element) bool { return gone[e.id()] })
	return nil
}

// check refuses verdicts that lead to a chain that is not there.
func (t Table) check() error {
	for _, s := range t.Sets {
		for _, e := range s.Elements {
			to := e.Verdict.Chain
			if to != "" && !slices.ContainsFunc(t.Chains, func(c Chain) bool { return c.Name == to }) {
				return fmt.Errorf("element of set %s of table %s: no chain %s: %w", s.Name, t.Ref, to, unix.ENOENT)
			}
		}
	}
	return nil
}
