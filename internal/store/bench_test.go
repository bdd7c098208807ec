package store

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// BenchmarkUpdate puts a record of 1 KB beside 1,000 others, on tmpfs for the
// live file: two of these lie in every attach.
func BenchmarkUpdate(b *testing.B) {
	for class, name := range map[Class]string{Live: "live", Durable: "durable"} {
		b.Run(name, func(b *testing.B) {
			o := folders(b)
			run, err := os.MkdirTemp("/dev/shm", "catenet-bench")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { os.RemoveAll(run) })
			o.RunDir = run
			s := open(b, o)
			for i := range 1000 {
				put(b, s, class, "sandbox", fmt.Sprint(i), item{Name: strings.Repeat("x", 1000)})
			}
			i := 0
			for b.Loop() {
				put(b, s, class, "sandbox", fmt.Sprint(i*7919%1000), item{strings.Repeat("x", 1000), i})
				i++
			}
		})
	}
}
