package ipam

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// Owners of addresses that no endpoint has.
const (
	OwnerGateway = "gateway"
	ownerAux     = "aux:" // and the name of the auxiliary address
)

// Pool hands out the addresses of one subnet: in rising order, each as late
// again as can be. Every address has an owner on record. Its memory is
// proportional to what is in use, whatever the subnet's size.
//
// A Pool is not safe for concurrent use: the engine's lock guards it.
type Pool struct {
	subnet netip.Prefix
	rng    netip.Prefix // what is handed out unasked
	blocks map[number]*block
	aside  []span // of those, what is not
	cursor number // where the search for the next address begins
	used   uint64 // addresses with an owner
	gone   number // addresses of rng that cannot be handed out: owned, reserved or set aside
}

// span is the addresses from lo to hi.
type span struct{ lo, hi number }

func (s span) has(n number) bool { return !n.less(s.lo) && !s.hi.less(n) }

// block is the state of 64 neighbouring addresses.
type block struct {
	taken  uint64   // bit i: address i has an owner or is reserved
	owners []string // of the taken ones, in rising order; "" is reserved
}

// NewPool makes the allocator of a pool, its gateway and auxiliary addresses
// taken.
func NewPool(p catenet.Pool) (*Pool, error) {
	if err := checkPool(p); err != nil {
		return nil, err
	}
	pool := &Pool{subnet: p.Subnet, rng: p.Range, blocks: make(map[number]*block)}
	if !pool.rng.IsValid() {
		pool.rng = p.Subnet
	}
	pool.cursor = first(pool.rng)
	// The network and the broadcast address (RFC 1122, section 3.2.1.3); the
	// subnet-router anycast address (RFC 4291, section 2.6.1).
	if !pair(p.Subnet) {
		pool.take(first(p.Subnet), "")
	}
	if p.Subnet.Addr().Is4() && !pair(p.Subnet) {
		pool.take(last(p.Subnet), "")
	}
	if p.Gateway.IsValid() {
		pool.take(toNumber(p.Gateway), OwnerGateway)
	}
	for name, a := range p.Aux {
		pool.take(toNumber(a), ownerAux+name)
	}
	pool.SetAside(p.SetAside)
	return pool, nil
}

// SetAside sets the ranges of which no address is handed out unasked, in place
// of those that were. Who has an address there keeps it.
func (p *Pool) SetAside(ranges []catenet.Range) {
	p.aside, p.gone = nil, number{}
	for _, r := range ranges {
		s := span{toNumber(r.First), toNumber(r.Last)}
		p.aside = append(p.aside, s)
		if lo, hi := first(p.rng), last(p.rng); !s.hi.less(lo) && !hi.less(s.lo) {
			if s.lo.less(lo) {
				s.lo = lo
			}
			if hi.less(s.hi) {
				s.hi = hi
			}
			p.gone = p.gone.plus(s.hi.minus(s.lo)).plus(one)
		}
	}
	for key, b := range p.blocks {
		for t := b.taken; t != 0; t &= t - 1 {
			if n := (number{key.hi, key.lo<<6 | uint64(bits.TrailingZeros64(t))}); p.offered(n) {
				p.gone = p.gone.plus(one)
			}
		}
	}
}

// offered reports whether an address is among those that are handed out unasked
// while they are free.
func (p *Pool) offered(n number) bool {
	return span{first(p.rng), last(p.rng)}.has(n) && !slices.ContainsFunc(p.aside, func(s span) bool { return s.has(n) })
}

// Request gives owner the address want, which may be anywhere in the subnet,
// or, if want is zero, the next free one of the pool's range. A taken address
// is a conflict error that names its owner; nothing left is of KindExhausted.
func (p *Pool) Request(owner string, want netip.Addr) (netip.Addr, error) {
	if owner == "" {
		return netip.Addr{}, catenet.Invalidf("an address of %s was asked for without an owner", p.subnet)
	}
	if want.IsValid() {
		if err := usable(p.subnet, want, "the address"); err != nil {
			return netip.Addr{}, err
		}
		if by, taken := p.Owner(want); taken {
			return netip.Addr{}, catenet.Conflictf("address %s is taken by %s", want, by).
				WithHint("ask for another one, or for none, to have one chosen")
		}
		p.take(toNumber(want), owner)
		return want, nil
	}
	n, ok := p.next()
	if !ok {
		u := p.Use()
		return netip.Addr{}, catenet.Errorf(catenet.KindExhausted, "no address left in %s: %d used, %d free", p.rng, u.Used, u.Free).
			WithHint("remove containers that nobody uses, or give the network one more subnet: catenet network update --subnet")
	}
	p.take(n, owner)
	p.cursor = n.plus(one)
	return n.addr(p.subnet.Addr().Is4()), nil
}

