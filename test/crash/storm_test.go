package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/truth"
)

// kills is how often the daemon is ended in the storm.
const kills = 15

// storm is a host whose daemon is killed while guests ask it things, each of
// which they ask again until it is done.
type storm struct {
	*lab.Lab
	h      *lab.Host
	truth  *truth.World
	socket string // of the plugin
	over   atomic.Bool
	rounds atomic.Int64

	mu   sync.Mutex
	held map[netip.Addr]string // addresses that guests were promised
}

// TestKilledAmongGuests ends the daemon at any moment, eight guests at a time:
// nothing is handed out twice meanwhile, and nothing is left in the end.
func TestKilledAmongGuests(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := &storm{Lab: l, h: l.Host("a"), held: make(map[netip.Addr]string)}
	s.socket = filepath.Join(s.h.Dir, "plugin.sock")
	w, err := truth.New(s.h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Client.Close)
	s.truth, w.Ports = w, []uint16{8080, 8081, 8082, 8083}
	for i := range 8 {
		w.Netns = append(w.Netns, l.Name(fmt.Sprint("n", i)))
		s.h.MustRun("ip", "netns", "add", w.Netns[i])
		t.Cleanup(func() { s.h.MustRun("ip", "netns", "del", w.Netns[i]) })
		s.h.MustRun("ip", "-n", w.Netns[i], "link", "set", "lo", "up")
	}
	s.start()
	shared := &dock{storm: s, Plugin: lab.NewPlugin(s.socket), id: catenet.NewID(), subnet: netip.MustParsePrefix("10.66.0.0/24")}
	shared.made()
	var guests sync.WaitGroup
	for i := range 4 {
		guests.Go(func() { s.until(func() { s.pod(i) }) })
		guests.Go(func() { s.until(func() { s.docked(i, shared) }) })
	}
	for range kills {
		s.strike()
	}
	s.over.Store(true)
	guests.Wait()
	shared.gone()
	t.Logf("%d rounds", s.rounds.Load())
	s.Eventually(soon, func() string {
		diff, err := w.Differences(ctx)
		if err != nil {
			return err.Error()
		}
		return strings.Join(diff, "\n")
	})
	left, err := w.Client.Sandboxes(ctx, true)
	if err != nil || len(left) > 0 {
		t.Errorf("there are %d containers, %v", len(left), err)
	}
	// What was claimed of it is nobody's any more.
	for i := range 5 {
		if _, _, err := w.Client.CreateNetwork(ctx, catenet.NetworkSpec{Name: fmt.Sprint("free", i), Pools: []catenet.Pool{{Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 66 + byte(i), 0, 0}), 24)}}}); err != nil {
			t.Error(err)
		}
	}
}

// strike ends the daemon at any moment: mostly it is killed, sometimes it is
// stopped, or replaced by another program.
func (s *storm) strike() {
	ready := rand.IntN(4) > 0 // or it dies as it starts
	if ready {
		s.Eventually(3*soon, func() string { return fault(s.truth) })
	}
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	switch way := rand.IntN(6); {
	case way == 0 && ready:
		s.h.Upgrade()
		return
	case way == 1:
		s.h.Stop()
	default:
		s.h.Kill()
	}
	s.start()
}

// fault is why a daemon does not answer, or "".
func fault(w *truth.World) string {
	if _, err := w.Client.Info(ctx); err != nil {
		return err.Error()
	}
	return ""
}

func (s *storm) start() {
	s.h.StartDaemon("--docker-plugin="+s.socket, "--docker-host=")
}

// until does something again and again.
func (s *storm) until(do func()) {
	for !s.over.Load() && !s.T.Failed() {
		do()
		s.rounds.Add(1)
	}
}

// insist does something until it is done. What is refused is a failure: nobody
// else wants the same.
func (s *storm) insist(what string, do func() error) {
	var err error
	for end := time.Now().Add(3 * soon); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
		if errors.Is(err, lab.ErrRefused) {
			break
		}
	}
	s.T.Errorf("%s: %v", what, err)
}

