package vm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// kernelDir is where tools/kernel.sh puts the kernel and its modules; hostDir
// is where the machine inside finds all files of this one.
const (
	kernelDir = "/var/cache/catenet-kernel"
	hostDir   = "/host"
)

// ending is what a machine left when it was off.
type ending struct {
	console string // what the kernel said
	output  string // what the program printed
	status  string // its exit status; "" if the machine went off before it
}

// boot starts a machine that runs one program, in the folder this process is in,
// and returns when it is off. Everything of it is in dir. It is killed when
// ctx ends, when g.Within is over, and when this process ends.
func boot(ctx context.Context, dir string, g Guest, program []string) (end ending, err error) {
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return end, err
	}
	if err := writeStart(filepath.Join(out, "run"), g, program); err != nil {
		return end, err
	}
	initrd, err := makeInitrd(ctx, dir)
	if err != nil {
		return end, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.Within)
	defer cancel()
	console := filepath.Join(dir, "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-smp", "2", "-m", "1024",
		"-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-serial", "file:"+console,
		"-kernel", filepath.Join(kernelDir, "vmlinux"), "-initrd", initrd,
		"-append", strings.Join(append([]string{"console=ttyS0 quiet panic=-1 mitigations=off"}, g.Boot...), " "),
		"-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
		"-virtfs", "local,path="+out+",mount_tag=out,security_model=none")
	said, err := untilOff(cmd)
	end = ending{read(console), read(filepath.Join(out, "output")), strings.TrimSpace(read(filepath.Join(out, "status")))}
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("the machine was not off within %s: %w", g.Within, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("no emulator: tools/deps.sh base installs it (make test does)")
	case err != nil:
		err = fmt.Errorf("run the machine: %w: %s", err, said)
	case end.status == "":
		err = errors.New("the machine went off before the tests had ended")
	}
	return end, err
}

// untilOff runs the emulator on one thread that stays: the kernel takes it down
// with that thread, also when this process is killed.
func untilOff(cmd *exec.Cmd) (said []byte, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
}

// writeStart writes what the machine runs: a script for any shell.
func writeStart(path string, g Guest, program []string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "export %s=1 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", mark)
	for _, e := range g.Env {
		fmt.Fprintf(&b, "export %s\n", quote(e))
	}
	fmt.Fprintf(&b, "ln -s %s/lib/modules/$(uname -r) /lib/modules/ || exit\n", Path(kernelDir))
	b.WriteString("ip link set lo up || exit\n")
	for _, m := range g.Modules {
		fmt.Fprintf(&b, "modprobe %s || exit\n", quote(m))
	}
	fmt.Fprintf(&b, "cd %s || exit\n", quote(Path(wd)))
	for _, arg := range program {
		fmt.Fprintf(&b, "%s ", quote(arg))
	}
	return os.WriteFile(path, []byte(b.String()+"\n"), 0o600)
}

// quote makes a word of a shell of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// read returns a file's content, or "" if there is none: what a machine that
// hung did not come to write.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

//go:embed init.sh
var initScript string

// early are the modules that the machine needs to see its files.
var early = []string{"virtio_pci", "9pnet_virtio", "9p", "overlay"}

// makeInitrd writes the initial memory disk: busybox, init.sh and the early
// modules, in the order in which they are to be loaded.
func makeInitrd(ctx context.Context, dir string) (path string, err error) {
	releases, err := filepath.Glob(kernelDir + "/lib/modules/*")
	if err != nil || len(releases) != 1 {
		return "", fmt.Errorf("no kernel in %s: tools/kernel.sh fetches it (make test does)", kernelDir)
	}
	root := filepath.Join(dir, "initrd")
	script := `set -e
mkdir -p "$1/bin" "$1/modules" "$1/proc"
cp "$(command -v busybox)" "$1/bin/"
n=100
for module in $(modprobe -d ` + kernelDir + ` -S "$2" -a --show-depends ` + strings.Join(early, " ") + ` | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
	cp "$module" "$1/modules/$n.ko"
	n=$((n + 1))
done
cd "$1"
find . | busybox cpio -o -H newc >../initrd.cpio`
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(root, "init"), []byte(initScript), 0o700); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", script, "sh", root, filepath.Base(releases[0]))
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the initial memory disk: %w: %s", err, said)
	}
	return root + ".cpio", nil
}
