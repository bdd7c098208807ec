package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// startContainerd runs Debian's containerd on the host, with folders of its own.
func (c *cniHost) startContainerd() {
	c.T.Helper()
	c.containerdAs(`disabled_plugins = ["io.containerd.grpc.v1.cri"]
`)
}

// containerdAs is that with more settings.
func (c *cniHost) containerdAs(settings string) {
	c.T.Helper()
	config := filepath.Join(c.dir, "containerd.toml")
	if err := os.WriteFile(config, []byte(`version = 2
root = "`+c.dir+`/root"
state = "`+c.dir+`/state"
`+settings+`[grpc]
  address = "`+c.dir+`/c.sock"
[ttrpc]
  address = "`+c.dir+`/t.sock"
`), 0o600); err != nil {
		c.T.Fatal(err)
	}
	c.containerd = c.a.Start("containerd", "--config", config)
	c.Eventually(2*soon, func() string {
		if c.containerd.Ended() {
			c.T.Fatalf("containerd has ended:\n%s", c.containerd.Output())
		}
		return map[bool]string{false: "containerd does not answer"}[c.ctr("version").Code == 0]
	})
}

// ctr calls containerd's client, which looks for configurations and plugins in two
// fixed places: it sees ours there.
func (c *cniHost) ctr(args ...string) lab.Result { return c.a.Run("unshare", c.ctrArgs(args...)...) }

// ctrArgs are the arguments of unshare(1) for a call of ctr.
func (c *cniHost) ctrArgs(args ...string) []string {
	in := []string{"--mount", "sh", "-c", `mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni/bin && mount --bind "$0/bin" /opt/cni/bin &&
		mount --bind "$0/conf" /etc/cni/net.d && mount --bind "$0/lib" /var/lib && exec "$@"`, c.dir,
		"env", "CATENET_HOST=unix://" + c.a.Socket(), "ctr", "-a", c.dir + "/c.sock"}
	return append(in, args...)
}

// Containers of containerd and of catenet's own sit on one network and know each
// other by name, also after either daemon was killed; and containerd's go when
// containerd says so.
func TestCNIContainerd(t *testing.T) {
	c := newCNI(t)
	c.a.MustRun("cp", "/usr/lib/cni/loopback", filepath.Join(c.dir, "bin"))
	c.conf("1.0.0", "pods", c.pods("catenet"))
	c.startContainerd()
	root := filepath.Join(c.dir, "rootfs")
	c.a.MustRun("sh", "-ec", `mkdir -p "$0/bin" "$0/etc"; cp /bin/busybox "$0/bin"; for n in sh httpd nc nslookup; do ln -s busybox "$0/bin/$n"; done; echo nameserver 127.0.0.11 >"$0/etc/resolv.conf"; echo guest >"$0/index.html"`, root)
	run := c.a.Start("unshare", c.ctrArgs("run", "--rm", "--cni", "--rootfs", root, "guest", "/bin/httpd", "-f", "-p", "80", "-h", "/")...)
	c.Eventually(2*soon, func() string {
		if run.Ended() {
			t.Fatalf("ctr run has ended:\n%s", run.Output())
		}
		if r := c.ctr("task", "ls"); !strings.Contains(r.Stdout, "RUNNING") || !strings.Contains(c.a.Catenet("ps"), "default-guest") {
			return r.Text() + "\n" + run.Output()
		}
		return ""
	})
	c.serve("bare", "--network", "pods")
	execs := 0
	look := func() {
		t.Helper()
		c.Eventually(soon, func() string {
			if r := c.a.Exec("bare", "curl", "-s", "http://default-guest/index.html"); r.Stdout != "guest\n" {
				return "from a bare container: " + r.Text()
			}
			return ""
		})
		for _, asks := range []string{"nc bare 80 </dev/null", "nslookup bare 127.0.0.11"} {
			execs++
			r := c.ctr("task", "exec", "--exec-id", fmt.Sprint("x", execs), "guest", "/bin/sh", "-c", asks)
			if !strings.Contains(r.Text(), "bare ") && !strings.Contains(r.Text(), c.addr4("bare").String()) {
				t.Errorf("containerd's container, %s: exit %d, %s", asks, r.Code, r.Text())
			}
		}
	}
	look()
	c.a.Kill()
	c.a.Daemon()
	look()
	c.ctr("task", "kill", "-s", "SIGKILL", "guest")
	if out := run.Wait(); strings.Contains(out, "catenet") {
		t.Errorf("ctr run says %s", out)
	}
	if ps := c.a.Catenet("ps"); strings.Contains(ps, "guest") {
		t.Errorf("ps: %s", ps)
	}
}
