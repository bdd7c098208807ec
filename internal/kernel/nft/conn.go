package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/failpoint"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// Caps is what this kernel has of what we would like.
type Caps struct {
	Owner  bool // tables with Owner and Persist
	Bridge bool // tables of family Bridge
}

// Conn is a connection to the nf_tables of one network namespace, and the
// owner of the owned tables made through it. Its methods are safe for
// concurrent use.
type Conn struct {
	caps Caps
	mu   sync.Mutex // one exchange at a time
	s    *socket
	snd  int // size of the send buffer in bytes, as asked for
}

// Options of Open.
type Options struct {
	// NoOwner makes tables without an owner even where the kernel has them.
	NoOwner bool
	// Inherited is the socket of another Conn, in another program, with
	// which the tables that it owns go over; nil is a new one. Open takes it
	// over.
	Inherited *os.File
}

// Open connects to the namespace of the current thread and finds out what
// the kernel has.
func Open(o Options) (*Conn, error) {
	s, err := inheritSocket(o.Inherited)
	if err == nil && s == nil {
		s, err = newSocket(0)
	}
	if err != nil {
		return nil, err
	}
	c := newConn(s)
	if c.caps, err = c.probe(); err != nil {
		return nil, errors.Join(err, c.s.close())
	}
	c.caps.Owner = c.caps.Owner && !o.NoOwner
	return c, nil
}

func dial() (*Conn, error) {
	s, err := newSocket(0)
	if err != nil {
		return nil, err
	}
	return newConn(s), nil
}

func newConn(s *socket) *Conn { return &Conn{s: s, snd: 64 << 10} }

// SyscallConn gives access to the socket, for who hands it over.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.s.f.SyscallConn() }

// Close closes the socket. Owned tables that persist stay, without an owner.
func (c *Conn) Close() error { return c.s.close() }

// Caps returns what the kernel has.
func (c *Conn) Caps() Caps { return c.caps }

// probe sends a transaction that cannot succeed, because its last step
// deletes what is not there, and reads from the errors which of the others
// would have.
func (c *Conn) probe() (Caps, error) {
	const name = "catenet-probe"
	b := Batch{
		{Do: AddTable, Table: Ref{Inet, name}, Flags: Owner | Persist},
		{Do: AddTable, Table: Ref{Bridge, name}},
		{Do: DeleteTable, Table: Ref{IPv4, name}},
	}
	e := encode(b)
	failed, err := c.exchange(e)
	if err != nil {
		return Caps{}, fmt.Errorf("probe nf_tables: %w", err)
	}
	caps := Caps{Owner: true, Bridge: true}
	for _, f := range failed {
		switch f.seq {
		case e.msgs[1].Seq:
			caps.Owner = false
		case e.msgs[2].Seq:
			caps.Bridge = false
		case e.msgs[3].Seq:
		default:
			return Caps{}, explain(b, e, f)
		}
	}
	return caps, nil
}

// Commit applies a batch in one transaction. On an error nothing has
// changed. An empty batch is nothing.
func (c *Conn) Commit(ctx context.Context, b Batch) error {
	if err := ctx.Err(); err != nil || len(b) == 0 {
		return err
	}
	e := encode(b)
	failpoint.Before("nft.commit")
	failed, err := c.exchange(e)
	failpoint.After("nft.commit")
	if err != nil {
		return fmt.Errorf("commit firewall transaction: %w", err)
	}
	if len(failed) > 0 {
		return explain(b, e, failed[0]) // later ones follow from it
	}
	return nil
}

// patience is how long the kernel may take for an answer. It gives one
// before send returns, so that only a bug comes this far.
const patience = 10 * time.Second

