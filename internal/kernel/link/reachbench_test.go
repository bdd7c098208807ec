package link

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// peers are n hosts behind the tunnel.
func peers(n int) (all []kernel.Reach) {
	for i := range n {
		hi, lo := byte(i>>8), byte(i)
		base := netip.AddrFrom4([4]byte{10, 16 + hi, lo, 0})
		all = append(all, kernel.Reach{Link: "flannel.7", Subnet: netip.PrefixFrom(base, 24), Via: base, OnLink: true,
			MAC: net.HardwareAddr{2, 0, 0, 1, hi, lo}, Remote: netip.AddrFrom4([4]byte{198, 18, hi, lo})})
	}
	return all
}

// BenchmarkReach leads to a thousand hosts by a vxlan, and BenchmarkReachFloor sends
// the same messages, made before, some at a time: what the kernel takes for them.
func BenchmarkReach(b *testing.B) {
	all := peers(1000)
	reachBench(b, func(*Host, int) {}, func(h *Host) error { return h.Reach(b.Context(), all, nil) })
}

func BenchmarkReachFloor(b *testing.B) {
	for _, each := range []int{1, 16, 64, 256, 1000} {
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			all := peers(1000)
			var batches []*batch
			reachBench(b, func(h *Host, index int) { batches = floor(all, index, each) }, func(h *Host) error {
				return h.with(b.Context(), func(c *conn) error {
					for _, m := range batches {
						if err := must(c, m); err != nil {
							return err
						}
					}
					return nil
				})
			})
		})
	}
}

func floor(all []kernel.Reach, index, each int) (batches []*batch) {
	for some := range slices.Chunk(all, each) {
		o := crossing{links: map[string]int{"flannel.7": index}}
		for _, r := range some {
			if err := o.lead(r); err != nil {
				panic(err) // the link is known
			}
		}
		batches = append(batches, &o.batch)
	}
	return batches
}

func reachBench(b *testing.B, prepare func(h *Host, index int), once func(h *Host) error) {
	h := openIn(b, kerneltest.New(b), nil)
	l := vtep(1)
	l.VXLAN.Under = ""
	b.ReportAllocs()
	var took []time.Duration
	err := h.there(func() error {
		h.away = false
		defer func() { h.away = true }()
		for b.Loop() {
			b.StopTimer()
			if err := h.DeleteLinks(b.Context(), l.Name); err != nil {
				return err
			}
			if err := h.EnsureLink(b.Context(), l); err != nil {
				return err
			}
			index := 0
			err := h.with(b.Context(), func(c *conn) (err error) { index, err = c.index(l.Name); return err })
			if err != nil {
				return err
			}
			prepare(h, index)
			b.StartTimer()
			began := time.Now()
			if err := once(h); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/median")
	b.ReportMetric(float64(took[0].Microseconds()), "µs/min")
}
