package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/lab"
)

// feed calls our program as Podman would, with a request.
func (p *podman) feed(request string, args ...string) lab.Result {
	return p.Feed(request, "env", append(append(slices.Clone(p.env), lab.Binaries(p.t)+"/catenet-netavark"), args...)...)
}

// failed wants a call to fail as Podman reads it, and to say the words.
func (p *podman) failed(r lab.Result, words ...string) {
	p.t.Helper()
	var failure struct{ Error string }
	if err := json.Unmarshal([]byte(r.Stdout), &failure); err != nil || r.Code != 1 {
		p.t.Errorf("exit %d, %v: %s", r.Code, err, r.Text())
	}
	for _, w := range words {
		if !strings.Contains(failure.Error, w) {
			p.t.Errorf("no %q in %q", w, failure.Error)
		}
	}
}

// TestNetavarkReplayed makes calls that this Podman does not make: those of
// later ones, of netavark for its plugins, and wrong ones.
func TestNetavarkReplayed(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Own()
	h.MustRun("mkdir", "-p", "/etc/containers/networks")
	h.Daemon()
	p := &podman{h, t, []string{"CATENET_HOST=unix://" + h.Socket()}}
	for _, ns := range []string{"one", "two"} {
		h.MustRun("ip", "netns", "add", ns)
	}
	replayLater(t, p)
	replayPlugin(t, p)
	replayWrong(t, p)
	for _, ns := range []string{"one", "two"} {
		h.MustRun("ip", "netns", "del", ns)
	}
}

// done wants a call to succeed, and reads what it says.
func (p *podman) done(r lab.Result, v any) {
	p.t.Helper()
	if r.Code != 0 {
		p.t.Fatalf("exit %d: %s", r.Code, r.Text())
	}
	if v == nil && r.Stdout != "" {
		p.t.Errorf("it says %s", r.Stdout)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(r.Stdout), v); err != nil {
			p.t.Fatalf("%v: %s", err, r.Stdout)
		}
	}
}

// told is what setup says of one network.
type told struct {
	Servers    []string `json:"dns_server_ips"`
	Interfaces map[string]struct {
		MAC     string `json:"mac_address"`
		Subnets []struct{ IPNet, Gateway string }
	}
}

const later = `{"container_id":"6ce776ea58b5","container_name":"late","container_hostname":"x","dns_servers":["192.0.2.53"],
"port_mappings":[{"host_ip":"","container_port":80,"host_port":8080,"range":2,"protocol":"tcp,udp"}],
"networks":[{"name":"zz","static_ips":["10.90.0.5"],"interface_name":"eth0","aliases":["a"],"options":null},
 {"name":"aa","static_ips":["10.91.0.5"],"interface_name":"eth1"}],
"network_info":{
 "zz":{"name":"zz","id":"1111111111111111111111111111111111111111111111111111111111111111","driver":"bridge","network_interface":"podman7","subnets":[{"subnet":"10.90.0.0/24","gateway":"10.90.0.1","lease_range":null}],
  "routes":[{"destination":"10.99.0.0/16","gateway":"10.90.0.9","metric":7}],"network_dns_servers":["192.0.2.54"],"ipv6_enabled":false,"internal":false,"dns_enabled":true,
  "options":{"mtu":"1300","isolate":"strict","metric":"50"},"ipam_options":{"driver":"host-local"},"something":"new"},
 "aa":{"name":"aa","id":"2222222222222222222222222222222222222222222222222222222222222222","driver":"bridge","network_interface":"podman8","subnets":[{"subnet":"10.91.0.0/24","gateway":"10.91.0.1"}],"ipv6_enabled":false,"internal":false,"dns_enabled":false}}}`