// exchange sends a batch and returns its failures. The kernel answers with
// them in order, and at last to the last step, or only to the frame's begin
// if it never looked at the steps.
func (c *Conn) exchange(e encoded) (failed []*failure, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.room(e); err != nil {
		return nil, err
	}
	if err := c.s.patient(patience); err != nil {
		return nil, err
	}
	if err := c.s.send(e.msgs); err != nil {
		return nil, err
	}
	first, last := e.msgs[0].Seq, e.msgs[len(e.msgs)-2].Seq
	for overflow := false; ; {
		msgs, err := c.s.receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// More failures than the socket can hold, the last ones lost.
			// The first are there, and have to be read: until the socket
			// is empty the kernel drops what it has to say.
			overflow = true
		case errors.Is(err, os.ErrDeadlineExceeded) && len(failed) > 0:
			return failed, nil
		case err != nil:
			return nil, err
		}
		for _, m := range msgs {
			if m.Seq-first > last-first {
				continue // a late answer to an earlier batch
			}
			if a := m.Answer(); a.Errno != 0 {
				failed = append(failed, &failure{m.Seq, a})
			}
			if m.Seq == last || m.Seq == first {
				return failed, nil
			}
		}
		if overflow {
			if err := c.s.patient(20 * time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
}

// room makes the socket's buffers fit the batch: it must go out in one
// piece, and every message of it may come back as an error.
func (c *Conn) room(e encoded) error {
	size := 4096
	for _, m := range e.msgs {
		size += len(m.Data) + wire.HeaderLen
	}
	if size <= c.snd {
		return nil
	}
	if err := c.s.grow(size); err != nil {
		return fmt.Errorf("grow nf_tables socket to %d bytes: %w", size, err)
	}
	c.snd = size
	return nil
}

// errChanging is the answer to a dump that was overtaken by changes again
// and again.
var errChanging = errors.New("the ruleset changed while it was read")

// Dump returns those of the named tables that there are, sorted.
func (c *Conn) Dump(ctx context.Context, refs ...Ref) ([]Table, error) {
	var tables []Table
	for _, ref := range refs {
		t, err := c.table(ctx, ref)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", ref, err)
		}
		t.Sort()
		tables = append(tables, t)
	}
	return tables, nil
}

func (c *Conn) table(ctx context.Context, ref Ref) (t Table, err error) {
	t.Ref = ref
	var name attrs
	name.str(1, ref.Name)
	if err := c.get(ctx, unix.NFT_MSG_GETTABLE, 0, ref, name, func(b []byte) (err error) {
		var owner uint32
		t.Flags, owner, err = decodeTable(b)
		t.Held = t.Flags&Owner == 0 || owner == c.s.port
		return err
	}); err != nil {
		return t, err
	}
	if err := c.get(ctx, unix.NFT_MSG_GETCHAIN, flagDump, ref, nil, func(b []byte) error {
		ch, err := decodeChain(b)
		t.Chains = append(t.Chains, ch)
		return err
	}); err != nil {
		return t, err
	}
	if err := c.get(ctx, unix.NFT_MSG_GETRULE, flagDump, ref, name, func(b []byte) error {
		chain, userdata, _, err := decodeRule(b)
		i := slices.IndexFunc(t.Chains, func(c Chain) bool { return c.Name == chain })
		if i >= 0 {
			t.Chains[i].Rules = append(t.Chains[i].Rules, Rule{{marked, userdata}})
		}
		return err
	}); err != nil {
		return t, err
	}
	if err := c.get(ctx, unix.NFT_MSG_GETSET, flagDump, ref, name, func(b []byte) error {
		s, err := decodeSet(b)
		t.Sets = append(t.Sets, s)
		return err
	}); err != nil {
		return t, err
	}
	for i := range t.Sets {
		s := &t.Sets[i]
		q := append(attrs(nil), name...)
		q.str(2, s.Name)
		if err := c.get(ctx, unix.NFT_MSG_GETSETELEM, flagDump, ref, q, func(b []byte) error {
			els, err := decodeElements(b)
			s.Elements = append(s.Elements, els...)
			return err
		}); err != nil {
			return t, err
		}
	}
	return t, nil
}

// get asks one question and calls each with the attributes of every answer
// that is about ref's table.
func (c *Conn) get(ctx context.Context, typ uint16, flags uint16, ref Ref, q attrs, each func([]byte) error) error {
	return c.answers(ctx, typ, flags, ref.Family, q, func(r Ref, b []byte) error {
		if r != ref {
			return nil
		}
		return each(b)
	})
}

// answers asks one question, again if changes overtake it, and calls each
// with the table and the attributes of every answer.
func (c *Conn) answers(ctx context.Context, typ uint16, flags uint16, f Family, q attrs, each func(Ref, []byte) error) error {
	for range 10 {
		if err := ctx.Err(); err != nil {
			return err
		}
		msgs, err := c.ask(typ, flags, f, q)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range msgs {
			ref, payload, err := nftables(m)
			if err != nil {
				return err
			}
			if err := each(ref, payload); err != nil {
				return err
			}
		}
		return nil
	}
	return errChanging
}

// ask returns all answers to one question, or EINTR if the ruleset changed
// in between.
func (c *Conn) ask(typ uint16, flags uint16, f Family, q attrs) (answers []wire.Message, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.s.patient(patience); err != nil {
		return nil, err
	}
	sent := []wire.Message{{Type: messageType(typ), Flags: flagRequest | flags, Data: append(header(f, 0), q...)}}
	if err := c.s.send(sent); err != nil {
		return nil, err
	}
	interrupted := false
	for {
		msgs, err := c.s.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if m.Seq != sent[0].Seq {
				continue // a late answer
			}
			interrupted = interrupted || m.Flags&unix.NLM_F_DUMP_INTR != 0
			end := m.Flags&unix.NLM_F_MULTI == 0
			if m.Type == unix.NLMSG_ERROR || m.Type == unix.NLMSG_DONE {
				if a := m.Answer(); a.Errno != 0 {
					return nil, a.Errno
				}
				end = true
			} else {
				answers = append(answers, m)
			}
			if end && interrupted {
				return nil, unix.EINTR
			}
			if end {
				return answers, nil
			}
		}
	}
}
