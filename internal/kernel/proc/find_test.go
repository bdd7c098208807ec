package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A program is found by its name, however long that is, in its network namespace and in
// no other.
func TestFind(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), fmt.Sprintf("%d-has-a-long-name", os.Getpid()))
	text, err := os.ReadFile("/bin/sleep")
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := os.Stat("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(program)
	if pid, err := Find(name, here); pid != 0 || err != nil {
		t.Errorf("before it is started there is %d, %v", pid, err)
	}
	cmd := exec.Command(program, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if pid, err := Find(name, here); pid != cmd.Process.Pid || err != nil {
		t.Errorf("it is %d, and found is %d, %v", cmd.Process.Pid, pid, err)
	}
	if pid, err := Find(name, elsewhere); pid != 0 || err != nil {
		t.Errorf("elsewhere there is %d, %v", pid, err)
	}
}
