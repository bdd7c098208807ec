// Package man writes pages of the manual, in the language of man(7), of what
// the programs say of themselves. Only the builds that make the pages have it
// linked (build tag man).
package man

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// Page is one page; see man-pages(7) for its parts.
type Page struct {
	Name     string // like catenet-network-create
	Section  int
	Version  string // of what it is of
	Manual   string // the title of the book
	About    string // one line
	Sections []Section
	SeeAlso  []string // like catenetd(8)
}

// Section is one heading of a page and what is below it. Text is paragraphs,
// with an empty line between two; lines that begin with two spaces are shown
// as they are.
type Section struct {
	Title string
	Text  string
	Items []Item // listed below the text
}

// Item is an entry of a list: what is typed, what stands for something else,
// and what it does.
type Item struct{ Name, Value, Text string }

// Flags lists flags.
func Flags(fs *pflag.FlagSet) (items []Item) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		it := Item{Name: "--" + f.Name}
		if f.Shorthand != "" {
			it.Name = "-" + f.Shorthand + ", " + it.Name
		}
		it.Value, it.Text = pflag.UnquoteUsage(f)
		switch f.DefValue {
		case "", "false", "[]", "0":
		default:
			it.Text += " (default: " + f.DefValue + ")"
		}
		items = append(items, it)
	})
	return items
}

// Write writes the page to its file in dir, like dir/catenet.1.
func (p Page) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d", p.Name, p.Section)), p.roff(), 0o644)
}

func (p Page) roff() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s %d \"\" %s %s\n", quote(strings.ToUpper(p.Name)), p.Section, quote("catenet "+p.Version), quote(p.Manual))
	b.WriteString(".nh\n.ad l\n") // no word is broken: many are to be typed
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", text(p.Name), text(p.About))
	for _, s := range p.Sections {
		if s.Text == "" && s.Items == nil {
			continue
		}
		fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(text(s.Title)))
		paragraphs(&b, s.Text)
		for _, it := range s.Items {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR \\fI%s\\fR\n%s\n", text(it.Name), text(it.Value), text(it.Text))
		}
	}
	if len(p.SeeAlso) > 0 {
		b.WriteString(".SH SEE ALSO\n")
		for i, ref := range p.SeeAlso {
			name, section, _ := strings.Cut(ref, "(")
			comma := ","
			if i == len(p.SeeAlso)-1 {
				comma = ""
			}
			fmt.Fprintf(&b, ".BR %s (%s%s\n", text(name), section, comma)
		}
	}
	return b.Bytes()
}

// paragraphs writes text. A line that begins with two spaces is an example.
func paragraphs(b *bytes.Buffer, s string) {
	shown := false
	show := func(yes bool) {
		if yes != shown {
			b.WriteString(map[bool]string{true: ".RS 4\n.nf\n", false: ".fi\n.RE\n"}[yes])
		}
		shown = yes
	}
	for line := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		rest, example := strings.CutPrefix(line, "  ")
		switch {
		case line == "" && !shown:
			b.WriteString(".PP\n")
			continue
		case line == "":
			example = true
		}
		show(example)
		b.WriteString(text(rest) + "\n")
	}
	show(false)
}

// text escapes what roff would take for its own: see groff(7).
func text(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`,
		",", `,\:`, "][", `]\:[`).Replace(s) // where long words may be broken
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// quote makes one argument of a macro.
func quote(s string) string { return `"` + strings.ReplaceAll(text(s), `"`, `\(dq`) + `"` }