// replayLater: what netavark 2 is told, and create and update.
func replayLater(t *testing.T, p *podman) {
	p.env = append(p.env, "NETAVARK_FW=nftables")
	common := []string{"--config", "/run/x", "--rootless=false", "--aardvark-binary=/x", "--plugin-directory", "/a", "--plugin-directory=/b", "--firewall-driver", "nftables"}
	call := func(stdin string, args ...string) lab.Result {
		return p.feed(stdin, append(slices.Clone(common), args...)...)
	}
	for range 2 { // the second time, an answer was lost
		var got map[string]told
		p.done(call(later, "setup", "/run/netns/one"), &got)
		if s := got["zz"]; len(got) != 2 || len(s.Servers) != 1 || !strings.HasPrefix(s.Servers[0], "127.") || s.Interfaces["eth0"].Subnets[0].IPNet != "10.90.0.5/24" || len(got["aa"].Servers) != 0 {
			t.Errorf("setup: %+v", got)
		}
	}
	routes := p.MustRun("ip", "netns", "exec", "one", "ip", "route")
	for _, want := range []string{"default via 10.90.0.1 dev eth0", "10.99.0.0/16 via 10.90.0.9 dev eth0", "metric 7"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in %s", want, routes)
		}
	}
	if got := p.Catenet("port", "late"); got != "80/tcp -> 0.0.0.0:8080\n80/udp -> 0.0.0.0:8080\n81/tcp -> 0.0.0.0:8081\n81/udp -> 0.0.0.0:8081" {
		t.Errorf("ports: %s", got)
	}
	p.done(p.feed("", "update", "zz", "--network-dns-servers", "192.0.2.55,192.0.2.56"), nil)
	if got := p.MustRun("curl", "-s", "--unix-socket", p.Socket(), "http://x/v1/networks/zz"); !strings.Contains(got, `"dns":["192.0.2.55","192.0.2.56"]`) {
		t.Errorf("after update: %s", got)
	}
	p.done(p.feed("", "update", "unheard-of", "--network-dns-servers", ""), nil)
	p.done(p.feed("", "update", "zz", "--network-dns-servers", "192.0.2.54"), nil)
	// A namespace that is not the container's any more: it was started anew.
	p.done(call(strings.Replace(later, `"metric":"50"`, `"no_default_route":"true"`, 1), "setup", "/run/netns/two"), &map[string]told{})
	if got := status(p.Host, "late").Netns; got != "/run/netns/two" {
		t.Errorf("its namespace is %s", got)
	}
	if got := p.MustRun("ip", "netns", "exec", "two", "ip", "route"); !strings.Contains(got, "default via 10.91.0.1 dev eth1") || strings.Contains(got, "default via 10.90") {
		t.Errorf("no default route by zz: %s", got)
	}
	for range 2 { // twice, and the second time of nobody
		p.done(call(later, "teardown", "/run/netns/gone"), nil)
	}
	if r := p.Try("inspect", "late"); r.Code == 0 {
		t.Error("it is in its networks after its teardown")
	}
	var made struct {
		Name, Driver, Extra string
		Interface           string `json:"network_interface"`
		Subnets             []struct {
			Subnet string
			Lease  struct {
				Start string `json:"start_ip"`
			} `json:"lease_range"`
		}
	}
	creation := `{"network":{"name":"%s","id":"%064d","driver":"bridge","extra":"kept","dns_enabled":true,"internal":false,"ipv6_enabled":false},
		"used":{"interfaces":["podman0"],"names":{"zz":"1"},"subnets":["10.92.0.0/24"]},
		"options":{"subnet_pools":[{"base":"10.92.0.0/16","size":24}],"default_interface_name":"podman","check_used_subnets":true}}`
	p.done(p.feed(fmt.Sprintf(creation, "bb", 3), "create"), &made)
	if made.Name != "bb" || made.Extra != "kept" || made.Interface != "podman1" || len(made.Subnets) != 1 ||
		made.Subnets[0].Subnet != "10.92.1.0/24" || made.Subnets[0].Lease.Start != "10.92.1.1" {
		t.Errorf("create: %+v", made)
	}
	p.failed(p.feed(fmt.Sprintf(creation, "zz", 4), "create"), "zz already")
}

