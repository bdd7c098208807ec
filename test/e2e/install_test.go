package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// installer is a folder from which make installs the programs that are built
// already, and what calls it there.
func installer(t *testing.T) func(args ...string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"bin": lab.Binaries(t), "packaging": filepath.Join(root, "packaging")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) string {
		t.Helper()
		cmd := exec.Command("make", append([]string{"-f", filepath.Join(root, "Makefile")}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// built has make take the target build for done: its programs are linked.
const built = "--old-file=build"

// files lists what is in a folder, with modes.
func files(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			out = append(out, info.Mode().String()+" "+strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func TestInstall(t *testing.T) {
	t.Parallel()
	mk := installer(t)
	dest := t.TempDir()
	mk(built, "install", "DESTDIR="+dest)
	want := `-rw-r--r-- /etc/systemd/system/catenet.service
-rwxr-xr-x /usr/local/bin/catenet
-rwxr-xr-x /usr/local/bin/catenet-shim
-rwxr-xr-x /usr/local/bin/catenetd`
	if got := files(t, dest); got != want {
		t.Errorf("installed is\n%s\nwant\n%s", got, want)
	}
	unit, err := os.ReadFile(filepath.Join(dest, "etc/systemd/system/catenet.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "KillMode=process", "Restart=always",
		"ExecStart=/usr/local/bin/catenetd --run-dir /run/catenet --state-dir /var/lib/catenet",
	} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit has no line %s:\n%s", line, unit)
		}
	}
	// Under a RuntimeDirectory= the pinned namespaces would go with a stop, and
	// in a mount namespace of its own nobody else would see them.
	for _, ban := range []string{"\nRuntimeDirectory=", "\nPrivate", "\nProtectSystem=", "\nProtectHome=", "\nReadOnlyPaths="} {
		if strings.Contains(string(unit), ban) {
			t.Errorf("the unit has%s", ban)
		}
	}
	mk("uninstall", "DESTDIR="+dest)
	if got := files(t, dest); got != "" {
		t.Errorf("make uninstall leaves\n%s", got)
	}
}

// TestInstallBuildsAndItsUnitIsSound installs where the unit says, so that
// systemd, where there is one, can judge it.
func TestInstallBuildsAndItsUnitIsSound(t *testing.T) {
	t.Parallel()
	mk := installer(t)
	if out := mk("-n", "install"); strings.Count(out, "go build") != 3 {
		t.Errorf("make install does not build three programs:\n%s", out)
	}
	prefix := t.TempDir()
	units := filepath.Join(prefix, "units")
	mk(built, "install", "PREFIX="+prefix, "UNITDIR="+units)
	out, err := exec.Command(filepath.Join(prefix, "bin/catenet"), "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "network") {
		t.Errorf("the installed catenet says %s, %v", out, err)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return // nobody here to ask
	}
	out, err = exec.Command("systemd-analyze", "verify", filepath.Join(units, "catenet.service")).CombinedOutput()
	if err != nil || strings.Contains(string(out), "catenet.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