// has notes that somebody was promised an address.
func (s *storm) has(a netip.Addr, who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.held[a]; other != "" {
		s.T.Errorf("%s is %s's, and is given to %s", a, other, who)
	}
	s.held[a] = who
}

func (s *storm) lets(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, a)
}

// pod is added to a network of CNI's and taken out of it.
func (s *storm) pod(i int) {
	var a netip.Addr
	s.insist("ADD", func() error {
		r := s.cni("ADD", i)
		if r.Code != 0 { // a runtime takes it out before it tries again
			s.cni("DEL", i)
			return errors.New(r.Text())
		}
		var result struct {
			IPs []struct{ Address netip.Prefix }
		}
		if err := json.Unmarshal([]byte(r.Stdout), &result); err != nil || len(result.IPs) != 1 {
			return fmt.Errorf("%w in %s", err, r.Stdout)
		}
		a = result.IPs[0].Address.Addr()
		return nil
	})
	s.has(a, fmt.Sprint("pod ", i))
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // over an end of the daemon, or not
	s.lets(a)
	s.insist("DEL", func() error {
		if r := s.cni("DEL", i); r.Code != 0 {
			return errors.New(r.Text())
		}
		return nil
	})
}

func (s *storm) cni(verb string, i int) lab.Result {
	name := s.truth.Netns[i]
	conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"pods","type":"catenet","bridge":"pods0","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"host-local","subnet":"10.88.0.0/29"},
		"runtimeConfig":{"bandwidth":{"ingressRate":100000000,"ingressBurst":1000000,"egressRate":100000000,"egressBurst":1000000},"portMappings":[{"hostPort":%d,"containerPort":80,"protocol":"tcp"}]}}`, s.truth.Ports[i])
	return s.h.Feed(conf, "env", "CATENET_HOST=unix://"+s.h.Socket(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+name,
		"CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/"+name, "CNI_PATH=/none", filepath.Join(lab.Binaries(s.T), "catenet-cni"))
}

// dock is a network of dockerd's, and who asks in its place.
type dock struct {
	*storm
	*lab.Plugin
	id     string
	subnet netip.Prefix
}

func (d *dock) made() {
	d.insist("claim", func() error { return d.Claim(d.subnet) })
	d.insist("lease a gateway", func() error { return d.Gateway(d.subnet) })
	d.insist("make a network", func() error { return d.Network(d.id, d.subnet) })
}

func (d *dock) gone() {
	d.insist("remove a network", func() error { return d.NoNetwork(d.id) })
	d.insist("release", func() error { return d.NoPool(d.subnet) })
}

// docked has an endpoint in a network of its own or in one that all share, whose
// namespace comes, or does not.
func (s *storm) docked(i int, shared *dock) {
	d := &dock{s, lab.NewPlugin(s.socket), catenet.NewID(), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 67 + byte(i), 0, 0}), 24)}
	defer d.Close()
	own := rand.IntN(2) == 0
	if own {
		d.made()
	} else {
		d.id, d.subnet = shared.id, shared.subnet
	}
	id, path := catenet.NewID(), "/run/netns/never-"+s.Name(fmt.Sprint(i))
	comes := rand.IntN(2) == 0
	if comes {
		path = "/run/netns/" + s.truth.Netns[4+i]
	}
	want := netip.AddrFrom4([4]byte{10, d.subnet.Addr().As4()[1], 0, 10 + byte(i)})
	s.insist("lease", func() error { _, err := d.Address(d.subnet, want); return err })
	s.has(want, id)
	var link string
	s.insist("join", func() (err error) { link, err = d.Join(d.id, id, netip.PrefixFrom(want, 24), path); return err })
	if comes {
		s.h.Run("ip", "link", "set", link, "netns", s.truth.Netns[4+i], "name", "eth0")
	}
	s.insist("publish", func() error { return d.Publish(d.id, id, 9000+uint16(i)) })
	s.lets(want)
	s.insist("leave", func() error { return d.Leave(d.id, id) })
	s.insist("give back", func() error { return d.NoAddress(d.subnet, want) })
	if own {
		d.gone()
	}
}
