package proc

import (
	"iter"
	"strings"
)

// Mount is one line of a table as in proc_pid_mountinfo(5).
type Mount struct {
	Root  string // of what is mounted, in its file system
	Point string // where it is seen
	Type  string // of the file system
}

// Mounts reads such a table. Lines that make no sense are passed over.
func Mounts(table string) iter.Seq[Mount] {
	return func(yield func(Mount) bool) {
		for line := range strings.Lines(table) {
			mount, fs, _ := strings.Cut(line, " - ")
			m, t := strings.Fields(mount), strings.Fields(fs)
			if len(m) < 5 || len(t) < 1 {
				continue
			}
			if !yield(Mount{unescape(m[3]), unescape(m[4]), t[0]}) {
				return
			}
		}
	}
}

// unescape undoes the \ooo for space, tab, line feed and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