// replayPlugin: the calls that netavark makes of a plugin.
func replayPlugin(t *testing.T, p *podman) {
	var info map[string]string
	p.done(p.feed("", "info"), &info)
	if info["api_version"] != "1.0.0" || info["version"] == "" {
		t.Errorf("info: %v", info)
	}
	p.Catenet("network", "create", "--subnet", "10.93.0.0/24", "known")
	var def map[string]any
	p.done(p.feed(`{"name":"known","id":"`+strings.Repeat("5", 64)+`","driver":"catenet","created":"2026-01-01T00:00:00Z","ipv6_enabled":false,"internal":false,"dns_enabled":false,"ipam_options":{"driver":"host-local"}}`, "create"), &def)
	if got := fmt.Sprintln(def["subnets"], def["driver"], def["id"]); !strings.Contains(got, "10.93.0.0/24") || !strings.Contains(got, "10.93.0.127") || !strings.Contains(got, "catenet 5555") {
		t.Errorf("create: %v", def)
	}
	text, err := json.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	request := `{"container_id":"752947ff91f9","container_name":"plug","port_mappings":[],"network":` + string(text) +
		`,"network_options":{"aliases":["752947ff91f9"],"interface_name":"eth0","static_ips":["10.93.0.50"],"static_mac":"aa:bb:cc:dd:aa:00"}}`
	var got told
	p.done(p.feed(request, "setup", "/run/netns/one"), &got)
	if i := got.Interfaces["eth0"]; i.MAC != "aa:bb:cc:dd:aa:00" || i.Subnets[0].IPNet != "10.93.0.50/24" {
		t.Errorf("setup: %+v", got)
	}
	p.done(p.feed(request, "teardown", "/run/netns/one"), nil)
	pluginTwice(t, p)
	p.failed(p.feed(`{"name":"odd","id":"6","driver":"catenet","options":{"driver":"teleport"}}`, "create"), "teleport")
}

// pluginTwice: netavark asks once for each network of a container. What it
// publishes waits for the one that leads outside.
func pluginTwice(t *testing.T, p *podman) {
	ask := func(verb, network, address string, internal bool) lab.Result {
		return p.feed(fmt.Sprintf(`{"container_id":"7529","container_name":"plug","port_mappings":[{"host_ip":"","container_port":80,"host_port":8099,"range":1,"protocol":"tcp"}],
			"network":{"name":%q,"id":"%064d","driver":"catenet","subnets":[{"subnet":"%s0/24","gateway":"%s1"}],"internal":%t,"ipv6_enabled":false,"dns_enabled":true},
			"network_options":{"interface_name":%q,"static_ips":["%s9"]}}`, network, 7, address, address, internal, network+"0", address), verb, "/run/netns/one")
	}
	p.done(ask("setup", "in", "10.95.0.", true), &told{})
	if got := p.Catenet("port", "plug"); got != "" {
		t.Errorf("published on an internal network: %s", got)
	}
	p.done(ask("setup", "by", "10.96.0.", false), &told{})
	if got := p.Catenet("port", "plug"); got != "80/tcp -> 0.0.0.0:8099" {
		t.Errorf("published: %q", got)
	}
	p.done(ask("teardown", "by", "10.96.0.", false), nil)
	if eps := status(p.Host, "plug").Endpoints; len(eps) != 1 || eps[0].Interface != "in0" {
		t.Errorf("left: %+v", eps)
	}
	p.done(ask("teardown", "in", "10.95.0.", true), nil)
}

