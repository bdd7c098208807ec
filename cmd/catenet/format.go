package main

import (
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
)

// format is how a reply is shown: as a table (or what stands for it), as
// JSON, or by a Go template.
type format struct {
	how     string
	quiet   bool
	noTrunc bool
	tmpl    *template.Template
	table   bool // tmpl writes a row of a table
	lists   bool // tables of templates are possible
}

const formatUsage = "table, json, or a Go `template` of the API's fields"

// formatFlag adds --format to what shows single things, with docker's -f.
func (f *format) formatFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.how, "format", "f", "table", formatUsage)
}

// listFlags adds what every listing has.
func (f *format) listFlags(cmd *cobra.Command, quiet string) {
	f.lists = true
	cmd.Flags().StringVar(&f.how, "format", "table", formatUsage+", or 'table TEMPLATE'")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, quiet)
	cmd.Flags().BoolVar(&f.noTrunc, "no-trunc", false, "show whole IDs")
}

// check reads the template, before anything is asked of the daemon.
func (f *format) check() error {
	if f.how == "table" || f.how == "json" || f.how == "" {
		return nil
	}
	text, isTable := strings.CutPrefix(f.how, "table ")
	f.table = isTable
	if isTable && !f.lists {
		return usage(catenet.Invalidf("format %q: this is no listing", f.how).WithHint("leave out the word table"))
	}
	if !strings.Contains(text, "{{") {
		return usage(catenet.Invalidf("unknown format %q", f.how).WithHint("a format is table, json, a Go template like '{{.Name}}', or 'table {{.Name}}\\t{{.Driver}}'"))
	}
	var err error
	f.tmpl, err = template.New("format").Funcs(template.FuncMap{
		"json":  func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
		"join":  strings.Join,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"short": catenet.ShortID,
	}).Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)) // the shell leaves them as they are
	if err != nil {
		return usage(catenet.Invalidf("read format: %w", err).WithHint("see https://pkg.go.dev/text/template"))
	}
	return nil
}

// asTable says that neither JSON nor a template is asked for.
func (f *format) asTable() bool { return f.tmpl == nil && f.how != "json" }

// one writes one value as JSON on a line, or by the template.
func (f *format) one(w io.Writer, v any) error {
	if f.tmpl == nil {
		return json.NewEncoder(w).Encode(v)
	}
	v = shape(v)
	if f.table {
		v = named(v, f.id)
	}
	text, err := fill(f.tmpl, v)
	if err != nil {
		said, _, _ := strings.Cut(err.Error(), " in type ") // which is spelled out, and long
		return catenet.Invalidf("format: %s", said).WithHint("--format json shows which fields there are")
	}
	_, err = io.WriteString(w, text+"\n")
	return err
}

// fill executes a template on a value, and if its fields are not called so, on
// what its JSON has, as docker does: {{.Id}}.
func fill(t *template.Template, v any) (string, error) {
	var b strings.Builder
	err := t.Execute(&b, v)
	if err == nil {
		return b.String(), nil
	}
	var raw any
	if text, jerr := json.Marshal(v); jerr == nil && json.Unmarshal(text, &raw) == nil {
		b.Reset()
		if t.Option("missingkey=error").Execute(&b, raw) == nil {
			return b.String(), nil
		}
	}
	return "", err
}

// id shortens an ID for people, unless they want it whole.
func (f *format) id(id string) string {
	if f.noTrunc {
		return id
	}
	return catenet.ShortID(id)
}

// list writes a listing: quiet is what -q prints of an item, row its cells.
func list[T any](w io.Writer, f *format, items []T, quiet func(T) string, header []string, row func(T) []string) error {
	if f.quiet {
		for _, it := range items {
			if _, err := io.WriteString(w, quiet(it)+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
	if f.table {
		t := newTable(w)
		if _, err := io.WriteString(t, headerOf(f.tmpl, header[0])+"\n"); err != nil {
			return err
		}
		for _, it := range items {
			if err := f.one(t, it); err != nil {
				return err
			}
		}
		return t.Flush()
	}
	if !f.asTable() {
		for _, it := range items {
			if err := f.one(w, it); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(items))
	for i, it := range items {
		rows[i] = row(it)
	}
	return writeTable(w, header, rows)
}

// newTable writes columns three spaces apart, as docker does.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 3, ' ', 0) }

// writeTable writes a header and rows.
func writeTable(w io.Writer, header []string, rows [][]string) error {
	t := newTable(w)
	for _, r := range append([][]string{header}, rows...) {
		if _, err := io.WriteString(t, strings.Join(r, "\t")+"\n"); err != nil {
			return err
		}
	}
	return t.Flush()
}

// writeInspected writes values as an indented JSON array, or each by the
// template.
func writeInspected[T any](w io.Writer, f *format, items []T) error {
	if f.tmpl != nil {
		for _, it := range items {
			if err := f.one(w, it); err != nil {
				return err
			}
		}
		return nil
	}
	if items == nil {
		items = []T{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(items)
}
