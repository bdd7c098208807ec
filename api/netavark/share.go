package netavark

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catenet/catenet"
)

// Podman chooses addresses itself, from a lease range of each subnet, and the
// engine those of everybody else: what Podman chooses from is set aside here.
// A subnet that Podman may choose from as a whole is shared: Podman gets one
// half, and is told so in its definition, which it reads anew each time.

// halves are the two parts of a subnet that containers may share.
func halves(p netip.Prefix) (lower, upper catenet.Range) {
	whole := catenet.RangeOf(p)
	if p.Bits() >= p.Addr().BitLen()-1 { // too small to be shared
		return whole, whole
	}
	raw := whole.First.AsSlice()
	raw[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	middle, _ := netip.AddrFromSlice(raw)
	return catenet.Range{First: whole.First.Next(), Last: middle.Prev()}, catenet.Range{First: middle, Last: whole.Last.Prev()}
}

// Leased is what Podman chooses from; ok says whether it was told to. An error
// says that the subnet does not have it.
func (s Subnet) Leased() (r catenet.Range, ok bool, err error) {
	if s.Lease == nil || !s.Lease.Start.IsValid() && !s.Lease.End.IsValid() {
		return r, false, nil
	}
	r = catenet.Range{First: s.Lease.Start, Last: s.Lease.End}
	if !r.First.IsValid() {
		r.First = s.Subnet.Masked().Addr().Next()
	}
	if !r.Last.IsValid() {
		r.Last = catenet.RangeOf(s.Subnet).Last
	}
	if !s.Subnet.Contains(r.First) || !s.Subnet.Contains(r.Last) || r.Last.Less(r.First) {
		return r, false, catenet.Invalidf("%s is no lease range of the subnet %s", r, s.Subnet)
	}
	return r, true, nil
}

// leases are what Podman is to choose from, by the subnets for which it does
// not know yet.
type leases map[netip.Prefix]catenet.Range

// share makes have leave to Podman what Podman chooses from, and returns what
// Podman is to be told, so that it leaves the rest.
func (f *Front) share(ctx context.Context, n Network, have catenet.NetworkStatus) (tell leases, err error) {
	var up catenet.NetworkUpdate
	tell = make(leases)
	for _, s := range n.Subnets {
		i := slices.IndexFunc(have.Pools, func(p catenet.Pool) bool { return p.Subnet == s.Subnet.Masked() })
		if i < 0 {
			continue // there is a difference, which was said
		}
		p := have.Pools[i]
		theirs, part, err := s.Leased()
		if err != nil {
			return nil, err
		}
		if !part {
			theirs = shareOf(p, len(have.Endpoints) > 0)
			tell[s.Subnet] = theirs
		}
		if !covered(theirs, p.SetAside) {
			up.AddSetAside = append(up.AddSetAside, theirs)
		}
	}
	if len(up.AddSetAside) > 0 {
		if _, _, err := f.engine.UpdateNetwork(ctx, have.ID, up); err != nil {
			return nil, fmt.Errorf("leave addresses to Podman: %w", err)
		}
	}
	return tell, nil
}

// shareOf is Podman's part of a pool: what is set aside already, else the half
// in which nobody is yet. Both begin at the lower end.
func shareOf(p catenet.Pool, inUse bool) catenet.Range {
	lower, upper := halves(p.Subnet)
	switch {
	case len(p.SetAside) > 0:
		return slices.MaxFunc(p.SetAside, func(a, b catenet.Range) int { return cmp.Compare(span(a), span(b)) })
	case inUse:
		return upper
	}
	return lower
}

// span orders ranges by their length, as well as 64 bits can.
func span(r catenet.Range) uint64 {
	var n uint64
	first, last := r.First.AsSlice(), r.Last.AsSlice()
	for i := range last {
		n = n<<8 + uint64(last[i]) - uint64(first[i])
	}
	return n
}

// covered reports whether all of r is in one of the ranges.
func covered(r catenet.Range, in []catenet.Range) bool {
	return slices.ContainsFunc(in, func(o catenet.Range) bool { return o.Contains(r.First) && o.Contains(r.Last) })
}
