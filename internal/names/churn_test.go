package names

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestChurn: while everything changes, a name whose endpoint is only moved is
// there at every moment.
func TestChurn(t *testing.T) {
	t.Parallel()
	n := testNames(t)
	n.SetNetwork("N", "net", true)
	put := func(id string, i int) {
		if err := n.Put(Record{EndpointID: id, NetworkID: "N", Name: id, Aliases: []string{"all"},
			IPv4: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}); err != nil {
			t.Error(err)
		}
	}
	put("stays", 1)
	conf := Sandbox{ID: "s", Networks: []string{"N"}}
	server := serve(t, n, conf)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, change := range []func(i int){
		func(i int) { put("stays", i) },
		func(i int) { put(fmt.Sprint("c", i%10), i); n.Delete(fmt.Sprint("c", (i+5)%10)) },
		func(i int) { n.SetNetwork("N", fmt.Sprint("net", i), true) },
		func(i int) { n.SetNetwork(fmt.Sprint(i%3), "x", i%2 == 0); n.RemoveNetwork(fmt.Sprint((i + 1) % 3)) },
		func(int) { n.Update(conf) },
		func(i int) {
			id := fmt.Sprint("other", i%2)
			serve(t, n, Sandbox{ID: id, Networks: []string{"N", "1"}})
			n.Stop(id)
		},
	} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					change(i)
				}
			}
		})
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		for _, name := range []string{"stays", "all"} {
			if r := ask(t, "udp", server, question(name, dns.TypeA)); len(r.Answer) == 0 {
				t.Errorf("%s: %s", name, data(r))
			}
		}
	}
	close(stop)
	wg.Wait()
}
