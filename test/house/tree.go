// Package house holds the rules of this house as tests: which room may import
// which and why, how long a function may get, what every package has to say
// about itself. The rules stand in rules.go as a table; this file reads the
// tree they are held against.
package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/catenet/catenet"

// File is one Go file of the tree.
type File struct {
	Path    string   // from the top of the tree, with slashes
	Room    string   // its folder; "." is the root package
	Test    bool     // is a _test.go file
	Imports []string // of this module without the module's path: "internal/ipam"; "." is the root
	AST     *ast.File
	Fset    *token.FileSet
	Lines   int
	Source  string
}

// Parse reads one file.
func Parse(name, src string) (*File, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	f := &File{
		Path: name, Room: path.Dir(name), Test: strings.HasSuffix(name, "_test.go"),
		AST: tree, Fset: fset, Source: src, Lines: strings.Count(src, "\n"),
	}
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("parse %s: import %s: %w", name, spec.Path.Value, err)
		}
		f.Imports = append(f.Imports, local(p))
	}
	return f, nil
}

// local strips the module's path off an import.
func local(p string) string {
	if p == Module {
		return "."
	}
	return strings.TrimPrefix(p, Module+"/")
}

// within reports whether the import or folder p is pattern, or is below it
// where pattern ends in "/...".
func within(p, pattern string) bool {
	base, tree := strings.CutSuffix(pattern, "/...")
	return p == base || tree && strings.HasPrefix(p, base+"/")
}

// Read parses every Go file of the module below top.
func Read(top fs.FS) ([]*File, error) {
	var files []*File
	err := fs.WalkDir(top, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || p == "tools") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(top, p)
		if err != nil {
			return err
		}
		f, err := Parse(p, string(src))
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}
