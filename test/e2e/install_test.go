package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	pages := filepath.Join(dir, "pages")
	return func(args ...string) string {
		t.Helper()
		cmd := exec.Command("make", append([]string{"-f", filepath.Join(root, "Makefile"), "PAGES=" + pages}, args...)...)
		cmd.Dir = dir
		if slices.Contains(args, "man") { // which compiles
			cmd.Dir = root
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// built has make take the target build for done: its programs are linked.
const built = "--old-file=build"

// written likewise says that the pages of the manual are there.
const written = "--old-file=man"

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
	mk("man")
	for range 2 { // the second time over the first
		mk(built, written, "install", "DESTDIR="+dest)
	}
	const verbs = "-rw-r--r-- /usr/local/share/man/man1/catenet-"
	want := `-rw-r--r-- /etc/fish/completions/catenet.fish
-rw-r--r-- /etc/systemd/system/catenet-flanneld.service
-rw-r--r-- /etc/systemd/system/catenet.service
-rwxr-xr-x /opt/cni/bin/catenet
-rwxr-xr-x /usr/lib/cni/catenet
-rwxr-xr-x /usr/local/bin/catenet
-rwxr-xr-x /usr/local/bin/catenet-shim
-rwxr-xr-x /usr/local/bin/catenetd
-rwxr-xr-x /usr/local/libexec/catenet/netavark
Lrwxrwxrwx /usr/local/libexec/netavark/catenet
-rw-r--r-- /usr/local/share/bash-completion/completions/catenet
-rw-r--r-- /usr/local/share/man/man1/catenet.1
-rw-r--r-- /usr/local/share/man/man5/catenet.yaml.5
-rw-r--r-- /usr/local/share/man/man8/catenetd.8
-rw-r--r-- /usr/local/share/zsh/site-functions/_catenet`
	got := strings.Split(files(t, dest), "\n")
	rest := slices.DeleteFunc(slices.Clone(got), func(f string) bool { return strings.HasPrefix(f, verbs) })
	if strings.Join(rest, "\n") != want || len(got)-len(rest) < 20 {
		t.Errorf("installed is\n%s\nwant, and a page for each verb,\n%s", strings.Join(got, "\n"), want)
	}
	readable(t, filepath.Join(dest, "usr/local/share/man"))
	unit, err := os.ReadFile(filepath.Join(dest, "etc/systemd/system/catenet.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "ExecReload=/bin/sh -c 'kill -USR2 $MAINPID'", "KillMode=process", "Restart=always",
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

// readable wants man to show each page without a warning, and in it what the
// program itself says.
func readable(t *testing.T, dir string) {
	t.Helper()
	shown := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		cmd := exec.Command("man", "--warnings", "-l", path)
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8", "MANROFFOPT=", "MAN_KEEP_FORMATTING=")
		var warnings strings.Builder
		cmd.Stderr = &warnings
		out, err := cmd.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("man %s: %v\n%s", d.Name(), err, &warnings)
		}
		shown[d.Name()] = strings.Join(strings.Fields(string(out)), " ")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for page, words := range map[string]string{
		"catenet.1":                "network Create, show and remove networks",
		"catenet-network-create.1": "catenet network create [flags] NAME",
		"catenet-run.1":            "-p, --publish ports publish ports, [hostIP:][hostPort[-range]:]port[-range] [/tcp|udp|sctp]",
		"catenetd.8":               "--state-dir folder",
		"catenet.yaml.5":           "log-level: debug metrics: 127.0.0.1:9323",
	} {
		if !strings.Contains(shown[page], words) {
			t.Errorf("%s does not say %q:\n%s", page, words, shown[page])
		}
	}
}

// TestInstallBuildsAndItsUnitIsSound installs where the unit says, so that
// systemd, where there is one, can judge it.
func TestInstallBuildsAndItsUnitIsSound(t *testing.T) {
	t.Parallel()
	mk := installer(t)
	if out := mk("-n", "install"); strings.Count(out, "go build") != 5 || strings.Count(out, "go run") != 2 {
		t.Errorf("make install does not build all programs and write their pages:\n%s", out)
	}
	prefix := t.TempDir()
	units := filepath.Join(prefix, "units")
	mk("man")
	mk(built, written, "install", "PREFIX="+prefix, "UNITDIR="+units, "FISHDIR="+prefix, "CNIDIRS="+filepath.Join(prefix, "cni"))
	out, err := exec.Command(filepath.Join(prefix, "bin/catenet"), "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "network") {
		t.Errorf("the installed catenet says %s, %v", out, err)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return // nobody here to ask
	}
	for _, unit := range []string{"catenet.service", "catenet-flanneld.service"} {
		out, err = exec.Command("systemd-analyze", "verify", filepath.Join(units, unit)).CombinedOutput()
		if err != nil || strings.Contains(string(out), "catenet") {
			t.Errorf("systemd-analyze verify %s: %v\n%s", unit, err, out)
		}
	}
}
