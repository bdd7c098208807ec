package e2e

import (
	"testing"

	"github.com/catenet/catenet/test/lab"
	"github.com/catenet/catenet/test/vm"
)

// guest is the second kernel with the programs of this tree.
func guest(t *testing.T, modules ...string) vm.Guest {
	t.Helper()
	// What our tables need, so that no daemon waits for it: a module takes a
	// slow machine seconds.
	modules = append(modules, "veth", "bridge", "nft_chain_nat", "nft_masq", "nft_fib_inet", "nft_ct")
	return vm.Guest{Modules: modules, Env: []string{"CATENET_BIN=" + vm.Path(lab.Binaries(t))}}
}

// TestOlderKernel runs tests of every part on a kernel that has no owner of a
// table: there the daemon watches, and puts back what was flushed.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	vm.Run(t, guest(t), "TestTheFirewallSurvivesAFlush", "TestWhatOthersRemoveIsPutBack", "TestDetachLeavesTheNamespaceAsItWas")
}
