package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// attachNamed joins a namespace that ip-netns(8) has made.
func (w *world) attachNamed(name string, networks ...catenet.EndpointSpec) error {
	path := "/run/netns/" + name
	if _, err := w.kernel.Open(path); err != nil {
		w.kernel.Adopt(path)
	}
	_, err := w.CreateSandbox(ctx, catenet.SandboxSpec{Name: name, Owner: catenet.OwnerAttach, Netns: path, Networks: networks}, true)
	return err
}

// etc is all that is below the machine's /etc, as "netns netns/x netns/x/hosts".
func (w *world) etc() string {
	w.t.Helper()
	root := filepath.Join(w.dir, "etc")
	var all []string
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if path != root {
			all = append(all, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	must(w.t, err)
	return strings.Join(all, " ")
}

// TestOnlyWhatWeMadeInEtcNetnsGoes has each folder there before us or not, and
// the daemon die in between or not.
func TestOnlyWhatWeMadeInEtcNetnsGoes(t *testing.T) {
	for _, before := range []string{"", "netns", "netns netns/x", "netns netns/x netns/x/hosts"} {
		for _, restarts := range []bool{false, true} {
			w := newWorld(t)
			must(t, os.MkdirAll(filepath.Join(w.dir, "etc"), 0o755))
			for _, path := range strings.Fields(before) {
				if strings.HasSuffix(path, "hosts") {
					must(t, os.WriteFile(filepath.Join(w.dir, "etc", path), []byte("theirs"), 0o600))
				} else {
					must(t, os.Mkdir(filepath.Join(w.dir, "etc", path), 0o755))
				}
			}
			must(t, w.attachNamed("x"))
			must(t, w.attachNamed("y"))
			if got := w.etc(); got != "netns netns/x netns/x/hosts netns/x/resolv.conf netns/y netns/y/hosts netns/y/resolv.conf" {
				t.Errorf("with %q before: %s", before, got)
			}
			must(t, w.Remove(ctx, "x", false))
			if restarts {
				w.restart()
			}
			must(t, w.Remove(ctx, "y", false))
			if got := w.etc(); got != before {
				t.Errorf("there is %q, and there was %q", got, before)
			}
			w.closeNow()
		}
	}
}

// TestAFailedAttachTakesItsFilesBack has the kernel refuse once the files may
// have been written.
func TestAFailedAttachTakesItsFilesBack(t *testing.T) {
	broken := errors.New("the kernel says no")
	for _, before := range []string{"", "netns netns/x"} {
		for n := 1; ; n++ {
			w := newWorld(t)
			must(t, os.MkdirAll(filepath.Join(w.dir, "etc"), 0o755))
			if before != "" {
				must(t, os.MkdirAll(filepath.Join(w.dir, "etc", "netns", "x"), 0o755))
			}
			w.kernel.Adopt("/run/netns/x")
			w.kernel.FailAt(n, broken)
			err := w.attachNamed("x")
			failed := w.kernel.Failed()
			w.kernel.FailAt(0, nil)
			if got := w.etc(); err != nil && got != before {
				t.Errorf("call %d failed: there is %q, and there was %q", n, got, before)
			}
			w.closeNow()
			if !failed {
				break
			}
		}
	}
}

// TestWhatIsSaidOfFilesThatAreNotWritten attaches a namespace without a name,
// and one that has a file of somebody else's.
func TestWhatIsSaidOfFilesThatAreNotWritten(t *testing.T) {
	w := newWorld(t)
	st := w.mustAttach("nameless")
	if got := strings.Join(st.Warnings, "\n"); !strings.Contains(got, "no name in /run/netns") || !strings.Contains(got, "127.0.0.11") {
		t.Errorf("without a name: %q", got)
	}
	dir := filepath.Join(w.dir, "etc", "netns", "x")
	theirs := filepath.Join(dir, "hosts")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(theirs, []byte("theirs"), 0o600))
	must(t, w.attachNamed("x"))
	must(t, w.attachNamed("y"))
	for name, want := range map[string]string{"x": theirs + " is somebody else's and stays as it is", "y": ""} {
		st, err := w.Sandbox(ctx, name)
		must(t, err)
		if got := strings.Join(st.Warnings, "\n"); got != want {
			t.Errorf("%s: warned of %q, want %q", name, got, want)
		}
	}
	if b, err := os.ReadFile(theirs); err != nil || string(b) != "theirs" {
		t.Errorf("their file says %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "resolv.conf")); err != nil || !strings.Contains(string(b), "127.0.0.11") {
		t.Errorf("ours says %q, %v", b, err)
	}
}
