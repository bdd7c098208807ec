package handover

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// envRole has the test binary hand over to itself.
const envRole = "CATENET_TEST_HANDOVER"

func TestMain(m *testing.M) {
	if os.Getenv(envRole) == "" {
		os.Exit(m.Run())
	}
	if err := play(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// play is first the program that hands over, and then the one that receives.
func play() error {
	got, err := Receive()
	if err != nil {
		return err
	}
	var note string
	if ok, err := got.Read("note", &note); err != nil || ok {
		return receive(got, note, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var p Parcel
	p.Put("listener", l.(Socket))
	p.PutFD("nobody's", 2)
	p.Put("gone", gone.(Socket))
	if err := gone.Close(); err != nil {
		return err
	}
	if err := p.Note("note", l.Addr().String()); err != nil {
		return err
	}
	if err := p.Exec(context.Background(), "/nonexistent", unix.SIGUSR2); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		return fmt.Errorf("executed what is not there: %w", err)
	}
	raw, err := l.(Socket).SyscallConn()
	if err != nil {
		return err
	}
	flags := 0
	if cerr := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFD, 0) }); cerr != nil || err != nil || flags&unix.FD_CLOEXEC == 0 {
		return fmt.Errorf("after an exec that failed, programs inherit the socket: %v, %w, %w", flags, cerr, err)
	}
	fmt.Println(l.Addr())
	return p.Exec(context.Background(), "/proc/self/exe", unix.SIGUSR2)
}

func receive(got *Parcel, note string, err error) error {
	if err != nil {
		return err
	}
	if _, ok := os.LookupEnv(variable); ok {
		return fmt.Errorf("%s is still set", variable)
	}
	if got.Take("gone") != nil || got.Take("nobody") != nil {
		return fmt.Errorf("there is what nobody has handed over")
	}
	f := got.Take("listener")
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		return fmt.Errorf("a program that is started inherits the socket: %v, %w", flags, err)
	}
	if l.Addr().String() != note {
		return fmt.Errorf("the listener is at %s, the note says %s", l.Addr(), note)
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	fmt.Fprintln(c, "hello")
	if err := c.Close(); err != nil {
		return err
	}
	return got.Close()
}

// TestHandOver connects while one program or the other listens: the socket is
// the same.
func TestHandOver(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it says nothing")
	}
	if c, err := net.Dial("tcp", lines.Text()); err != nil {
		t.Errorf("%q: %v", lines.Text(), err)
	} else if got, err := bufio.NewReader(c).ReadString('\n'); got != "hello\n" {
		t.Errorf("the next program says %q, %v", got, err)
	}
	for lines.Scan() {
		t.Error(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestAVariableOfSomebodyElse: what was not written for this process counts
// for nothing.
func TestAVariableOfSomebodyElse(t *testing.T) {
	f, err := manifest{PID: os.Getpid() + 1, Files: map[string]int{"x": 0}}.write()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copied, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"0", fmt.Sprint(copied)} {
		t.Setenv(variable, value)
		p, err := Receive()
		if err != nil || p.Take("x") != nil {
			t.Errorf("%s=%s: %+v, %v", variable, value, p, err)
		}
	}
	t.Setenv(variable, "x")
	if _, err := Receive(); err == nil {
		t.Error("x is taken for a descriptor")
	}
}

func TestTry(t *testing.T) {
	if err := Try(t.Context(), "/bin/true"); err != nil {
		t.Error(err)
	}
	for _, program := range []string{"/bin/false", "/etc/hostname", "/nonexistent"} {
		if err := Try(t.Context(), program); err == nil || !strings.Contains(err.Error(), program) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// TestTryWaitsForTheProgramAlone: what it has started may go on for long, with
// its output open.
func TestTryWaitsForTheProgramAlone(t *testing.T) {
	dir := t.TempDir()
	program, note := filepath.Join(dir, "program"), filepath.Join(dir, "pid")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nsleep 300 &\necho $! >"+note+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_ = Try(t.Context(), program) // either answer will do
	b, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("what the program has started is waited for: %v", err)
	}
}
