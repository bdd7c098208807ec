package proc

import (
	"iter"
	"strings"
)

// Mount is one line of a table as in proc_pid_mountinfo(5).
type Mount struct {
	ID    string // a number, the same in all tables
	Root  string // of what is mounted, in its file system
	Point string // where it is seen
	Type  string // of the file system
	Peers string // the number of its peer group (mount_namespaces(7)); "" if it is in none
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
			if !yield(Mount{m[0], unescape(m[3]), unescape(m[4]), t[0], peers(m[5:])}) {
				return
			}
		}
	}
}

// peers finds the peer group among a line's options.
func peers(options []string) string {
	for _, o := range options {
		if group, shared := strings.CutPrefix(o, "shared:"); shared {
			return group
		}
	}
	return ""
}

// unescape undoes the \ooo for space, tab, line feed and backslash.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
