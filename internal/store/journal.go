package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/catenet/catenet/internal/failpoint"
)

// journal is a second copy of a file: what was written to it since the journal
// was begun, a line an update. Where the file is damaged, or lacks an update
// that its journal has, it is made anew from that.
//
// A line is a checksum (CRC-32C of the rest, 8 hexadecimal digits), the number
// of the update (bbolt's transaction), and an entry as JSON:
//
//	1a2b3c4d 17 {"meta":null,"records":{"network/4711":{…}}}
//
// It is never synced, and written after the file: what it has and the file has
// not, the file has lost.
type journal struct {
	path  string
	f     *os.File
	size  int64 // of the lines that are whole, bytes
	limit int64 // of size: beyond it the journal is begun anew
	err   error // why it has not all that its file has, else nil
}

// entry is one update. Records that are null are deleted.
type entry struct {
	Meta    map[string]string          `json:"meta"`
	Records map[string]json.RawMessage `json:"records"`
}

// journalRoom is how much a journal may grow, in bytes, beyond four times what
// it was begun with.
const journalRoom = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line is an entry as it stands in a journal. Records are JSON already, in one
// line each: they are taken as they are, since this lies in every attach.
func (e entry) line(seq int) ([]byte, error) {
	meta, err := json.Marshal(e.Meta)
	if err != nil {
		return nil, err
	}
	rest := append(strconv.AppendInt(nil, int64(seq), 10), ` {"meta":`...)
	rest = append(append(rest, meta...), `,"records":{`...)
	comma := ""
	for k, v := range e.Records {
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		if v == nil {
			v = json.RawMessage("null")
		}
		rest = append(append(append(append(rest, comma...), key...), ':'), v...)
		comma = ","
	}
	rest = append(rest, "}}\n"...)
	return append(fmt.Appendf(make([]byte, 0, 9+len(rest)), "%08x ", crc32.Checksum(rest, castagnoli)), rest...), nil
}

// parseLine is the opposite of line. A line that is not whole, or not as it was
// written, is not ok.
func parseLine(line []byte) (seq int, raw []byte, ok bool) {
	sum, rest, _ := bytes.Cut(line, []byte(" "))
	if want, err := strconv.ParseUint(string(sum), 16, 32); err != nil || uint32(want) != crc32.Checksum(rest, castagnoli) {
		return 0, nil, false
	}
	number, raw, _ := bytes.Cut(rest, []byte(" "))
	seq, err := strconv.Atoi(string(number))
	return seq, raw, err == nil && seq > 0
}

// lastUpdate is the number of the last update in a journal's lines, 0 if there
// is none.
func lastUpdate(lines []byte) (last int) {
	for line := range bytes.Lines(lines) {
		if seq, _, ok := parseLine(line); ok {
			last = max(last, seq)
		}
	}
	return last
}

// replay puts together what the lines of a journal say, and counts those that
// say nothing any more.
func replay(lines []byte) (all entry, lost int) {
	all = entry{Meta: make(map[string]string), Records: make(map[string]json.RawMessage)}
	for line := range bytes.Lines(lines) {
		var e entry
		_, raw, ok := parseLine(line)
		if !ok || json.Unmarshal(raw, &e) != nil {
			lost++
			continue
		}
		for k, v := range e.Meta {
			all.Meta[k] = v
		}
		for k, v := range e.Records {
			if string(v) == "null" {
				delete(all.Records, k)
			} else {
				all.Records[k] = v
			}
		}
	}
	return all, lost
}

// begin makes the journal say what the file says now, and no more.
func (j *journal) begin(db *bbolt.DB) {
	failpoint.Before("store.journal")
	j.err = j.rewrite(db)
	failpoint.After("store.journal")
	if j.err != nil {
		// Half of it would look like the whole.
		j.err = errors.Join(j.err, j.close(), os.Remove(j.path))
	}
}

func (j *journal) rewrite(db *bbolt.DB) error {
	var err error
	if j.f == nil {
		if j.f, err = os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return err
		}
	}
	if err := j.f.Truncate(0); err != nil {
		return err
	}
	w := bufio.NewWriter(j.f)
	if err := db.View(func(tx *bbolt.Tx) error { return dump(w, tx) }); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if j.size, err = j.f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	j.limit = 4*j.size + journalRoom
	return nil
}

// dump writes a line for each record, and one for all that is in bucketMeta.
func dump(w io.Writer, tx *bbolt.Tx) error {
	put := func(e entry) error {
		line, err := e.line(tx.ID())
		if err != nil {
			return err
		}
		_, err = w.Write(line)
		return err
	}
	meta := make(map[string]string)
	if err := tx.Bucket(bucketMeta).ForEach(func(k, v []byte) error {
		meta[string(k)] = string(v)
		return nil
	}); err != nil {
		return err
	}
	if err := put(entry{Meta: meta}); err != nil {
		return err
	}
	return tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
		b, err := unseal(k, v)
		if err != nil {
			return err
		}
		return put(entry{Records: map[string]json.RawMessage{string(k): b}})
	})
}

// add appends an update that the file has. A journal that was incomplete, or
// has become too long, is begun anew.
func (j *journal) add(db *bbolt.DB, seq int, e entry) {
	if j.err != nil || j.size > j.limit {
		j.begin(db)
		return
	}
	line, err := e.line(seq)
	if err == nil {
		_, err = j.f.Write(line)
	}
	if err != nil {
		// The file is whole; the next update tries again.
		j.err = errors.Join(err, j.f.Truncate(j.size))
		return
	}
	j.size += int64(len(line))
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return f.Close()
}
