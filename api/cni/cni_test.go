package cni_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/cni"
	"github.com/catenet/catenet/api/pipe"
)

// Codes of errors.
const (
	codeVersion     = 1
	codeField       = 2
	codeEnvironment = 4
	codeDecode      = 6
	codeConfig      = 7
	codeNotReady    = 50
	codeConflict    = 100
	codeNotFound    = 101
)

// Options of a bridge, by Docker's names.
const (
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optInhibit    = "com.docker.network.bridge.inhibit_ipv4"
)

// conf is a configuration with more keys.
func conf(more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"cniVersion":"1.1.0","name":"pods","type":"catenet"` + more + `}`
}

// caller is a runtime on an engine in memory.
type caller struct {
	t *testing.T
	e *apitest.Engine
	f *cni.Front
}

func newCaller(t *testing.T) *caller {
	e := apitest.New()
	return &caller{t, e, cni.New(e)}
}

// call makes one call as a runtime does, for the container c1.
func (c *caller) call(command, conf string, env ...string) pipe.Answer {
	base := []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin"}
	return c.f.Answer(c.t.Context(), pipe.Call{Path: cni.Path, Env: append(base, env...), Stdin: []byte(conf)})
}

// must makes a call that succeeds, and returns what it printed.
func (c *caller) must(command, conf string, env ...string) string {
	c.t.Helper()
	a := c.call(command, conf, env...)
	if a.Exit != 0 {
		c.t.Fatalf("%s %s: %s", command, conf, a.Stdout)
	}
	return string(a.Stdout)
}

// refused makes a call that fails with a code and words.
func (c *caller) refused(code int, words, command, conf string, env ...string) {
	c.t.Helper()
	a := c.call(command, conf, env...)
	var told struct {
		Code         int
		Msg, Details string
	}
	if err := json.Unmarshal(a.Stdout, &told); err != nil || a.Exit == 0 || told.Code != code || !strings.Contains(told.Msg+told.Details, words) {
		c.t.Errorf("%s %s: exit %d, %s; want code %d and %q (%v)", command, conf, a.Exit, a.Stdout, code, words, err)
	}
}

func (c *caller) sandboxes() (names []string) {
	all, err := c.e.Sandboxes(c.t.Context(), true)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, sb := range all {
		for _, ep := range sb.Endpoints {
			names = append(names, sb.Name+" "+ep.Interface)
		}
	}
	slices.Sort(names)
	return names
}

func TestRefusals(t *testing.T) {
	c := newCaller(t)
	c.refused(codeVersion, "0.2.0", "ADD", `{"cniVersion":"0.2.0","name":"n"}`)
	c.refused(codeVersion, "", "ADD", `{"name":"n"}`)
	c.refused(codeVersion, "0.4.0", "CHECK", `{"cniVersion":"0.3.1","name":"n"}`)
	c.refused(codeVersion, "1.1.0", "GC", `{"cniVersion":"1.0.0","name":"n"}`)
	c.refused(codeVersion, "1.1.0", "STATUS", `{"cniVersion":"1.0.0","name":"n"}`)
	c.refused(codeDecode, "configuration", "ADD", `{`)
	c.refused(codeEnvironment, "no command", "EAT", conf(""))
	c.refused(codeEnvironment, "CNI_NETNS", "ADD", conf(""), "CNI_NETNS=")
	c.refused(codeEnvironment, "CNI_CONTAINERID", "DEL", conf(""), "CNI_CONTAINERID=")
	c.refused(codeEnvironment, "", "ADD", conf(""), "CNI_IFNAME=../x")
	c.refused(codeEnvironment, "", "ADD", conf(""), "CNI_CONTAINERID=-x")
	c.refused(codeEnvironment, "absolute", "ADD", conf(""), "CNI_NETNS=x")
	c.refused(codeEnvironment, "KEY=VALUE", "ADD", conf(""), "CNI_ARGS=x")
	c.refused(codeConfig, "", "ADD", `{"cniVersion":"1.1.0","name":"a/b"}`)
	c.refused(codeField, `"colour"`, "ADD", conf(`"colour":"red"`))
	c.refused(codeField, `"vlan"`, "ADD", conf(`"vlan":7`))
	c.refused(codeField, "dhcp", "ADD", conf(`"ipam":{"type":"dhcp"}`))
	c.refused(codeConfig, "leave one of them out", "ADD", conf(`"network":"x","mtu":1400`))
	c.refused(codeNotFound, `"x"`, "ADD", conf(`"network":"x"`))
	c.refused(codeNotReady, `"x"`, "STATUS", conf(`"network":"x"`))
	c.refused(codeConfig, "0", "ADD", conf(`"runtimeConfig":{"portMappings":[{"hostPort":0,"containerPort":80}]}`))
	c.refused(codeConfig, "one address of a family", "ADD", conf(`"runtimeConfig":{"ips":["10.0.0.1","10.0.0.2"]}`))
	c.refused(codeConfig, "isDefaultGateway", "ADD", conf(`"isGateway":true,"capabilities":{"portMappings":true},"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`))
	c.refused(codeField, "name server", "ADD", conf(`"dns":{"nameservers":["here"]}`))
	c.refused(codeField, "one family", "ADD", conf(`"isGateway":true,"ipam":{"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]}`))
	c.refused(codeField, "ends before", "ADD", conf(`"isGateway":true,"ipam":{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.9","rangeEnd":"10.1.0.8"}`))
	c.refused(codeField, "isGateway", "ADD", conf(`"ipam":{"subnet":"fd00::/64"}`))
	c.refused(codeConfig, "earlier plugin", "ADD", conf(`"prevResult":{"interfaces":[{"name":"eth0","sandbox":"/run/netns/c1"}]}`))
	c.refused(codeField, "prevResult", "CHECK", conf(""))
	c.refused(codeNotFound, "not attached", "CHECK", conf(`"prevResult":{}`))
	c.refused(codeEnvironment, "CNI_IFNAME", "ADD", conf(""), "CNI_IFNAME=sixteen-letters-")
	c.refused(codeEnvironment, "CNI_CONTAINERID", "ADD", conf(""), "CNI_CONTAINERID=a/b")
	c.refused(codeDecode, `"mtu" cannot be a string`, "ADD", conf(`"mtu":"1400"`))
	c.refused(codeDecode, `"the whole"`, "ADD", `[]`)
	for keys, words := range map[string]string{
		`"vlan":7`: `"vlan": 7`,
		`"ipam":{"subnet":"10.1.0.0/24","rangeBegin":"10.1.0.9"}`:         `"rangeBegin"`,
		`"ipam":{"ranges":[[{"subnet":"10.1.0.0/24","end":"10.1.0.9"}]]}`: `"end"`,
		`"ipam":{"ranges":[[]]}`: "empty",
		`"ipam":{"subnet":"10.1.0.0/24","routes":[{"dst":"10.0.0.0/8","mtu":1300}]}`:             `"mtu"`,
		`"ipam":{"subnet":"10.1.0.0/24","routes":[{"dst":"10.0.0.0/8","table":7}]}`:              `"table"`,
		`"ipam":{"subnet":"10.1.0.0/24","routes":[{"gw":"10.1.0.1"}]}`:                           "dst",
		`"ipam":{"subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0","priority":7}]}`:            "priority",
		`"ipam":{"subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.9"}]}`:         "10.1.0.9",
		`"runtimeConfig":{"deviceID":"x"}`:                                                       `"deviceID"`,
		`"runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1,"mark":1}]}`:           `"mark"`,
		`"dns":{"nameserver":["192.0.2.1"]}`:                                                     `"nameserver"`,
		`"network":"bridge","runtimeConfig":{"ipRanges":[[{"subnet":"10.1.0.0/24"}]]}`:           "ipRanges",
		`"ipam":{"subnet":"10.1.0.0/24","resolvConf":"/dev/zero"}`:                               "/dev/zero",
		`"isGateway":true,"ipam":{"ranges":[[{"subnet":"10.1.0.0/24"},{"subnet":"fd00::/64"}]]}`: "two families",
	} {
		c.refused(codeField, words, "ADD", conf(keys))
	}
	for wish, words := range map[string]string{
		`"portMappings":[{"hostPort":1,"containerPort":1,"protocol":"dccp"}]`: "dccp",
		`"bandwidth":{"ingressBurst":7}`:                                      "burst",
		`"aliases":["a b"]`:                                                   "alias",
		`"mac":"01:00:00:00:00:01"`:                                           "01:00:00:00:00:01",
		`"ips":["10.1.0.9/99"]`:                                               "10.1.0.9/99",
	} {
		c.refused(codeConfig, words, "ADD", conf(`"ipam":{"subnet":"10.1.0.0/24"},"runtimeConfig":{`+wish+`}`))
	}
	if left := c.sandboxes(); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
	if n, err := c.e.Network(t.Context(), "pods"); !catenet.IsNotFound(err) {
		t.Errorf("a network was made: %+v, %v", n, err)
	}
}

