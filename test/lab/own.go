package lab

import (
	"fmt"
)

// own gives a mount namespace its own /run, /etc and /var/lib: /run is empty at
// first, the others are as the machine's. What is changed there is nobody else's
// to see, and goes with it. It is below the lab's folder, by which the ledger
// finds whoever is left in there.
const own = `set -e
for d in run etc/new etc/work var/lib/new var/lib/work; do mkdir -p "$0/$d"; done
for d in etc var/lib; do
	mount -t overlay overlay -o "lowerdir=/$d,upperdir=$0/$d/new,workdir=$0/$d/work" "/$d"
done
mount --bind "$0/run" /run
mkdir /run/netns
echo ready
exec sleep infinity`

// Own gives the host folders of its own where programs of others keep what they
// share on a machine: /run, /etc and /var/lib. It holds for what is started from
// now on.
func (h *Host) Own() {
	h.lab.T.Helper()
	p := h.Start("unshare", "--mount", "sh", "-c", own, h.Dir+"/own")
	h.lab.Eventually(patience, func() string {
		if out := p.Output(); out != "ready\n" || p.Ended() {
			return "no folders of its own: " + out
		}
		return ""
	})
	h.mounts = fmt.Sprintf("/proc/%d/ns/mnt", p.Pid)
}

// enter are the arguments of nsenter(1) for a program of the host.
func (h *Host) enter(name string, args ...string) []string {
	in := []string{"--net=" + h.NS.Path}
	if h.mounts != "" {
		in = append(in, "--mount="+h.mounts)
	}
	return append(append(in, "--", name), args...)
}
