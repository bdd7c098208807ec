// Package crash kills the daemon at every door by which it changes the world,
// right before and right after, and starts another one: what the records then
// say is all that there is, whatever was promised is among it, and it works.
package crash

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/house"
	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/truth"
)

func TestMain(m *testing.M) { lab.Main(m, "failpoint") }

// soon is how long a daemon may take until all is as it says, and until it
// passes a point that an operation leads to.
const soon = 10 * time.Second

// operation is what is cut short at each point that it passes.
type operation struct {
	name string
	// before brings about what the operation begins with, from whatever a
	// kill has left.
	before func(s *site)
	do     func(s *site) error
	// partly says that it ends several things: it may have ended some.
	partly bool
	// after looks at what the daemon's word says nothing of; may be nil.
	after func(s *site)
	// only names the one door that is walked, of an operation that passes
	// those of another besides; "" for all.
	only string
}

// elsewhere are the doors that no operation passes, and why.
var elsewhere = map[string]string{
	"bpf.unpin": "the machine's cgroup2 would have to be mounted anew",
}

func TestKilledAtEveryDoor(t *testing.T) {
	var mu sync.Mutex
	walked, doors := 0, make(map[string]bool)
	all := slices.Concat(operations(), guests(), flannels())
	ran := 0
	t.Run("operations", func(t *testing.T) {
		for _, op := range all {
			t.Run(op.name, func(t *testing.T) {
				t.Parallel()
				points := newSite(t).walk(op)
				mu.Lock()
				defer mu.Unlock()
				ran++
				walked += len(points)
				for _, p := range points {
					doors[strings.Fields(p)[1]] = true
				}
			})
		}
	})
	t.Logf("killed at %d points of %d doors", walked, len(doors))
	if ran < len(all) {
		return // not all were asked for
	}
	files, err := house.Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range house.Doors(files) {
		if doors[door] == (elsewhere[door] != "") {
			t.Errorf("door %s: passed %v, expected elsewhere: %q", door, doors[door], elsewhere[door])
		}
	}
}

// site is a host whose daemon is killed.
type site struct {
	*lab.Lab
	h        *lab.Host
	truth    *truth.World
	plugin   *lab.Plugin
	dir      string // of failpoints
	args     []string
	netns    string // a namespace that somebody else made, by name
	stranger *lab.Process
	store    *clientv3.Client // of the site's etcd, if it has one
	endpoint string           // by which the daemon asks that
}

var ctx = context.Background()

// walk does the operation, and then again and again, with a kill at each of
// the points that it passed the first time. It returns those.
func (s *site) walk(op operation) (walked []string) {
	s.T.Helper()
	op.before(s)
	old := s.state()
	s.forget()
	if err := op.do(s); err != nil {
		s.T.Fatalf("undisturbed: %v", err)
	}
	var points []string
	if s.h.DaemonEnds(0) { // it was to
		points = s.points(op.only)
		s.start()
	}
	now := s.settled("undisturbed", nil)
	if points == nil {
		points = s.points(op.only)
	}
	states := []string{old, now}
	if op.partly {
		states = nil
	}
	if len(points) == 0 {
		s.T.Fatal("it passes no point")
	}
	began := time.Now()
	for _, point := range points {
		passed, err := s.killAt(point, op)
		if !passed {
			s.T.Logf("passed once, and not in %d tries since: %s", tries, point)
			continue
		}
		walked = append(walked, point)
		if got := s.settled(point, states); err == nil && got != now {
			s.T.Errorf("killed %s: it was promised, and is not there:\n%s", point, got)
		}
		s.works(point)
		if op.after != nil {
			op.after(s)
		}
		if s.T.Failed() {
			break
		}
	}
	s.T.Logf("%d of %d points in %s", len(walked), len(points), time.Since(began).Round(time.Millisecond))
	if 10*len(walked) < 9*len(points) && !s.T.Failed() {
		s.T.Error("too many of its points are not passed again: nobody knows how those end")
	}
	return walked
}

// tries is how often an operation is done anew whose work beside has gone
// another way, past the point that was to be passed.
const tries = 10

