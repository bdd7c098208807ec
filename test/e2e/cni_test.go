package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// cniHost is a host with configurations of CNI's and a runtime: cnitool, of the
// specification's own module.
type cniHost struct {
	*ground
	dir        string
	containerd *lab.Process
}

var cnitool struct {
	once sync.Once
	err  error
}

func newCNI(t *testing.T) *cniHost { return cniOn(t, newGround(t)) }

// cniOn installs the plugin and cnitool on host a.
func cniOn(t *testing.T, g *ground) *cniHost {
	t.Helper()
	c := &cniHost{ground: g, dir: filepath.Join(g.a.Dir, "cni")}
	for _, sub := range []string{"conf", "bin", "lib"} {
		if err := os.MkdirAll(filepath.Join(c.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin := lab.Binaries(t)
	g.a.MustRun("cp", filepath.Join(bin, "catenet-cni"), filepath.Join(c.dir, "bin", "catenet"))
	cnitool.once.Do(func() {
		cmd := exec.Command("go", "build", "-modfile=../../tools/go.mod", "-o", filepath.Join(bin, "cnitool"), "github.com/containernetworking/cni/cnitool")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			cnitool.err = fmt.Errorf("build cnitool: %w\n%s", err, out)
		}
	})
	if cnitool.err != nil {
		t.Fatal(cnitool.err)
	}
	return c
}

// netns makes a namespace for a container.
func (c *cniHost) netns(name string) string {
	c.T.Helper()
	name = c.Name(name)
	c.a.MustRun("ip", "netns", "add", name)
	c.T.Cleanup(func() { c.a.MustRun("ip", "netns", "del", name) })
	return "/run/netns/" + name
}

// conf writes a chain of plugins.
func (c *cniHost) conf(version, name string, plugins ...string) {
	c.T.Helper()
	text := fmt.Sprintf(`{"cniVersion":%q,"name":%q,"plugins":[%s]}`, version, name, strings.Join(plugins, ","))
	if err := os.WriteFile(filepath.Join(c.dir, "conf", name+".conflist"), []byte(text), 0o644); err != nil {
		c.T.Fatal(err)
	}
}

// pods is a configuration of the plugin bridge with the type changed.
func (c *cniHost) pods(kind string) string {
	return `{"type":"` + kind + `","bridge":"pods0","isGateway":true,"ipMasq":true,"hairpinMode":true,
		"capabilities":{"portMappings":true,"bandwidth":true,"ips":true,"mac":true,"aliases":true},
		"ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/24","rangeStart":"10.88.0.50","rangeEnd":"10.88.0.99"}],[{"subnet":"fd00:88::/64"}]],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"198.51.100.0/24","gw":"10.88.0.7"}]}}`
}

// try calls cnitool, which keeps what was answered below /var/lib: in a place of
// its own.
func (c *cniHost) try(verb, network, netns string, env ...string) lab.Result {
	script := `mount --bind "$0" /var/lib && exec "$@"`
	args := []string{"--mount", "sh", "-c", script, filepath.Join(c.dir, "lib"), "env", "CATENET_HOST=unix://" + c.a.Socket(),
		"NETCONFPATH=" + filepath.Join(c.dir, "conf"), "CNI_PATH=" + filepath.Join(c.dir, "bin") + ":/usr/lib/cni"}
	return c.a.Run("unshare", append(append(args, env...), filepath.Join(lab.Binaries(c.T), "cnitool"), verb, network, netns)...)
}

func (c *cniHost) must(verb, network, netns string, env ...string) string {
	c.T.Helper()
	r := c.try(verb, network, netns, env...)
	if r.Code != 0 {
		c.T.Fatalf("cnitool %s %s %s: exit %d\n%s", verb, network, netns, r.Code, r.Text())
	}
	return r.Stdout
}

// refused wants a call to fail with words.
func (c *cniHost) refused(words, verb, network, netns string, env ...string) {
	c.T.Helper()
	if r := c.try(verb, network, netns, env...); r.Code == 0 || !strings.Contains(r.Text(), words) {
		c.T.Errorf("cnitool %s %s: exit %d, %s; want a refusal with %q", verb, network, r.Code, r.Text(), words)
	}
}

// answer has somebody answer on port 80 in a namespace.
func (c *cniHost) answer(netns, who string) {
	c.T.Helper()
	c.a.Start("nsenter", "--net="+netns, "socat", "TCP6-LISTEN:80,ipv6only=0,reuseaddr,fork", "SYSTEM:echo "+who+" $SOCAT_PEERADDR")
	c.Eventually(soon, func() string {
		if c.a.Ask(netns, "tcp", "127.0.0.1:80") == "" {
			return who + " does not answer"
		}
		return ""
	})
}

// cniResult is what an ADD answers.
type cniResult struct {
	CNIVersion string
	Interfaces []struct{ Name, MAC, Sandbox string }
	IPs        []struct {
		Address, Gateway string
		Interface        int
	}
	Routes []struct{ Dst, GW string }
}

func (c *cniHost) result(text string) (r cniResult) {
	c.T.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		c.T.Fatalf("%v: %s", err, text)
	}
	return r
}

// A chain of the reference plugins, and the same with one type changed: what a
// runtime is told is alike, and what it gets works.
func TestCNIStandsInForBridge(t *testing.T) {
	c := newCNI(t)
	c.conf("1.0.0", "ref", c.pods("bridge"))
	c.conf("1.0.0", "pods", c.pods("catenet"), `{"type":"tuning","sysctl":{"net.ipv4.conf.eth0.log_martians":"1"}}`)
	web, db := c.netns("web"), c.netns("db")

	elsewhere := c.Host("elsewhere")
	there := *c
	there.ground = &ground{c.Lab, elsewhere, c.out}
	reference := there.result(there.must("add", "ref", db))
	there.must("del", "ref", db)
	got := c.result(c.must("add", "pods", web, `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],"aliases":["www"]}`,
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web"))
	if fmt.Sprint(got.Routes) != fmt.Sprint(reference.Routes) && len(got.Routes) != len(reference.Routes) {
		t.Errorf("routes %v, the reference says %v", got.Routes, reference.Routes)
	}
	for i, ip := range got.IPs {
		want := reference.IPs[i]
		if ip.Gateway != want.Gateway || netip.MustParsePrefix(ip.Address).Masked() != netip.MustParsePrefix(want.Address).Masked() ||
			got.Interfaces[ip.Interface].Sandbox != web || got.Interfaces[ip.Interface].Name != "eth0" {
			t.Errorf("address %+v of %+v, the reference says %+v", ip, got.Interfaces, want)
		}
	}
	if got.IPs[0].Address != "10.88.0.50/24" || len(got.IPs) != len(reference.IPs) {
		t.Errorf("addresses %+v, the reference says %+v", got.IPs, reference.IPs)
	}
	routes := c.a.MustRun("nsenter", "--net="+web, "ip", "route")
	for _, want := range []string{"default via 10.88.0.1 dev eth0", "198.51.100.0/24 via 10.88.0.7 dev eth0"} {
		if !strings.Contains(routes, want) {
			t.Errorf("there is no route %q:\n%s", want, routes)
		}
	}
	if got := c.a.MustRun("nsenter", "--net="+web, "sysctl", "-n", "net.ipv4.conf.eth0.log_martians"); got != "1\n" {
		t.Errorf("the next of the chain did not work: %s", got)
	}
	c.must("check", "pods", web, `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`)
	c.refused("host port 8080 does not lead", "check", "pods", web, `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"udp"}]}`)
	c.refused("not shaped", "check", "pods", web, `CAP_ARGS={"bandwidth":{"ingressRate":1000000,"ingressBurst":1000000}}`)
	c.refused("interface eth0 already", "add", "pods", web)

	// Names, ports and a bare container on the same network.
	c.answer(web, "web")
	c.must("add", "pods", db)
	c.serve("bare", "--network", "pods")
	for _, name := range []string{"web.prod", "www"} {
		if got := c.a.MustRun("nsenter", "--net="+db, "dig", "+short", "@127.0.0.11", name); got != "10.88.0.50\n" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := c.a.MustRun("nsenter", "--net="+db, "dig", "+short", "@127.0.0.11", "bare"); strings.TrimSpace(got) != c.addr4("bare").String() {
		t.Errorf("bare is %q", got)
	}
	c.answers(c.a, db, "tcp", "10.88.0.50:80", "web")
	c.answers(c.a, db, "tcp", at(c.addr4("bare"), 80), "bare")
	c.answers(c.out, "", "tcp", at(c.a.Addr4, 8080), "web")
	c.answers(c.a, c.ns("bare"), "tcp", "10.88.0.50:80", "web")
	if ps := c.a.Catenet("ps"); !strings.Contains(ps, "web.prod") || !strings.Contains(ps, "cni") || !strings.Contains(ps, "bare") {
		t.Errorf("ps: %s", ps)
	}

	// A changed configuration is told by its keys.
	c.conf("1.0.0", "pods", strings.Replace(c.pods("catenet"), `"ipMasq":true`, `"ipMasq":false,"mtu":1400`, 1))
	c.refused("ipMasq, mtu", "add", "pods", c.netns("late"))

	for range 2 {
		c.must("del", "pods", web)
		c.must("del", "pods", db)
	}
	c.silent(c.out, "", "tcp", at(c.a.Addr4, 8080))
	if ps := c.a.Catenet("ps", "-q"); len(strings.Fields(ps)) != 1 {
		t.Errorf("ps: %s", ps)
	}
	if out := c.a.MustRun("nsenter", "--net="+web, "sh", "-c", "ip -br link; nft list tables"); strings.Contains(out, "eth0") || strings.Contains(out, "catenet") {
		t.Errorf("left in the namespace: %s", out)
	}
}

// Networks that are attached side by side are one container's, whichever comes
// first, and the last that goes takes it along.
func TestCNISeveralNetworksAtOnce(t *testing.T) {
	c := newCNI(t)
	const networks, pods = 3, 4
	for i := range networks {
		c.conf("1.1.0", fmt.Sprint("n", i), fmt.Sprintf(`{"type":"catenet","capabilities":{"portMappings":true},"bridge":"lab%d","isGateway":true,"ipMasq":true,
			"ipam":{"type":"host-local","subnet":"10.9%d.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}}`, i, i))
	}
	var places []string
	for p := range pods {
		places = append(places, c.netns(fmt.Sprint("p", p)))
	}
	each := func(verb string) {
		var wg sync.WaitGroup
		for p, netns := range places {
			for i := range networks {
				wg.Go(func() {
					ports := fmt.Sprintf(`CAP_ARGS={"portMappings":[{"hostPort":%d,"containerPort":80}]}`, 9000+10*p+i)
					if r := c.try(verb, fmt.Sprint("n", i), netns, fmt.Sprint("CNI_IFNAME=net", i), ports); r.Code != 0 {
						t.Errorf("%s n%d: %s", verb, i, r.Text())
					}
				})
			}
		}
		wg.Wait()
	}
	each("add")
	if len(strings.Fields(c.a.Catenet("ps", "-q"))) != pods {
		t.Errorf("ps: %s", c.a.Catenet("ps"))
	}
	for _, netns := range places {
		links := c.a.MustRun("nsenter", "--net="+netns, "ip", "-br", "link")
		for i := range networks {
			if !strings.Contains(links, fmt.Sprintf("net%d@", i)) {
				t.Errorf("links: %s", links)
			}
		}
	}
	// One of three goes, and its port; the others stay.
	c.answer(places[0], "p0")
	c.answers(c.out, "", "tcp", at(c.a.Addr4, 9001), "p0")
	c.must("del", "n1", places[0], "CNI_IFNAME=net1")
	c.silent(c.out, "", "tcp", at(c.a.Addr4, 9001))
	c.answers(c.out, "", "tcp", at(c.a.Addr4, 9000), "p0")
	c.must("add", "n1", places[0], "CNI_IFNAME=net1")
	c.must("status", "n1", places[0])
	// GC by hand: cnitool names no attachments.
	gc := c.a.Feed(`{"cniVersion":"1.1.0","name":"n1","type":"catenet","cni.dev/valid-attachments":[{"containerID":"somebody","ifname":"net1"}]}`,
		"env", "CATENET_HOST="+c.a.Socket(), "CNI_COMMAND=GC", "CNI_PATH=/", filepath.Join(c.dir, "bin", "catenet"))
	if gc.Code != 0 || gc.Text() != "" {
		t.Errorf("GC: exit %d, %s", gc.Code, gc.Text())
	}
	for _, netns := range places {
		links := c.a.MustRun("nsenter", "--net="+netns, "ip", "-br", "link")
		if strings.Contains(links, "net1@") || !strings.Contains(links, "net0@") || !strings.Contains(links, "net2@") {
			t.Errorf("after a GC: %s", links)
		}
	}
	each("del")
	if ps := c.a.Catenet("ps", "-q"); ps != "" {
		t.Errorf("ps: %s", ps)
	}
}

// A runtime that holds the ports which it publishes says so.
func TestCNIPortsHeld(t *testing.T) {
	c := newCNI(t)
	const caps = `"capabilities":{"portMappings":true}}`
	c.a.Catenet("network", "create", "front")
	c.conf("1.0.0", "mine", `{"type":"catenet","network":"front",`+caps)
	c.conf("1.0.0", "theirs", `{"type":"catenet","network":"front","portsHeld":true,`+caps)
	web := c.netns("web")
	c.a.Start("socat", "TCP6-LISTEN:8080,ipv6only=0,reuseaddr,fork", "SYSTEM:echo the runtime")
	c.Eventually(soon, func() string {
		return map[bool]string{true: "nobody listens"}[c.a.Ask("", "tcp", "127.0.0.1:8080") == ""]
	})
	const port = `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80}]}`
	c.refused("port 8080/tcp", "add", "mine", web, port)
	c.must("add", "theirs", web, port)
	c.answer(web, "web")
	c.answers(c.out, "", "tcp", at(c.a.Addr4, 8080), "web")
	c.must("check", "theirs", web, port)

	// It tells them for a further network too: they are the first one's.
	c.a.Catenet("network", "create", "back")
	c.conf("1.0.0", "more", `{"type":"catenet","network":"back",`+caps)
	c.must("add", "more", web, port, "CNI_IFNAME=eth1")
	c.must("del", "more", web, port, "CNI_IFNAME=eth1")
	c.answers(c.out, "", "tcp", at(c.a.Addr4, 8080), "web")
	c.must("del", "theirs", web)
}

// While the daemon is away a DEL is remembered, and all else can be tried again:
// nothing is handed out twice, whenever it was killed.
func TestCNIDaemonAway(t *testing.T) {
	c := newCNI(t)
	c.conf("1.1.0", "pods", c.pods("catenet"))
	c.conf("1.1.0", "front", `{"type":"catenet","network":"front"}`)
	web, db := c.netns("web"), c.netns("db")
	c.refused("network \"front\"", "status", "front", web)
	c.a.Catenet("network", "create", "front")
	c.must("status", "front", web)
	c.must("add", "pods", web, `CAP_ARGS={"ips":["10.88.0.60"],"portMappings":[{"hostPort":8080,"containerPort":80}]}`)
	c.a.Kill()
	c.refused("daemon is away", "status", "pods", web)
	c.refused("connect", "add", "pods", db)
	c.must("del", "pods", web)
	c.a.Daemon()
	if ps := c.a.Catenet("ps", "-q"); ps != "" {
		t.Errorf("after the DEL was caught up with: %s", ps)
	}
	if left, err := os.ReadDir(filepath.Join(c.a.RunDir(), "calls")); err != nil || len(left) > 0 {
		t.Errorf("left of the calls: %v, %v", left, err)
	}
	c.must("add", "pods", db, `CAP_ARGS={"ips":["10.88.0.60"],"portMappings":[{"hostPort":8080,"containerPort":80}]}`)
	c.must("del", "pods", db)

	// Killed while many come and go: whatever was answered, DEL and then ADD work.
	var places []string
	for i := range 6 {
		places = append(places, c.netns(fmt.Sprint("k", i)))
	}
	for range 2 {
		var wg sync.WaitGroup
		for _, netns := range places {
			wg.Go(func() { c.try("add", "pods", netns) })
		}
		c.Eventually(soon, func() string {
			if !strings.Contains(c.a.MustRun("ip", "-br", "link"), "ctn") {
				return "nobody comes"
			}
			return ""
		})
		c.a.Kill()
		wg.Wait()
		c.a.Daemon()
		seen := make(map[string]bool)
		for _, netns := range places {
			c.must("del", "pods", netns)
		}
		for _, netns := range places {
			ip := c.result(c.must("add", "pods", netns)).IPs[0].Address
			if seen[ip] {
				t.Errorf("%s was handed out twice", ip)
			}
			seen[ip] = true
		}
		for _, netns := range places {
			c.must("del", "pods", netns)
		}
	}
	if ps := c.a.Catenet("ps", "-q"); ps != "" {
		t.Errorf("ps: %s", ps)
	}
}

// A bandwidth bounds both directions, outlives the daemon, and is put back.
func TestCNIBandwidth(t *testing.T) {
	c := newCNI(t)
	c.conf("1.0.0", "pods", c.pods("catenet"))
	web := c.netns("web")
	caps := `CAP_ARGS={"bandwidth":{"ingressRate":80000,"ingressBurst":160000,"egressRate":80000,"egressBurst":160000}}`
	host := c.result(c.must("add", "pods", web, caps)).Interfaces[0].Name
	shaper := "cti" + strings.TrimPrefix(host, "ctn")
	shaped := func() bool {
		return strings.Contains(c.a.Run("tc", "qdisc", "show", "dev", host).Stdout, "rate 80Kbit") &&
			strings.Contains(c.a.Run("tc", "qdisc", "show", "dev", shaper).Stdout, "rate 80Kbit") &&
			strings.Contains(c.a.Run("tc", "filter", "show", "dev", host, "ingress").Stdout, "device "+shaper)
	}
	// 2 MB would take 200 s; what goes at once is 20 KB, and as much may wait.
	for _, way := range []struct{ from, to, addr string }{{"", web, "10.88.0.50"}, {web, "", "10.88.0.1"}} {
		in := func(ns string) []string {
			if ns == "" {
				return []string{"env"}
			}
			return []string{"nsenter", "--net=" + ns}
		}
		count := func() (n int) {
			link := map[string]string{"": "pods0", web: "eth0"}[way.to]
			cmd := append(in(way.to), "sh", "-c", `ip -s -j link show dev `+link)
			var links []struct {
				Stats64 struct{ RX struct{ Bytes int } }
			}
			if err := json.Unmarshal([]byte(c.a.MustRun(cmd[0], cmd[1:]...)), &links); err != nil {
				t.Fatal(err)
			}
			return links[0].Stats64.RX.Bytes
		}
		before := count()
		cmd := append(in(way.from), "sh", "-c", "head -c 2000000 /dev/zero | socat -u -b1000 - UDP-SENDTO:"+way.addr+":9")
		c.a.MustRun(cmd[0], cmd[1:]...)
		if got := count() - before; got < 10_000 || got > 400_000 {
			t.Errorf("to %s: %d bytes of 2,000,000", way.addr, got)
		}
	}
	c.must("check", "pods", web, caps)
	for _, harm := range [][]string{
		{"tc", "qdisc", "del", "dev", host, "root"},
		{"tc", "qdisc", "del", "dev", host, "clsact"},
		{"ip", "link", "del", shaper},
	} {
		c.a.MustRun(harm[0], harm[1:]...)
		c.Eventually(soon, func() string {
			if !shaped() {
				return "not put back after " + strings.Join(harm, " ")
			}
			return ""
		})
	}
	c.a.Kill()
	c.a.MustRun("tc", "qdisc", "del", "dev", host, "root")
	if shaped() {
		t.Error("a dead daemon has put it back")
	}
	c.a.Daemon()
	if !shaped() {
		t.Error("a start does not put it back")
	}
	c.must("check", "pods", web, caps)
	c.must("del", "pods", web)
	c.Eventually(soon, func() string {
		if links := c.a.MustRun("ip", "-br", "link"); slices.ContainsFunc([]string{host, shaper}, func(l string) bool { return strings.Contains(links, l) }) {
			return links
		}
		return ""
	})
}
