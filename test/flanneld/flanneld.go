// Package flanneld runs the real flanneld for tests (tools/flanneld.sh builds it),
// and holds our nodes' part of a registry against its.
package flanneld

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Program is where tools/flanneld.sh puts it.
const Program = "/var/cache/catenet-flanneld/v0.28.10/flanneld"

// Daemon is one flanneld.
type Daemon struct {
	SubnetFile string

	t   testing.TB
	cmd *exec.Cmd
	log string // path
}

// Start runs flanneld in a network namespace (a path), with its registry at an etcd
// and the other nodes beyond a link, and waits until it has told its subnet. It ends
// with the test.
func Start(t testing.TB, ns, endpoint, link string, args ...string) *Daemon {
	t.Helper()
	return StartWith(t, filepath.Join(t.TempDir(), "subnet.env"), ns, endpoint, link, args...)
}

// StartWith is Start with a subnet file, which may be there already.
func StartWith(t testing.TB, file, ns, endpoint, link string, args ...string) *Daemon {
	t.Helper()
	if _, err := os.Stat(Program); err != nil {
		t.Fatalf("there is no flanneld to try ours with: run tools/flanneld.sh (%v)", err)
	}
	d := &Daemon{SubnetFile: file, t: t, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command("nsenter", append([]string{"--net=" + ns, Program, "--etcd-endpoints", endpoint, "--iface", link, "--subnet-file", d.SubnetFile}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Kill()
		if text, err := os.ReadFile(d.log); t.Failed() && err == nil {
			t.Logf("flanneld said:\n%s", text)
		}
	})
	Await(t, "flanneld's subnet.env", func() bool {
		_, err := os.Stat(d.SubnetFile)
		return err == nil
	})
	return d
}

// Kill ends it at once, as a crash does: what it has made stays.
func (d *Daemon) Kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// Await waits until something is so.
func Await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