// killAt has the daemon die at a point of the operation, and starts another.
// It reports whether the point was passed, and what the operation came to.
func (s *site) killAt(point string, op operation) (passed bool, err error) {
	s.T.Helper()
	for range tries {
		op.before(s)
		s.forget()
		s.write("die", point)
		without := s.h.DaemonEnds(0) // what dies is what the operation starts
		err := op.do(s)
		died := without && err != nil || !without && s.dies()
		s.must(os.Remove(filepath.Join(s.dir, "die")))
		if s.h.DaemonEnds(0) {
			s.start()
		}
		if died {
			return true, err
		}
	}
	return false, nil
}

// dies waits until the daemon ends, or nothing is left to be done.
func (s *site) dies() bool {
	s.T.Helper()
	s.Eventually(soon, func() string {
		diff, err := s.truth.Differences(ctx)
		if s.h.DaemonEnds(0) || err == nil && len(diff) == 0 {
			return ""
		}
		return fmt.Sprintf("the daemon lives on, and is not done: %v\n%s", err, strings.Join(diff, "\n"))
	})
	return s.h.DaemonEnds(0)
}

// points lists what has been passed, each with how many times so far.
func (s *site) points(only string) (points []string) {
	noted, err := os.ReadFile(filepath.Join(s.dir, "passed"))
	if err != nil {
		s.T.Fatal(err)
	}
	times := make(map[string]int)
	for line := range strings.Lines(string(noted)) {
		line = strings.TrimSpace(line)
		times[line]++
		if only == "" || strings.HasSuffix(line, " "+only) {
			points = append(points, fmt.Sprintf("%s %d", line, times[line]))
		}
	}
	return points
}

// forget begins a new count of points.
func (s *site) forget() {
	if err := os.RemoveAll(filepath.Join(s.dir, "passed")); err != nil {
		s.T.Fatal(err)
	}
}

func (s *site) write(name, content string) {
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.T.Fatal(err)
	}
}

// start starts a daemon, and waits until it answers or ends.
func (s *site) start() {
	s.T.Helper()
	s.h.StartDaemon(s.args...)
	s.Eventually(3*soon, func() string {
		if _, err := s.truth.Client.Info(ctx); err != nil && !s.h.DaemonEnds(0) {
			return err.Error()
		}
		return ""
	})
}

// settled waits until the daemon's word and the host are one, and what it says
// is one of the states; nil is any. It returns what it says.
func (s *site) settled(when string, states []string) (state string) {
	s.T.Helper()
	s.Eventually(soon, func() string {
		diff, err := s.truth.Differences(ctx)
		state = s.state()
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", when, err)
		case len(diff) > 0:
			return fmt.Sprintf("%s: the daemon says -, the host has +:\n%s\n%s", when, strings.Join(diff, "\n"), s.h.Log())
		case states != nil && !slices.Contains(states, state):
			return fmt.Sprintf("%s: the daemon has\n%s\nwhich is neither\n%s", when, state, strings.Join(states, "\nnor\n"))
		}
		return ""
	})
	return state
}

// state is what the daemon has, without what differs from one run to the next.
func (s *site) state() string {
	networks, err := s.truth.Client.Networks(ctx)
	if err != nil {
		return err.Error()
	}
	sandboxes, err := s.truth.Client.Sandboxes(ctx, true)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, n := range networks {
		lines = append(lines, fmt.Sprintf("network %s %v", n.Name, n.Pools))
		if n.Name == catenet.NetworkBridge {
			lines = append(lines, s.claimed(n.Pools[0]))
		}
		n, err := s.truth.Client.Network(ctx, n.ID)
		if err != nil {
			return err.Error()
		}
		for _, o := range n.Owners {
			if o.Owner == "lease" {
				lines = append(lines, fmt.Sprintf("leased of network %s: %s", n.Name, o.Address))
			}
		}
	}
	for _, sb := range sandboxes {
		var in, ports []string
		for _, ep := range sb.Endpoints {
			in = append(in, fmt.Sprintf("%s as %s", ep.Spec.Network, ep.Interface))
		}
		for _, b := range sb.Bindings {
			ports = append(ports, b.String())
		}
		lines = append(lines, fmt.Sprintf("container %s %s, asked for %d networks, in %q, ports %q", sb.Name, sb.State, len(sb.Networks), in, ports))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// running reports whether there is a sandbox of that name, and it runs.
func (s *site) running(name string) (there, running bool) {
	sb, err := s.truth.Client.Sandbox(ctx, name)
	if err != nil && !catenet.IsNotFound(err) {
		s.T.Fatal(err)
	}
	return err == nil, err == nil && sb.State == catenet.StateRunning
}
