package guide

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/test/lab"
)

// patience bounds every command of a page.
const patience = 30 * time.Second

// machine is a host with a shell that stays, and folders of its own where
// pages write.
type machine struct {
	*lab.Host
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	end io.Closer // of what out reads
}

// own gives the shell's mount namespace its own /run, /etc, /var/lib and /srv:
// what a page does there is nobody else's to see, and goes with it. They are below
// the lab's folder, by which its ledger finds whoever is left in there.
const own = `set -e
mkdir "$0/run"
mount --bind "$0/run" /run
for d in /etc /var/lib; do
	mkdir -p /run/own$d/new /run/own$d/work
	mount -t overlay overlay -o lowerdir=$d,upperdir=/run/own$d/new,workdir=/run/own$d/work $d
done
mount -t tmpfs tmpfs /srv
cd /srv
exec bash --norc 2>&1`

// boot starts a machine's shell.
func boot(t *testing.T, h *lab.Host) *machine {
	t.Helper()
	m := &machine{Host: h, cmd: exec.Command("nsenter", "--net="+h.NS.Path, "--", "unshare", "--mount", "bash", "-c", own, h.Dir)}
	m.cmd.Env = append(os.Environ(), "PATH="+lab.Binaries(t)+":"+os.Getenv("PATH"), "CATENET_LAB="+filepath.Dir(h.Dir), "LC_ALL=C.UTF-8")
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.out, m.end = bufio.NewReader(out), out
	t.Cleanup(func() {
		m.in.Close() // ends the shell
		late := time.AfterFunc(patience, func() { m.cmd.Process.Kill() })
		defer late.Stop()
		if err := m.cmd.Wait(); err != nil {
			t.Errorf("%s: the shell ended with %v", h.Name, err)
		}
	})
	return m
}

// must runs a command that has to succeed.
func (m *machine) must(t *testing.T, command string) {
	t.Helper()
	if out, code, err := m.run(command); err != nil || code != 0 {
		t.Fatalf("%s: %s: exit %d, %v\n%s", m.Name, command, code, err, out)
	}
}

// mark ends the output of a command; its exit code follows.
const mark = "\x01end "

// run gives the shell one command, which has no standard input, and returns what
// it printed and its exit code.
func (m *machine) run(command string) (string, int, error) {
	late := time.AfterFunc(patience, func() {
		m.cmd.Process.Kill()
		m.end.Close() // what the shell has left in the background may keep it open
	})
	defer late.Stop()
	if _, err := fmt.Fprintf(m.in, "{ %s\n} </dev/null\nprintf '%s%%d\\n' $?\n", command, mark); err != nil {
		return "", 0, err
	}
	var output strings.Builder
	for {
		line, err := m.out.ReadString('\n')
		head, code, ended := strings.Cut(line, mark)
		output.WriteString(head)
		if ended {
			var n int
			_, err = fmt.Sscan(code, &n)
			return output.String(), n, err
		}
		if err != nil {
			return output.String(), 0, fmt.Errorf("the shell ended, or the command took longer than %s: %w", patience, err)
		}
	}
}
