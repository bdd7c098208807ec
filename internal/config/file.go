package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/catenet/catenet"
)

// fault is what is wrong with one setting.
type fault struct {
	setting string // its name, and where in it, like default-address-pools[1].size
	err     *catenet.Error
}

// source is a settings file and its text.
type source struct {
	name string
	text []byte
}

// read reads the file, strictly: an unknown key is an error with its line and
// column.
func (s source) read() (Config, error) {
	c := Default()
	var doc any // the decoder would empty c where there is nothing
	if err := yaml.Unmarshal(s.text, &doc); err == nil && doc == nil {
		return c, nil
	}
	if f := s.words(); f != nil {
		return c, s.locate(f)
	}
	d := yaml.NewDecoder(bytes.NewReader(s.text), yaml.Strict())
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, s.undecoded(err)
	}
	if err := d.Decode(&doc); !errors.Is(err, io.EOF) {
		return c, catenet.Invalidf("settings file %s: there is more than one document in it", s.name)
	}
	return c, nil
}

// words checks the settings that are words of their own kind: the decoder
// cannot tell where a bad one stands.
func (s source) words() *fault {
	if n := s.node("log-level"); n != nil {
		if err := new(levelFlag).Set(word(n)); err != nil {
			return &fault{"log-level", catenet.Invalidf("%w", err)}
		}
	}
	for i := 0; ; i++ {
		pool := fmt.Sprintf("default-address-pools[%d]", i)
		if s.node(pool) == nil {
			return nil
		}
		if n := s.node(pool + ".base"); n != nil {
			if _, err := netip.ParsePrefix(word(n)); err != nil {
				return &fault{pool + ".base", catenet.Invalidf("%q cannot be the base of a pool", word(n)).WithHint(poolRight)}
			}
		}
	}
}

// word returns the text of a scalar.
func word(n ast.Node) string {
	if v, ok := n.(ast.ScalarNode); ok {
		return fmt.Sprint(v.GetValue())
	}
	return n.String()
}

// node returns where a setting stands, or nil.
func (s source) node(setting string) ast.Node {
	f, err := parser.ParseBytes(s.text, 0)
	if err != nil {
		return nil // the decoder says it better
	}
	p, err := yaml.PathString("$." + setting)
	if err != nil {
		return nil
	}
	n, err := p.FilterFile(f)
	if err != nil {
		return nil
	}
	return n
}

// locate is a fault as an error, with the line and column if the setting
// stands in the file. A setting that is missing is looked for at what it is
// missing from.
func (s source) locate(f *fault) error {
	for setting := f.setting; setting != ""; setting = setting[:max(0, strings.LastIndexAny(setting, ".["))] {
		if n := s.node(setting); n != nil {
			text := yaml.FormatErrorWithToken(f.err.Error(), n.GetToken(), false, true)
			return catenet.Invalidf("settings file %s: %s", s.name, strings.TrimSpace(text)).WithHint("%s", catenet.HintOf(f.err))
		}
	}
	return f.err
}

// undecoded puts an error of the decoder into words for people.
func (s source) undecoded(err error) error {
	text := yaml.FormatError(err, false, true)
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		text = yaml.FormatErrorWithToken("this is not "+kindWord(te.DstType), te.Token, false, true)
	} else if oe, ok := errors.AsType[*yaml.OverflowError](err); ok {
		text = yaml.FormatErrorWithToken("this number is too large", oe.Token, false, true)
	}
	return catenet.Invalidf("settings file %s: %s", s.name, strings.TrimSpace(text)).WithHint("the settings are %s", strings.Join(settings(), ", "))
}

// kindWord says what a value of type t is.
func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "a group of settings"
	}
	return "a text"
}

// settings are the keys of the file.
func settings() (names []string) {
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("yaml"); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// levelFlag is a level of the log, as text.
type levelFlag slog.Level

// String implements pflag.Value.
func (l *levelFlag) String() string { return strings.ToLower(slog.Level(*l).String()) }

// Type implements pflag.Value.
func (l *levelFlag) Type() string { return "level" }

// Set implements pflag.Value.
func (l *levelFlag) Set(s string) error {
	if err := (*slog.Level)(l).UnmarshalText([]byte(s)); err != nil {
		return catenet.Invalidf("%q is no level of the log: debug, info, warn or error", s)
	}
	return nil
}
