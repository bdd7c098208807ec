// Package vm runs tests on a second kernel: Debian's 6.1, with all of its
// modules, in a virtual machine. There is what the machine's own kernel may
// lack (SCTP, 8021q, ipvlan, dummy, netem, IPVS, WireGuard, ESP, Open vSwitch),
// and there is no owner of an nft table: what an older host has.
//
// A test says that it belongs there, and is written as any other:
//
//	func TestSCTP(t *testing.T) {
//		if !vm.Inside(t, vm.Guest{Modules: []string{"sctp"}}) {
//			return
//		}
//		t.Run("one address", …)
//	}
//
// Outside, Inside boots the machine, has this very test binary run this very
// test there, and reports every subtest by its name. Run does that with tests
// that are for both kernels. Nothing passes that has not run inside.
//
// The machine sees this machine's files, below an overlay that is gone when it
// ends: programs and test data are there, and nothing inside can change what is
// outside. /tmp and /run are its own. It has no network but what a test makes,
// one gigabyte of memory, and ends with the test binary that started it. The
// processor is emulated (no KVM is needed), so Go programs take about ten times
// as long.
//
// tools/kernel.sh fetches the kernel, tools/deps.sh the emulator.
package vm
