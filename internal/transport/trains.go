package transport

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/catenet/catenet/internal/kernel"
)

// trains are packets that are to be sent, in order. Packets of one size to one
// peer make one train.
type trains struct {
	all   []kernel.Train
	parts [][]byte // of all
	count int      // packets in the last one
	bytes int      // in the last one
	ended bool     // the last one takes no more

	heads    []byte // headers that were made for segments, one behind the other
	headUsed int
}

// What is sent by one call: enough for 64 KiB in segments of usual size.
const (
	maxTrains = 32
	maxParts  = 512
	maxHead   = 120 // bytes, of IP and TCP with all options
)

func newTrains() trains {
	return trains{
		all:   make([]kernel.Train, 0, maxTrains),
		parts: make([][]byte, 0, maxParts),
		heads: make([]byte, maxParts/2*maxHead),
	}
}

// room tells whether one more packet can be added.
func (t *trains) room() bool {
	return len(t.all) < maxTrains && len(t.parts)+2 <= maxParts && t.headUsed+maxHead <= len(t.heads)
}

// head returns n bytes for a header that is to be added next.
func (t *trains) head(n int) []byte { return t.heads[t.headUsed:][:n:n] }

// add appends a packet; there is room. What is shorter than the others is the
// last one of its train.
func (t *trains) add(to netip.AddrPort, head, rest []byte) {
	size := len(head) + len(rest)
	last := len(t.all) - 1
	if last < 0 || t.ended || t.all[last].To != to || size > t.all[last].Size ||
		t.count == kernel.MaxTrain || t.bytes+size > kernel.MaxTrainBytes {
		t.all = append(t.all, kernel.Train{To: to, Size: size, Parts: t.parts[len(t.parts):]})
		t.count, t.bytes, t.ended = 0, 0, false
		last++
	}
	train := &t.all[last]
	begin := len(t.parts) - len(train.Parts)
	t.parts = append(t.parts, head)
	if len(rest) > 0 {
		t.parts = append(t.parts, rest)
		t.headUsed += len(head)
	}
	train.Parts = t.parts[begin:]
	t.count++
	t.bytes += size
	t.ended = size < train.Size
}

func (t *trains) reset() {
	t.all, t.parts, t.headUsed, t.ended = t.all[:0], t.parts[:0], 0, false
}

func length(t *kernel.Train) (n int) {
	for _, p := range t.Parts {
		n += len(p)
	}
	return n
}

func count(t *kernel.Train) int { return (length(t) + t.Size - 1) / t.Size }

// packets are the packets of a train, each in one piece.
func packets(t kernel.Train) iter.Seq[[]byte] {
	return slices.Chunk(slices.Concat(t.Parts...), t.Size)
}
