package netns

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func TestClaimIsForOneUntilItEnds(t *testing.T) {
	name := fmt.Sprintf("catenet-test-%d", os.Getpid())
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
	_, err = Claim(name)
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