// What was never there goes as asked, whatever is wrong with the configuration
// that somebody may have changed since.
func TestDelSucceeds(t *testing.T) {
	c := newCaller(t)
	for _, more := range []string{"", `"network":"gone"`, `"vlan":7`, `"ipam":{"type":"dhcp"}`, `"ipam":{"subnet":"10"},"mtu":"x"`} {
		c.must("DEL", conf(more), "CNI_NETNS=")
	}
	c.must("DEL", strings.Replace(conf(""), "pods", strings.Repeat("x", 64), 1))
	for _, netns := range []string{"CNI_NETNS=", "CNI_NETNS=/proc/1/ns/net", "CNI_NETNS=/run/netns/c1"} {
		c.must("ADD", conf(""))
		c.must("DEL", conf(""), "CNI_IFNAME=eth7")
		c.must("DEL", strings.Replace(conf(""), "pods", "others", 1))
		if got := c.sandboxes(); fmt.Sprint(got) != "[c1 eth0]" {
			t.Fatalf("there are %q", got)
		}
		for range 2 {
			c.must("DEL", conf(""), netns)
		}
		if left := c.sandboxes(); len(left) > 0 {
			t.Fatalf("there are %q", left)
		}
	}
	if left := c.sandboxes(); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
}

// Each version has its own shape of a result, and what a chain has so far stands
// before ours, as it was.
func TestResult(t *testing.T) {
	for version, want := range map[string]string{"0.3.1": `"version":"4"`, "0.4.0": `"version":"4"`, "1.0.0": `{"address"`, "1.1.0": `{"address"`} {
		c := newCaller(t)
		prev := `{"cniVersion":"` + version + `","interfaces":[{"name":"dummy0","mac":"00:00:00:00:00:01","odd":[1]}],"ips":[{"address":"192.0.2.1/24","interface":0}],"routes":[{"dst":"198.51.100.0/24"}],"dns":{"nameservers":["192.0.2.53"]}}`
		out := c.must("ADD", `{"cniVersion":"`+version+`","name":"pods","prevResult":`+prev+`}`)
		var r struct {
			CNIVersion string
			Interfaces []struct{ Name, Sandbox string }
			IPs        []struct {
				Address   string
				Interface int
			}
			DNS struct{ Nameservers []string }
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		last := len(r.Interfaces) - 1
		if r.CNIVersion != version || !strings.Contains(out, `"odd":[1]`) || !strings.Contains(out, want) || !strings.Contains(out, "198.51.100.0/24") ||
			r.Interfaces[0].Name != "dummy0" || r.Interfaces[last].Name != "eth0" || r.Interfaces[last].Sandbox != "/run/netns/c1" ||
			len(r.IPs) != 2 || r.IPs[1].Interface != last || r.DNS.Nameservers[0] != "192.0.2.53" {
			t.Errorf("%s: %s", version, out)
		}
	}
}

func TestWants(t *testing.T) {
	c := newCaller(t)
	c.must("ADD", conf(`"runtimeConfig":{"aliases":["a"],"mac":"02-00-00-00-00-0C","cgroupPath":"/x","ips":["172.18.0.9/24"],"bandwidth":{"ingressRate":1000000,"ingressBurst":2000000},
		"dns":{"servers":["192.0.2.1"],"searches":["s"]},"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"UDP","hostIP":"127.0.0.1"}]},
		"args":{"cni":{"mac":"02:00:00:00:00:02","ips":["172.18.0.8"]}}`), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web;MAC=02:00:00:00:00:01;IP=172.18.0.7")
	st, err := c.e.Sandbox(t.Context(), "web.prod")
	if err != nil {
		t.Fatal(err)
	}
	spec := st.Networks[0]
	if spec.MAC != "02:00:00:00:00:0c" || spec.IPv4.String() != "172.18.0.9" || !slices.Equal(spec.Aliases, []string{"a", "web.prod"}) ||
		spec.Bandwidth.In.Bits != 1000000 || spec.Bandwidth.In.Burst != 2000000 || spec.Interface != "eth0" ||
		st.RuntimeID != "c1" || st.Owner != catenet.OwnerCNI || st.DNS.Servers[0].String() != "192.0.2.1" || st.DNS.Search[0] != "s" ||
		len(st.Ports) != 1 || st.Ports[0].Proto != catenet.UDP || st.Ports[0].HostIP.String() != "127.0.0.1" {
		t.Errorf("%+v", st.SandboxSpec)
	}
	c.must("ADD", conf(`"dns":{"domain":"example.org"}`), "CNI_CONTAINERID=c3", "CNI_NETNS=/run/netns/c3")
	if st, err := c.e.Sandbox(t.Context(), "c3"); err != nil || !slices.Equal(st.DNS.Search, []string{"example.org"}) {
		t.Errorf("of a domain becomes %+v, %v", st.DNS, err)
	}
	c.must("DEL", conf(""), "CNI_CONTAINERID=c3")
	// A second pod of that name, before the first is gone.
	c.must("ADD", conf(""), "CNI_ARGS=K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web", "CNI_CONTAINERID=c2", "CNI_NETNS=/run/netns/c2")
	if got := c.sandboxes(); fmt.Sprint(got) != "[c2 eth0 web.prod eth0]" {
		t.Errorf("there are %q", got)
	}
	// What calls its container by a hostname and an ID that is too long for a name,
	// and holds the ports that it publishes.
	c.must("ADD", conf(`"portsHeld":true,"runtimeConfig":{"portMappings":[{"hostPort":8081,"containerPort":80}]}`),
		"CNI_ARGS=IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=db", "CNI_CONTAINERID=default-"+strings.Repeat("f", 64), "CNI_NETNS=/run/netns/c4")
	if st, err := c.e.Sandbox(t.Context(), "db"); err != nil || !st.PortsHeld || !slices.Equal(st.Networks[0].Aliases, []string{"db"}) {
		t.Errorf("ports that are held become %+v, %v", st.SandboxSpec, err)
	}
}

// GC takes what is not listed, of its own configuration alone.
func TestGC(t *testing.T) {
	c := newCaller(t)
	other := strings.Replace(conf(""), "pods", "others", 1)
	c.must("ADD", conf(""))
	c.must("ADD", other, "CNI_IFNAME=eth1")
	c.must("ADD", conf(""), "CNI_CONTAINERID=c2", "CNI_NETNS=/run/netns/c2")
	c.must("GC", conf(`"cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"},{"containerID":"c1","ifname":"eth9"}]`))
	if got := c.sandboxes(); fmt.Sprint(got) != "[c1 eth1 c2 eth0]" {
		t.Errorf("there are %q", got)
	}
	c.must("GC", conf("")) // nothing was listed, which is not a list of nothing
	for _, list := range []string{`"x"`, `[7]`, `[{"containerID":7}]`, `{}`} {
		c.refused(codeDecode, "configuration", "GC", conf(`"cni.dev/valid-attachments":`+list))
	}
	if got := c.sandboxes(); fmt.Sprint(got) != "[c1 eth1 c2 eth0]" {
		t.Errorf("after lists that are none there are %q", got)
	}
	c.must("GC", conf(`"cni.dev/valid-attachments":[]`))
	if got := c.sandboxes(); fmt.Sprint(got) != "[c1 eth1]" {
		t.Errorf("there are %q", got)
	}
}

// The network of a configuration of the plugin bridge is made as that would,
// found again, and a changed one is told by its keys.
func TestBridgeConfiguration(t *testing.T) {
	const ranges = `"ipam":{"type":"host-local","dataDir":"/x","ranges":[[{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.20","rangeEnd":"10.1.0.30"},{"subnet":"10.2.0.0/24","gateway":"10.2.0.254"}],[{"subnet":"fd00:1::/64"}]],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.0.2.0/24"},{"dst":"198.51.100.0/24","gw":"10.1.0.7"}]}`
	const keys = `"bridge":"lab0","isGateway":true,"ipMasq":true,"mtu":1400,"hairpinMode":true,"promiscMode":false,"capabilities":{"portMappings":true},`
	c := newCaller(t)
	for _, cc := range []string{"c1", "c2"} {
		c.must("ADD", conf(keys+ranges), "CNI_CONTAINERID="+cc, "CNI_NETNS=/run/netns/"+cc)
	}
	n, err := c.e.Network(t.Context(), "pods")
	if err != nil {
		t.Fatal(err)
	}
	o := n.Options
	if o[catenet.OptionBridge] != "lab0" || o[optMasquerade] != "true" || o[catenet.OptionMTU] != "1400" || o[optInhibit] != "" || o[catenet.OptionGatewayMode4] != "" || !n.IPv6 || n.DisableIPv4 {
		t.Errorf("%+v", n.NetworkSpec)
	}
	pools, err := json.Marshal(n.Pools)
	if want := `[{"subnet":"10.1.0.0/24","gateway":"10.1.0.1","set_aside":["10.1.0.0-10.1.0.19","10.1.0.31-10.1.0.255"]},{"subnet":"10.2.0.0/24","gateway":"10.2.0.254"},{"subnet":"fd00:1::/64","gateway":"fd00:1::1"}]`; err != nil || string(pools) != want {
		t.Errorf("pools %s, want %s", pools, want)
	}
	if got := fmt.Sprint(n.Routes); got != "[192.0.2.0/24,10.1.0.1 198.51.100.0/24,10.1.0.7]" {
		t.Errorf("routes %s", got)
	}
	st, err := c.e.Sandbox(t.Context(), "c1")
	if err != nil || st.Networks[0].NoDefault4 || !st.Networks[0].NoDefault6 {
		t.Errorf("%+v, %v", st.Networks, err)
	}
	c.refused(codeConflict, "ipMasq, mtu", "ADD", conf(strings.NewReplacer("1400", "1500", `"ipMasq":true`, `"ipMasq":false`).Replace(keys)+ranges), "CNI_CONTAINERID=c3")

	plain := newCaller(t)
	plain.must("ADD", conf(`"ipam":{"subnet":"10.1.0.0/24"}`))
	n, err = plain.e.Network(t.Context(), "pods")
	if o = n.Options; err != nil || o[catenet.OptionBridge] != "cni0" || o[optMasquerade] != "false" || o[optInhibit] != "true" || o[catenet.OptionGatewayMode4] != "nat-unprotected" {
		t.Errorf("%+v, %v", n.NetworkSpec, err)
	}
	// One that somebody made by hand is joined by name, or not at all.
	if _, _, err := plain.e.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: "byhand"}); err != nil {
		t.Fatal(err)
	}
	plain.refused(codeConflict, `"network": "byhand"`, "ADD", strings.Replace(conf(`"mtu":1400,"isGateway":true`), "pods", "byhand", 1), "CNI_IFNAME=eth1")
	plain.must("ADD", strings.Replace(conf(`"network":"byhand"`), "pods", "x", 1), "CNI_IFNAME=eth1")
	plain.refused(codeConflict, "interface eth1 already", "ADD", strings.Replace(conf(""), "pods", "third", 1), "CNI_IFNAME=eth1")
}
