package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// envSquat has the test binary listen at that abstract name, take nothing,
// and fill its queue, until its input ends.
const envSquat = "CATENET_TEST_SQUAT"

func TestMain(m *testing.M) {
	if name := os.Getenv(envSquat); name != "" {
		squat(name)
		return
	}
	os.Exit(m.Run())
}

func squat(name string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + name}), unix.Listen(fd, 1))
	}
	for err == nil {
		_, err = net.Dial("unix", "@"+name)
	}
	if errors.Is(err, unix.EAGAIN) {
		fmt.Println("full")
	} else {
		fmt.Println(err)
	}
	io.Copy(io.Discard, os.Stdin)
}

func testName(t *testing.T) string { return fmt.Sprintf("%s-%d", t.Name(), os.Getpid()) }

// TestOfClaimsAtOnceTheFirstByNameIsGranted: not all of them give way.
func TestOfClaimsAtOnceTheFirstByNameIsGranted(t *testing.T) {
	name := testName(t)
	claim := func(digit string) (string, *net.UnixListener) {
		mine := name + "-" + strings.Repeat(digit, 16)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + mine, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		uphold(l, new(atomic.Bool))
		return mine, l
	}
	first, l := claim("0")
	defer l.Close()
	second, other := claim("1")
	// Whoever took the second for settled would give way before it does.
	if _, settled, err := listener(second); settled || err != nil {
		t.Errorf("a claim that may yet give way is settled: %v, %v", settled, err)
	}
	granted := make(chan error)
	go func() { granted <- rival(name, first) }()
	if err := rival(name, second); !catenet.IsConflict(err) {
		t.Errorf("the second of two at once: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := <-granted; err != nil {
		t.Errorf("the first of two at once: %v", err)
	}
}

func TestClaimIsForOneUntilItEnds(t *testing.T) {
	name := testName(t)
	first, err := Claim(name)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	for range 200 { // more than its queue holds
		_, err = Claim(name)
	}
	if !catenet.IsConflict(err) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || !strings.Contains(catenet.HintOf(err), "@"+name) {
		t.Errorf("a second claim: %v (%s)", err, catenet.HintOf(err))
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Claim(name) // the child has not inherited it
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestClaimsOfOtherNamespacesDoNotCount(t *testing.T) {
	t.Parallel()
	name := testName(t)
	here, err := Claim(name)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	kerneltest.New(t).MustDo(func() error {
		there, err := Claim(name)
		if err != nil {
			return err
		}
		defer there.Close()
		if _, err := Claim(name); !catenet.IsConflict(err) {
			t.Errorf("a second claim there: %v", err)
		}
		return nil
	})
}

// TestNobodyButRootStandsInAClaimsWay has a user listen at all names that look
// like a claim, and keep others from seeing who it is.
func TestNobodyButRootStandsInAClaimsWay(t *testing.T) {
	t.Parallel()
	name := testName(t)
	for _, squatted := range []string{name, name + "-0123456789abcdef"} {
		user := exec.Command("/proc/self/exe")
		user.Env = append(os.Environ(), envSquat+"="+squatted)
		user.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		in, err := user.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := user.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := user.Start(); err != nil {
			t.Fatal(err)
		}
		defer user.Wait()
		defer in.Close()
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "full\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	begin := time.Now()
	c, err := Claim(name)
	if err != nil {
		t.Fatalf("a user stands in the way: %v", err)
	}
	defer c.Close()
	if took := time.Since(begin); took > 3*claimPatience {
		t.Errorf("it took %v", took)
	}
	if _, err := Claim(name); !catenet.IsConflict(err) {
		t.Errorf("a second claim beside the user's: %v", err)
	}
}
