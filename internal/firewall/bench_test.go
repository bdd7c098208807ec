package firewall

import (
	"fmt"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// BenchmarkPublish is one port added to those that are there, on the real
// kernel. The port's removal is not counted.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{0, 2000, 20000} {
		b.Run(fmt.Sprintf("%d present", n), func(b *testing.B) {
			f := open(b, kerneltest.New(b), nft.Options{})
			must(b, f.Restore(b.Context(), []Network{front}, manyPorts(n)))
			c := []Port{publish(catenet.TCP, "0.0.0.0:80", "172.18.0.3:80", front.ID)}
			var add time.Duration
			for b.Loop() {
				start := time.Now()
				must(b, f.Apply(b.Context(), Change{AddPorts: c}))
				add += time.Since(start)
				must(b, f.Apply(b.Context(), Change{RemovePorts: c}))
			}
			b.ReportMetric(float64(add.Microseconds())/float64(b.N), "µs/publish")
		})
	}
}

// BenchmarkPublishThousand is a thousand ports in one request, and
// BenchmarkCheck a look at ten thousand that are right.
func BenchmarkPublishThousand(b *testing.B) {
	f := open(b, kerneltest.New(b), nft.Options{})
	must(b, f.Restore(b.Context(), []Network{front}, nil))
	ports := manyPorts(1000)
	for b.Loop() {
		must(b, f.Apply(b.Context(), Change{AddPorts: ports}))
		must(b, f.Apply(b.Context(), Change{RemovePorts: ports}))
	}
}

func BenchmarkCheck(b *testing.B) {
	f := open(b, kerneltest.New(b), nft.Options{})
	must(b, f.Restore(b.Context(), []Network{front}, manyPorts(10000)))
	for b.Loop() {
		repaired, err := f.Check(b.Context())
		if must(b, err); repaired {
			b.Fatal("repaired")
		}
	}
}

// BenchmarkNetwork is a network that comes and goes among others.
func BenchmarkNetwork(b *testing.B) {
	for _, n := range []int{0, 500} {
		b.Run(fmt.Sprintf("%d present", n), func(b *testing.B) {
			f := open(b, kerneltest.New(b), nft.Options{})
			var others []Network
			for i := range n {
				others = append(others, Network{ID: fmt.Sprint("n", i), Link: fmt.Sprint("br", i), Subnets: prefixes(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)), V4: Gateway{Masquerade: true}})
			}
			must(b, f.Restore(b.Context(), others, nil))
			for b.Loop() {
				must(b, f.Apply(b.Context(), Change{AddNetworks: []Network{front}}))
				must(b, f.Apply(b.Context(), Change{RemoveNetworks: []string{front.ID}}))
			}
		})
	}
}
