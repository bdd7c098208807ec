package kernel

import (
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

func TestThePackageDocListsEveryFolder(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "kernel.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() && !strings.Contains(f.Doc.Text(), "\t"+entry.Name()+"/ ") {
			t.Errorf("it says nothing of %s/", entry.Name())
		}
	}
}
