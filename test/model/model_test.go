package model

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const (
	hosts = 4
	each  = 2500 // operations on each host
	// every is how many operations come between two looks at all of the host.
	every = 125
	// soon is how long something may take that happens by itself, and hasty
	// is that where only a shorter row is looked for.
	soon, hasty = 20 * time.Second, 2 * time.Second
	// shrinking is how long a shorter row that fails as well is looked for.
	shrinking = 2 * time.Minute
)

// TestTheDaemonIsAsTheModel does 10,000 operations. CATENET_SEED has it do
// those of an earlier run.
func TestTheDaemonIsAsTheModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CATENET_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CATENET_SEED=%d", seed)
	var mu sync.Mutex
	counts := make(map[string]int)
	t.Cleanup(func() {
		for _, v := range verbs {
			if counts[v.verb] == 0 && !t.Failed() {
				t.Errorf("%s never succeeded", v.verb)
			}
		}
	})
	for i := range hosts {
		t.Run(fmt.Sprint("host", i), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			ops := draw(seed+uint64(i), each)
			done, err := h.play(ops)
			if err == nil {
				t.Logf("%d operations, of which %v", len(ops), h.counts)
				mu.Lock()
				defer mu.Unlock()
				for verb, n := range h.counts {
					counts[verb] += n
				}
				return
			}
			t.Errorf("CATENET_SEED=%d: operation %d: %v", seed, done, err)
			h.patience = hasty
			row := append(slices.Clone(h.effective), ops[done])
			if h.again(row) == nil { // what was refused has a part in it
				row = ops[:done+1]
			}
			short, err := shrink(row, time.Now().Add(shrinking), h.again)
			t.Errorf("the shortest row found that fails:\n%s\nwith %v", list(short), err)
			h.again(nil)
		})
	}
}

// shrink leaves out of a row that fails what it can, larger pieces first, as
// long as it still fails. It returns the error of what is left.
func shrink(ops []op, until time.Time, play func([]op) error) (short []op, why error) {
	for size := len(ops) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(ops) && time.Now().Before(until); {
			less := slices.Concat(ops[:at], ops[at+size:])
			if err := play(less); err != nil {
				ops, why = less, err
			} else {
				at += size
			}
		}
	}
	if why == nil {
		why = cmp.Or(play(ops), errPassing)
	}
	return ops, why
}

// errPassing says of a failure that it did not come again.
var errPassing = fmt.Errorf("no failure when it is done again")

func list(ops []op) string {
	var b strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&b, "  %s\n", o)
	}
	return b.String()
}

// TestShrink finds the two operations of many that matter.
func TestShrink(t *testing.T) {
	ops := draw(1, 300)
	ops[100].verb, ops[211].verb = "first", "second"
	short, err := shrink(ops, time.Now().Add(time.Minute), func(ops []op) error {
		first := slices.IndexFunc(ops, func(o op) bool { return o.verb == "first" })
		second := slices.IndexFunc(ops, func(o op) bool { return o.verb == "second" })
		if first >= 0 && second > first {
			return errPassing
		}
		return nil
	})
	if len(short) != 2 || short[0].verb != "first" || short[1].verb != "second" || err == nil {
		t.Errorf("%v, %v", short, err)
	}
}
