// Package soak attaches and detaches for a long time, and wants the daemon to
// be none the bigger for it: its descriptors, goroutines and memory. The
// number of attaches is in CATENET_SOAK; make soak asks for 50,000.
package soak

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/truth"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	few     = 2000 // attaches, unless CATENET_SOAK says otherwise
	samples = 40   // of the daemon's size
	clients = 4    // at a time
	rooms   = 4    // namespaces of each client, one after the other
	metrics = "127.0.0.1:9090"

	// quiet is how long the daemon may take to be done with what is detached.
	quiet = 10 * time.Second
	// lull is longer than the daemon keeps a socket that it is done with.
	lull = 100 * time.Millisecond
	// swell is how much memory may differ by chance, in bytes: the garbage
	// that a collection finds depends on when it comes.
	swell = 6 << 20
)

// size is how big the daemon is.
type size struct {
	descriptors, goroutines int
	resident                int // bytes
}

func TestAttachesLeaveNothing(t *testing.T) {
	total := few
	if s := os.Getenv("CATENET_SOAK"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil || total < samples*clients {
			t.Fatalf("CATENET_SOAK=%s: a number from %d on is wanted", s, samples*clients)
		}
	}
	l := lab.New(t)
	h := l.Host("a")
	h.Daemon("--metrics", metrics)
	w, err := truth.New(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Client.Close)
	for i := range clients * rooms {
		w.Netns = append(w.Netns, l.Name(fmt.Sprint("n", i)))
		h.MustRun("ip", "netns", "add", w.Netns[i])
		t.Cleanup(func() { h.MustRun("ip", "netns", "del", w.Netns[i]) })
		h.MustRun("ip", "-n", w.Netns[i], "link", "set", "lo", "up")
	}
	h.Catenet("network", "create", "--ipv6", "front")

	began := time.Now()
	var sizes []size
	times := (total + samples*clients - 1) / (samples * clients)
	for range samples {
		soak(t, w, times)
		sizes = append(sizes, settled(l, h))
	}
	judge(t, sizes)
	t.Logf("%d attaches in %s", times*samples*clients, time.Since(began).Round(time.Second))
	l.Eventually(quiet, func() string {
		diff, err := w.Differences(context.Background())
		if err != nil {
			return err.Error()
		}
		return strings.Join(diff, "\n")
	})
	h.Stop()
	h.Daemon() // without the socket of its metrics, which the ledger would find
}

// soak attaches and detaches so often for each client, every fourth time with
// a published port.
func soak(t *testing.T, w *truth.World, times int) {
	t.Helper()
	var done sync.WaitGroup
	var failed atomic.Bool
	for c := range clients {
		done.Go(func() {
			for i := range times {
				name := fmt.Sprintf("c%d-%d", c, i%rooms)
				spec := catenet.SandboxSpec{
					Name: name, Owner: catenet.OwnerAttach, Netns: "/run/netns/" + w.Netns[c*rooms+i%rooms],
					Networks: []catenet.EndpointSpec{{Network: "front", Aliases: []string{"alias"}}},
				}
				if i%4 == 0 {
					spec.Ports = []catenet.PortSpec{{Proto: catenet.TCP, Port: 80}}
				}
				_, err := w.Client.CreateSandbox(t.Context(), spec, true)
				if err == nil {
					err = w.Client.Remove(t.Context(), name, false)
				}
				if err != nil {
					t.Errorf("%s, time %d: %v", name, i, err)
					failed.Store(true)
					return
				}
			}
		})
	}
	done.Wait()
	if failed.Load() {
		t.FailNow()
	}
}

// settled waits until no link of an endpoint is left, and returns how big the
// daemon is then.
func settled(l *lab.Lab, h *lab.Host) (s size) {
	l.T.Helper()
	l.Eventually(quiet, func() string {
		if links := h.MustRun("ip", "-br", "link"); strings.Contains(links, "ctn") {
			return links
		}
		return ""
	})
	// What is closed a little later is closed when nothing less is there.
	for s = measure(l, h); ; {
		time.Sleep(lull)
		next := measure(l, h)
		if next.descriptors >= s.descriptors && next.goroutines >= s.goroutines {
			return s
		}
		s = next
	}
}

func measure(l *lab.Lab, h *lab.Host) size {
	l.T.Helper()
	scraped, err := scrape(h)
	if err != nil {
		l.T.Fatal(err)
	}
	s := size{int(scraped["process_open_fds"]), int(scraped["go_goroutines"]), int(scraped["process_resident_memory_bytes"])}
	if min(s.descriptors, s.goroutines, s.resident) == 0 {
		l.T.Fatalf("the daemon does not say how big it is: %+v", s)
	}
	return s
}

// scrape asks the daemon for its metrics.
func scrape(h *lab.Host) (map[string]float64, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (c net.Conn, err error) {
		err = h.NS.Do(func() error { c, err = net.Dial("tcp", metrics); return err })
		return c, err
	}}}
	res, err := client.Get("http://" + metrics + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	all := make(map[string]float64)
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = n
		}
	}
	return all, nil
}

// judge compares the last third of the samples with the one before: by then
// the daemon has grown to what its work takes. What is there for a moment, a
// connection or garbage, is in some samples of either third, so the smallest
// of the last is above the usual of the middle only where something stays.
func judge(t *testing.T, sizes []size) {
	t.Helper()
	third := len(sizes) / 3
	middle, last := sizes[len(sizes)-2*third:len(sizes)-third], sizes[len(sizes)-third:]
	for _, of := range []struct {
		what  string
		get   func(size) int
		slack int
	}{
		{"descriptors", func(s size) int { return s.descriptors }, 0},
		{"goroutines", func(s size) int { return s.goroutines }, 0},
		{"bytes resident", func(s size) int { return s.resident }, swell},
	} {
		was, is := sorted(middle, of.get)[third/2], sorted(last, of.get)[0]
		t.Logf("%s: usually %d, and then at the least %d", of.what, was, is)
		if is > was+of.slack {
			t.Errorf("%s grow, from %d to %d: %v", of.what, was, is, each(sizes, of.get))
		}
	}
}

func sorted(sizes []size, get func(size) int) []int {
	return slices.Sorted(slices.Values(each(sizes, get)))
}

func each(sizes []size, get func(size) int) []int {
	all := make([]int, len(sizes))
	for i, s := range sizes {
		all[i] = get(s)
	}
	return all
}
