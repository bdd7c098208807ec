package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a program on a terminal of its own, at which the test sits.
type Terminal struct {
	lab   *Lab
	tty   *os.File // our side
	mu    sync.Mutex
	shown bytes.Buffer // guarded by mu
	seen  int          // how much of it Wait has read
}

// Terminal starts a program in the host's namespace on a new terminal, as wide
// as 200 columns, with variables added to its environment. It ends with the
// test.
func (h *Host) Terminal(env []string, name string, args ...string) *Terminal {
	t := h.lab.T
	t.Helper()
	ours, theirs, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", h.enter(name, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.Env = append(append(os.Environ(), "CATENET_LAB="+h.lab.Dir, "TERM=xterm", "LC_ALL=C.UTF-8"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	term := &Terminal{lab: h.lab, tty: ours}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(term, ours) // ends with an error when the other side is closed
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails only if all have ended
		cmd.Wait()                                      // killed, mostly
		ours.Close()
		<-read
	})
	return term
}

// openTerminal makes a pair of terminal ends: see pty(7).
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return ours, theirs, err
}

// Write takes what the program shows.
func (t *Terminal) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.Write(b)
}

// Type types keys.
func (t *Terminal) Type(keys string) {
	t.lab.T.Helper()
	if _, err := t.tty.WriteString(keys); err != nil {
		t.lab.T.Fatal(err)
	}
}

// Wait waits until something shown since the last Wait matches, and returns
// the match and its groups.
func (t *Terminal) Wait(pattern string) []string {
	t.lab.T.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	deadline := time.Now().Add(patience)
	for ; ; time.Sleep(5 * time.Millisecond) {
		t.mu.Lock()
		rest := t.shown.Bytes()[t.seen:]
		if at := re.FindSubmatchIndex(rest); at != nil {
			for i := 0; i < len(at); i += 2 {
				found = append(found, string(rest[at[i]:at[i+1]]))
			}
			t.seen += at[1]
		}
		shown := string(rest)
		t.mu.Unlock()
		if found != nil {
			return found
		}
		if time.Now().After(deadline) {
			t.lab.T.Fatalf("the terminal shows %q, and nothing like %s", shown, pattern)
		}
	}
}