// Restore gives owner an address that the record says it has. It is no error
// if the owner has it already, and a conflict if another one has.
func (p *Pool) Restore(owner string, a netip.Addr) error {
	if by, taken := p.Owner(a); taken && by == owner {
		return nil
	}
	_, err := p.Request(owner, a)
	return err
}

// Release takes an address back. One that is free is a not-found error, one
// of another owner a conflict; nothing changes then.
func (p *Pool) Release(owner string, a netip.Addr) error {
	by, taken := p.Owner(a)
	if !taken {
		return catenet.NotFoundf("address %s of %s is nobody's", a, p.subnet)
	}
	if by != owner {
		return catenet.Conflictf("address %s is taken by %s, not by %s", a, by, owner)
	}
	key, i := split(toNumber(a))
	b := p.blocks[key]
	rank := b.rank(i)
	b.owners = slices.Delete(b.owners, rank, rank+1)
	b.taken &^= 1 << i
	if b.taken == 0 {
		delete(p.blocks, key)
	}
	p.used--
	if p.offered(toNumber(a)) {
		p.gone = p.gone.minus(one)
	}
	return nil
}

// Owner tells whose an address is.
func (p *Pool) Owner(a netip.Addr) (owner string, taken bool) {
	if !p.subnet.Contains(a) {
		return "", false
	}
	key, i := split(toNumber(a))
	b := p.blocks[key]
	if b == nil || b.taken&(1<<i) == 0 {
		return "", false
	}
	owner = b.owners[b.rank(i)]
	return owner, owner != ""
}

// Owners goes through the addresses that are taken, in rising order, with
// the owner of each. The pool must not change meanwhile.
func (p *Pool) Owners() iter.Seq2[netip.Addr, string] {
	return func(yield func(netip.Addr, string) bool) {
		keys := slices.SortedFunc(maps.Keys(p.blocks), func(a, b number) int {
			return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
		})
		for _, key := range keys {
			b, rank := p.blocks[key], 0
			for t := b.taken; t != 0; t &= t - 1 {
				a := number{key.hi, key.lo<<6 | uint64(bits.TrailingZeros64(t))}.addr(p.subnet.Addr().Is4())
				if owner := b.owners[rank]; owner != "" && !yield(a, owner) {
					return
				}
				rank++
			}
		}
	}
}

// Use says how full the pool is.
func (p *Pool) Use() catenet.PoolUse {
	u := catenet.PoolUse{Subnet: p.subnet, Used: p.used, Free: math.MaxUint64}
	if free := last(p.rng).minus(first(p.rng)).minus(p.gone).plus(one); free.hi == 0 {
		u.Free = free.lo
	}
	return u
}

// Cursor returns where the search for the next address begins, to be recorded
// so that a restart brings no quick reuse.
func (p *Pool) Cursor() netip.Addr { return p.cursor.addr(p.subnet.Addr().Is4()) }

// SetCursor sets what Cursor returned. An address outside the range is
// ignored: the range may have changed since.
func (p *Pool) SetCursor(a netip.Addr) {
	if p.rng.Contains(a) {
		p.cursor = toNumber(a)
	}
}

// take records an owner, "" for an address that nobody may have.
func (p *Pool) take(n number, owner string) {
	key, i := split(n)
	b := p.blocks[key]
	if b == nil {
		b = &block{}
		p.blocks[key] = b
	}
	b.owners = slices.Insert(b.owners, b.rank(i), owner)
	b.taken |= 1 << i
	if owner != "" {
		p.used++
	}
	if p.offered(n) {
		p.gone = p.gone.plus(one)
	}
}

// next finds the first free address of the range from the cursor on, then
// from the range's beginning.
func (p *Pool) next() (number, bool) {
	lo, hi := first(p.rng), last(p.rng)
	if !hi.less(p.cursor) {
		if n, ok := p.search(p.cursor, hi); ok {
			return n, true
		}
	}
	return p.search(lo, hi)
}

// search finds the first free address from n to end that is not set aside. It
// looks at 64 at a time and never at more blocks than are in use, and one for
// each range that is set aside.
func (p *Pool) search(n, end number) (number, bool) {
	for !end.less(n) {
		if i := slices.IndexFunc(p.aside, func(s span) bool { return s.has(n) }); i >= 0 {
			if !p.aside[i].hi.less(end) {
				break
			}
			n = p.aside[i].hi.plus(one)
			continue
		}
		key, i := split(n)
		b := p.blocks[key]
		if b == nil || b.taken&(1<<i) == 0 {
			return n, true
		}
		// On to the next free one of these 64, else to the next 64.
		n = n.plus(number{lo: uint64(bits.TrailingZeros64(^(b.taken >> i)))})
	}
	return number{}, false
}

// split returns the block that an address is in and its place there.
func split(n number) (key number, i uint) { return number{n.hi, n.lo >> 6}, uint(n.lo & 63) }

// rank counts the taken addresses before place i.
func (b *block) rank(i uint) int { return bits.OnesCount64(b.taken & (1<<i - 1)) }
