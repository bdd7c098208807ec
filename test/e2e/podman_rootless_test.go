package e2e

import (
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// rootless runs Podman as a user of its own, whose programs all end with it:
// $0 is a folder, $1 that of our programs.
const rootless = `set -e
mknod -m 666 "$0/tun" c 10 200 && mount --bind "$0/tun" /dev/net/tun
echo guest:x:4242:4242::/var/lib/guest:/bin/sh >>/etc/passwd
echo guest:x:4242: >>/etc/group
echo guest:200000:65536 | tee -a /etc/subuid >>/etc/subgid
mkdir -p /var/lib/guest/bin /var/lib/guest/image/bin /run/user/4242
cp "$1/catenet-netavark" /var/lib/guest/bin/netavark
cp /bin/busybox /var/lib/guest/image/bin/sleep
cat >/var/lib/guest/containers.conf <<-END
	[engine]
	helper_binaries_dir = ["/var/lib/guest/bin", "/usr/lib/podman"]
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	runtime = "runc"
	[network]
	network_backend = "netavark"
	[containers]
	default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
END
chown -R 4242:4242 /var/lib/guest /run/user/4242
exec setpriv --reuid=4242 --regid=4242 --clear-groups env HOME=/var/lib/guest XDG_RUNTIME_DIR=/run/user/4242 CONTAINERS_CONF=/var/lib/guest/containers.conf sh -ec '
cd
podman() { command podman --storage-driver vfs --tmpdir /run/user/4242/tmp "$@"; }
tar -C image -cf image.tar .
podman import -q image.tar busybox
podman network create theirs
podman run --rm --network theirs busybox sleep 1'`

// TestPodmanWithoutRoot is refused, and says so in its own words.
func TestPodmanWithoutRoot(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Own()
	h.Daemon()
	r := h.Run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", rootless, h.Dir, lab.Binaries(t))
	const want = "netavark: Podman without root has a host of its own, which catenet's networks do not reach: run podman as root, or leave --network out\n"
	if r.Code == 0 || !strings.HasSuffix(r.Stderr, want) {
		t.Errorf("exit %d: %s", r.Code, r.Text())
	}
	if got := h.Catenet("network", "ls", "-q", "--filter", "name=theirs"); got != "" {
		t.Errorf("made: %s", got)
	}
}
