// The runtime would keep two descriptors of the cgroup's CPU limit open; the
// daemon sets GOMAXPROCS=1 for a shim anyway.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command catenet-shim runs one container for catenetd: it keeps the
// container's log and exit status, so that neither is lost when the daemon
// dies. It is not meant to be started by hand.
package main

import (
	"os"

	"github.com/catenet/catenet/internal/kernel/process/shim"
)

func main() {
	os.Exit(shim.Main(os.Args[1:]))
}
