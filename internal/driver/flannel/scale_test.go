package flannel

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel/fake"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/link"
)

// crowd is a host on the real kernel, in a network of many others that are records
// alone.
type crowd struct {
	*testing.T
	ns      *kerneltest.NS
	h       *link.Host
	cluster *etcdtest.Cluster
	want    map[int]station
	lost    chan struct{}

	mu      sync.Mutex // guards clients
	clients []*etcdtest.Client
}

// station is where another host is.
type station struct{ mac, ip string }

// TestThousandPeers holds the kernel's tables, as ip(8) and bridge(8) tell them,
// against a registry: at first, when a tenth changes and a tenth goes, and when
// somebody takes some away by hand. What it costs is printed.
func TestThousandPeers(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.cost("1000 peers are known", func() { c.run() })

	c.cost("100 change, 100 go", func() {
		for i := range 100 {
			c.put(i, station{fmt.Sprintf("02:00:00:02:00:%02x", i), fmt.Sprintf("198.19.0.%d", i)})
		}
		for i := 100; i < 200; i++ {
			c.cluster.Drop(c.key(i))
			delete(c.want, i)
		}
		c.settle()
	})

	var harm, fdb strings.Builder
	for i := 300; i < 350; i++ {
		fmt.Fprintf(&harm, "route del %s/24\nneigh del %s dev flannel.7\n", base(i), base(i+50))
		fmt.Fprintf(&fdb, "fdb del %s dev flannel.7\n", c.want[i+100].mac)
	}
	c.batch("ip", harm.String())
	c.batch("bridge", fdb.String())
	c.cost("50 routes, 50 neighbours, 50 entries are taken away by hand", func() {
		c.lost <- struct{}{}
		c.settle()
	})
	before := c.h.Writes()
	c.lost <- struct{}{}
	c.lost <- struct{}{} // the first has been looked at
	if n := c.h.Writes() - before; n > 0 {
		t.Errorf("%d changes where all is right", n)
	}
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{T: t, ns: kerneltest.New(t), cluster: etcdtest.New(), want: map[int]station{}, lost: make(chan struct{})}
	kerneltest.Connect(c.ns, "eth0", "192.0.2.1/24", kerneltest.New(t), "eth0", "192.0.2.2/24")
	if err := c.ns.Do(func() (err error) { c.h, err = link.Open(nil, nil); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.h.Close() })
	c.cluster.Force(flannel.DefaultPrefix+"/config", `{"Network": "10.16.0.0/12", "SubnetMin": "10.31.0.0", "Backend": {"Type": "vxlan", "VNI": 7}}`)
	for i := range 1000 {
		c.put(i, station{fmt.Sprintf("02:00:00:01:%02x:%02x", i>>8, i&255), fmt.Sprintf("198.18.%d.%d", i>>8, i&255)})
	}
	return c
}

// base is the first address of peer i's subnet.
func base(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 16 + byte(i>>8), byte(i), 0}) }

func (c *crowd) key(i int) string {
	return fmt.Sprintf("%s/subnets/%s-24", flannel.DefaultPrefix, base(i))
}

func (c *crowd) put(i int, s station) {
	c.want[i] = s
	c.cluster.Force(c.key(i), fmt.Sprintf(`{"PublicIP":%q,"PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":%q}}`, s.ip, s.mac))
}

// run makes the network, and keeps it until the test ends.
func (c *crowd) run() {
	d := New(bridge.New(), new(fake.Tunnels), c.open, slog.New(slog.DiscardHandler))
	n := catenet.Network{ID: strings.Repeat("c1", 32), NetworkSpec: spec(c)}
	part, err := d.Join(c.Context(), c.h, n, ahead)
	if err != nil {
		c.Fatal(err)
	}
	n.Part, n.Pools = &part, []catenet.Pool{{Subnet: part.Subnets[0], Gateway: part.Subnets[0].Addr().Next()}}
	if _, err := d.Up(c.Context(), c.h, n); err != nil {
		c.Fatal(err)
	}
	ctx, stop := context.WithCancel(c.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, driver.Site{Host: c.h, Network: n, Lost: c.lost, Tell: func(driver.News) {}})
	}()
	c.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			c.Error(err)
		}
	})
	c.settle()
}

// cost prints what is done to the kernel and asked of etcd.
func (c *crowd) cost(what string, do func()) {
	c.Helper()
	c.calls()
	writes, began := c.h.Writes(), time.Now()
	do()
	calls := c.calls()
	c.Logf("%s: %v, %d messages to the kernel, %d calls of etcd", what, time.Since(began).Round(time.Millisecond), c.h.Writes()-writes, calls)
	if calls > 20 {
		c.Errorf("%s: %d calls of etcd are more than there are for any number of peers", what, calls)
	}
}

// open opens the registry's store.
func (c *crowd) open(etcd.Config) (etcd.Store, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	client := c.cluster.Client()
	c.clients = append(c.clients, client)
	return client, nil
}

// calls counts those of etcd since it was asked last.
func (c *crowd) calls() (sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		for _, n := range client.Calls() {
			sum += n
		}
	}
	return sum
}

// settle waits until the kernel has what is wanted, and nothing else.
func (c *crowd) settle() {
	c.Helper()
	var want []string
	for i, s := range c.want {
		want = append(want, fmt.Sprintf("%s/24 via %s flannel.7 onlink", base(i), base(i)),
			fmt.Sprintf("%s is %s", base(i), s.mac), fmt.Sprintf("%s at %s", s.mac, s.ip))
	}
	slices.Sort(want)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := c.tables()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(end) {
			c.Fatalf("%d lines; missing:\n%s\ntoo much:\n%s", len(got), without(want, got), without(got, want))
		}
	}
}

// without are the first few lines that others lack.
func without(all, others []string) string {
	left := slices.DeleteFunc(slices.Clone(all), func(s string) bool { _, ok := slices.BinarySearch(others, s); return ok })
	return strings.Join(left[:min(len(left), 5)], "\n")
}

// tables is what leads to other hosts, in order.
func (c *crowd) tables() (lines []string) {
	each := func(text string, line func(w []string) string) {
		for l := range strings.Lines(text) {
			lines = append(lines, line(strings.Fields(l)))
		}
	}
	each(c.ns.Run("ip", "route", "show", "proto", "159"), func(w []string) string { // 10.… via 10.… dev flannel.7 onlink
		return strings.Join([]string{w[0], w[1], w[2], w[4], w[len(w)-1]}, " ")
	})
	each(c.ns.Run("ip", "neigh", "show", "dev", "flannel.7", "nud", "permanent"), func(w []string) string { // 10.… lladdr 02:… PERMANENT
		return w[0] + " is " + w[2]
	})
	each(c.ns.Run("bridge", "fdb", "show", "dev", "flannel.7"), func(w []string) string { // 02:… dst 198.… self permanent
		return w[0] + " at " + w[2]
	})
	slices.Sort(lines)
	return lines
}

// batch has a tool carry out many commands.
func (c *crowd) batch(tool, commands string) {
	cmd := c.ns.Command(tool, "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("%s: %v: %s", tool, err, out)
	}
}