// replayWrong: each is refused by the name of what is wrong, and nothing is
// made.
func replayWrong(t *testing.T, p *podman) {
	if r := p.feed("", "--version"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "catenet-netavark ") {
		t.Errorf("--version: %+v", r)
	}
	var version map[string]string
	p.done(p.feed("", "version"), &version)
	p.done(p.feed("", "firewall-reload"), nil)
	p.Catenet("run", "-d", "--name", "keeper", "--network", "zz", "--", "sleep", "600")
	for _, c := range []struct{ old, new, words string }{
		{`"isolate":"strict"`, `"vlan":"7"`, "vlan"},
		{`"isolate":"strict"`, `"vrf":"blue"`, "vrf"},
		{`"isolate":"strict"`, `"isolate":"somewhat"`, "somewhat"},
		{`"isolate":"strict"`, `"mode":"unmanaged"`, "mode=unmanaged"},
		{`"metric":"50"`, `"metric":"-1"`, "metric"},
		{`"driver":"bridge","network_interface":"podman7"`, `"driver":"macvlan","network_interface":"eth0"`, "macvlan"},
		{`"driver":"host-local"`, `"driver":"dhcp"`, "dhcp"},
		{`"metric":7`, `"metric":7,"route_type":"blackhole"`, "blackhole"},
		{`"static_ips":["10.90.0.5"]`, `"static_ips":["10.90.0.5","10.90.0.6"]`, "several addresses"},
		{`"options":null`, `"options":{"host_interface_name":"x"}`, "host_interface_name"},
		{`"10.90.0.0/24","gateway":"10.90.0.1"`, `"10.94.0.0/24","gateway":"10.94.0.1"`, "10.94.0.0/24"}, // not as it is here
		{`"internal":false,"dns_enabled":true`, `"internal":true,"dns_enabled":true`, "internal"},
		{`"range":2`, `"range":60000`, "too many"},
		{`"protocol":"tcp,udp"`, `"protocol":"icmp"`, "icmp"},
		{`"host_ip":""`, `"host_ip":"here"`, "here"},
		{`"network_info":{`, `"network_info":{"zz":{"name":"other"},"x":`, "read request"},
		{`"6ce776ea58b5"`, `""`, "no container"},
		{`"6ce776ea58b5"`, `7`, "read request"},
		{`"6ce776ea58b5"`, `"` + strings.Repeat("x", 100_000) + `"`, "100000 characters"},
		{`"container_name":"late"`, `"container_name":"a b/c"`, "of the container"},
		{`"interface_name":"eth1"`, `"interface_name":"../x"`, "../x"},
		{`"10.90.0.5"`, `"10.90.9.5"`, "10.90.9.5"},
		{`"10.90.0.5"`, `"10.90.0.1"`, "gateway"},
		{`"10.90.0.5"`, `"nonsense"`, "read request"},
		{`"name":"aa","id"`, `"name":"../aa","id"`, "describe"},
		{`{"container_id"`, strings.Repeat(" ", 9<<20) + `{"container_id"`, "longer than"},
		{`"late"`, strings.Repeat("[", 100_000), "read request"},
	} {
		if !strings.Contains(later, c.old) {
			t.Fatalf("no %s in the request", c.old)
		}
		// zz is in use: it is not made anew.
		p.failed(p.feed(strings.Replace(later, c.old, c.new, 1), "setup", "/run/netns/one"), c.words)
	}
	p.failed(p.feed(later, "--rootless=true", "setup", "/run/netns/one"), "root", "--network")
	p.failed(p.feed(later, "--quantum", "setup", "/run/netns/one"), "--quantum")
	p.failed(p.feed(later, "setup"), "setup")
	p.failed(p.feed(later, "enchant", "x"), "enchant")
	p.failed(p.feed("", "dhcp-proxy"), "DHCP")
	for _, stdin := range []string{"", "{", "[]", later[:200]} {
		p.failed(p.feed(stdin, "setup", "/run/netns/one"), "read request")
	}
	p.failed(p.feed(later, "setup", "/etc/passwd"), "no network namespace")
	for _, path := range []string{"one", ""} {
		p.failed(p.feed(later, "setup", path), "no absolute path", "setup /run/netns/NAME")
	}
	p.failed(p.feed("", "--file", "/no\twhere", "setup", "/run/netns/one"), "no where")
	p.failed(p.feed(later, "setup", "/run/netns/nowhere"), "nowhere")
	if got := p.Catenet("ps", "--format", "{{.Name}}"); got != "keeper" {
		t.Errorf("left: %s", got)
	}
	p.env = []string{"CATENET_HOST=unix:///nowhere/catenet.sock"}
	p.failed(p.feed(later, "setup", "/run/netns/one"), "the daemon is away", "/nowhere/catenet.sock")
	p.failed(p.feed(later, "--rootless=true", "setup", "/run/netns/one"), "without root", "podman as root")
	h := filepath.Join(p.Dir, "request")
	if err := os.WriteFile(h, []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"CATENET_HOST=unix://" + p.Socket()}
	p.failed(p.feed("", "--file", h, "setup", "/run/netns/nowhere"), "nowhere")
}
