package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCRI: pods of containerd's and a container of our own are on one network, by
// name and by the host's ports, whichever daemon was killed; and what a pod had goes
// with it, also while catenetd is away.
func TestCRI(t *testing.T) {
	c := newCRI(t)
	c.conf("1.0.0", "pods", `{"type":"catenet","daemon":"`+c.a.Socket()+`","bridge":"pods0","isGateway":true,"ipMasq":true,
		"capabilities":{"portMappings":true,"bandwidth":true,"dns":true},
		"ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}`)
	c.startRuntime()
	c.pull()
	c.out.Start("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--conf-file=/dev/null",
		"--listen-address="+c.out.Addr4.String(), "--bind-interfaces", "--address=/elsewhere.test/198.51.100.7")
	web := c.pod(&cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "web", Namespace: "prod", Uid: "u1"},
		PortMappings: []*cri.PortMapping{{ContainerPort: 80, HostPort: 8080}},
		Annotations:  map[string]string{"kubernetes.io/egress-bandwidth": "8M"},
		DnsConfig:    &cri.DNSConfig{Servers: []string{"127.0.0.11", c.out.Addr4.String()}, Searches: []string{"prod"}, Options: []string{"ndots:1"}},
		Linux:        &cri.LinuxPodSandboxConfig{},
	})
	db := c.pod(&cri.PodSandboxConfig{
		Metadata:  &cri.PodSandboxMetadata{Name: "db", Namespace: "prod", Uid: "u2"},
		DnsConfig: &cri.DNSConfig{Servers: []string{"127.0.0.11"}},
		Linux:     &cri.LinuxPodSandboxConfig{},
	})
	c.serve("bare", "--network", "pods")

	if st := status(c.a, "web.prod"); web.ip != st.Endpoints[0].IPv4.Addr().String() || st.RuntimeID != web.id || st.Endpoints[0].Spec.Bandwidth.Out.Bits != 8_000_000 {
		t.Errorf("containerd tells of %s at %s, and catenet of %+v", web.id, web.ip, st)
	}
	if got := web.run("cat", "/etc/resolv.conf"); got != fmt.Sprintf("search prod\nnameserver 127.0.0.11\nnameserver %s\noptions ndots:1\n", c.out.Addr4) {
		t.Errorf("resolv.conf: %q", got)
	}
	check := func(when string) {
		t.Helper()
		ask := func(name string) []string { return []string{"nc", "-w", "2", name, "80"} }
		port := func(addr string) []string { return []string{"nc", "-w", "2", addr, "8080"} }
		for _, one := range []struct {
			want string
			says func(args ...string) string
			args []string
		}{
			{"db too", web.run, ask("db")}, // by the search list
			{"db too", web.run, ask("db.prod")},
			{"web too", db.run, ask("web.prod")},
			{"bare ", db.run, ask("bare")},
			{"web too", func(args ...string) string { return c.a.Exec("bare", append([]string{"busybox"}, args...)...).Text() }, ask("web.prod")},
			{"web too", func(args ...string) string { return c.out.Run("busybox", args...).Text() }, port(c.a.Addr4.String())},
			{"web too", func(args ...string) string { return c.a.Run("busybox", args...).Text() }, port("127.0.0.1")},
			{"198.51.100.7", web.run, []string{"nslookup", "elsewhere.test", "127.0.0.11"}},
		} {
			c.Eventually(soon, func() string {
				if said := one.says(one.args...); !strings.Contains(said, one.want) {
					return fmt.Sprintf("%s, %v says %q, want %q", when, one.args, said, one.want)
				}
				return ""
			})
		}
	}
	check("at first")
	c.containerd.Signal(syscall.SIGKILL)
	c.startRuntime()
	check("containerd killed")
	c.a.Kill()
	c.a.Daemon()
	check("catenetd killed")

	web.remove(t.Context())
	c.silent(c.out, "", "tcp", at(c.a.Addr4, 8080))
	c.a.Kill()
	if err := db.stop(t.Context()); err != nil {
		t.Errorf("a pod that ends while catenetd is away: %v", err)
	}
	c.a.Daemon()
	if ps := c.a.Catenet("ps", "-a", "--format", "{{.Name}}"); ps != "bare" {
		t.Errorf("left: %s", ps)
	}
	db.remove(t.Context())
	if left, err := os.ReadDir(c.dir + "/state/netns"); err == nil && len(left) > 0 {
		t.Errorf("left of the pods' namespaces: %v", left)
	}
}
