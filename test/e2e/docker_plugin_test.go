package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/lab"
)

const pluginSocket = "/run/docker/plugins/catenet.sock"

// call asks the plugin as dockerd would, and returns the answer.
func call(h *lab.Host, t testing.TB, what, body string) map[string]any {
	t.Helper()
	out := h.MustRun("curl", "-s", "--unix-socket", pluginSocket, "-d", body, "http://catenet/"+what)
	var answer map[string]any
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%s: %v in %q", what, err, out)
	}
	return answer
}

// TestDockerPluginRepeats goes through the life of a network and a container as
// dockerd does. Each request comes twice, with our daemon killed in between: what
// dockerd asks again for because no answer came is done once, and remembered.
func TestDockerPluginRepeats(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Own()
	start := func() { t.Helper(); h.Daemon("--docker-plugin", "--docker-host=") }
	start()
	twice := func(what, body string) map[string]any {
		t.Helper()
		first := call(h, t, what, body)
		if first["Err"] != nil {
			t.Fatalf("%s: %v", what, first["Err"])
		}
		h.Kill()
		start()
		if second := call(h, t, what, body); fmt.Sprint(second) != fmt.Sprint(first) {
			t.Errorf("%s was answered with %v, and then %v", what, first, second)
		}
		return first
	}
	network, endpoint, other := catenet.NewID(), catenet.NewID(), catenet.NewID()
	const pool = `"PoolID":"10.66.0.0/24"`
	in := fmt.Sprintf(`"NetworkID":%q,"EndpointID":%q`, network, endpoint)
	h.MustRun("ip", "link", "set", "lo", "up")

	twice("IpamDriver.RequestPool", `{"AddressSpace":"catenet","Pool":"10.66.0.0/24","SubPool":"10.66.0.128/25","Options":null,"V6":false}`)
	twice("IpamDriver.RequestAddress", `{`+pool+`,"Address":"","Options":{"RequestAddressType":"com.docker.network.gateway"}}`)
	h.Refused([]string{"10.66.0.0/24"}, "network", "create", "--subnet", "10.66.0.0/24", "mine") // it is promised
	twice("NetworkDriver.CreateNetwork", `{"NetworkID":"`+network+`","Options":{"com.docker.network.generic":{"com.docker.network.driver.mtu":"1400"}},
		"IPv4Data":[{"AddressSpace":"catenet","Pool":"10.66.0.0/24","Gateway":"10.66.0.1/24"}],"IPv6Data":[]}`)
	if a := call(h, t, "IpamDriver.RequestAddress", `{`+pool+`,"Address":""}`); a["Address"] != "10.66.0.128/24" {
		t.Errorf("an address of the range: %v", a)
	}
	twice("NetworkDriver.CreateEndpoint", `{`+in+`,"Interface":{"Address":"10.66.0.128/24","MacAddress":"02:42:de:ad:be:ef"},"Options":{}}`)
	if a := call(h, t, "NetworkDriver.CreateEndpoint", fmt.Sprintf(`{"NetworkID":%q,"EndpointID":%q,"Interface":{"Address":"10.66.0.128/24"}}`, network, other)); a["Err"] == nil {
		t.Error("another endpoint gets the same address")
	}
	joined := twice("NetworkDriver.Join", `{`+in+`,"SandboxKey":"/run/netns/late","Options":{}}`)
	if joined["Gateway"] != "10.66.0.1" {
		t.Errorf("joined: %v", joined)
	}
	twice("NetworkDriver.ProgramExternalConnectivity", `{`+in+`,"Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080,"HostPortEnd":8080,"HostIP":""}]}}`)
	name := "docker-late"
	if st := status(h, name); !st.Expected || st.Endpoints[0].ID != endpoint || st.Endpoints[0].MAC != "02:42:de:ad:be:ef" {
		t.Errorf("joined: %+v", st)
	}
	if got := h.Catenet("port", name); !strings.Contains(got, "0.0.0.0:8080") {
		t.Errorf("its ports: %s", got)
	}

	// Now the runtime makes the namespace, and takes the link in.
	link := joined["InterfaceName"].(map[string]any)["SrcName"].(string)
	h.MustRun("ip", "netns", "add", "late")
	h.MustRun("ip", "link", "set", link, "netns", "late", "name", "eth0")
	h.MustRun("ip", "-n", "late", "link", "set", "lo", "up")
	h.MustRun("ip", "-n", "late", "addr", "add", "10.66.0.128/24", "dev", "eth0")
	h.MustRun("ip", "-n", "late", "link", "set", "eth0", "up")
	inside := h.MustRun("ip", "-n", "late", "-br", "addr")
	known := func(when string) {
		t.Helper()
		l.Eventually(soon, func() string {
			return absent(h.Run("ip", "netns", "exec", "late", "busybox", "nslookup", name, "127.0.0.11").Text(), "10.66.0.128")
		})
		if got := h.MustRun("ip", "-n", "late", "-br", "addr"); got != inside {
			t.Errorf("%s, inside it is\n%s\nand was\n%s", when, got, inside)
		}
	}
	known("taken in")
	h.Kill()
	start()
	known("after a start")
	if got := h.Log(); strings.Contains(got, "put back") {
		t.Error("what is inside is not ours to repair")
	}

	for _, what := range []string{"NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"} {
		twice(what, `{`+in+`}`)
	}
	call(h, t, "NetworkDriver.DeleteEndpoint", fmt.Sprintf(`{"NetworkID":%q,"EndpointID":%q}`, network, other))
	h.Refused([]string{"10.66.0.128"}, "run", "--network", "docker-"+catenet.ShortID(network), "--ip", "10.66.0.128", "--", "true") // it is dockerd's still
	twice("IpamDriver.ReleaseAddress", `{`+pool+`,"Address":"10.66.0.128"}`)
	twice("NetworkDriver.DeleteNetwork", `{"NetworkID":"`+network+`"}`)
	twice("IpamDriver.ReleaseAddress", `{`+pool+`,"Address":"10.66.0.1"}`)
	twice("IpamDriver.ReleasePool", `{`+pool+`}`)
	h.Catenet("network", "create", "--subnet", "10.66.0.0/24", "mine")
	h.MustRun("ip", "netns", "del", "late")
}

// TestDockerJoins: what dockerd is told to do inside is what we would have done:
// the network's static routes, no way out of an internal one, the ways by the
// gateway where containers do not reach each other.
func TestDockerJoins(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := l.Host("a")
	h.Own()
	h.Daemon("--docker-plugin", "--docker-host=")
	for i, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--route", "10.9.0.0/16,10.67.0.2", "-o", "com.docker.network.container_iface_prefix=lan"},
			`{"InterfaceName":{"SrcName":"ctp…","DstPrefix":"lan"},"Gateway":"10.67.0.1","StaticRoutes":[{"Destination":"10.9.0.0/16","RouteType":0,"NextHop":"10.67.0.2"}],"DisableGatewayService":false}`},
		{[]string{"--internal"}, `{"InterfaceName":{"SrcName":"ctp…","DstPrefix":"eth"},"DisableGatewayService":true}`},
		{[]string{"-o", "com.docker.network.bridge.enable_icc=false"},
			`{"InterfaceName":{"SrcName":"ctp…","DstPrefix":"eth"},"Gateway":"10.67.0.1","StaticRoutes":[{"Destination":"10.67.0.1/32","RouteType":1},{"Destination":"10.67.0.0/25","RouteType":0,"NextHop":"10.67.0.1"},{"Destination":"10.67.0.128/25","RouteType":0,"NextHop":"10.67.0.1"}],"DisableGatewayService":false}`},
	} {
		name, network, endpoint := fmt.Sprintf("n%d", i), catenet.NewID(), catenet.NewID()
		h.Catenet(append(append([]string{"network", "create", "--subnet", "10.67.0.0/24"}, c.args...), name)...)
		in := fmt.Sprintf(`"NetworkID":%q,"EndpointID":%q`, network, endpoint)
		for _, step := range [][2]string{
			{"IpamDriver.RequestPool", `{"AddressSpace":"catenet","Pool":"10.67.0.0/24","Options":{"catenet.network":"` + name + `"}}`},
			{"NetworkDriver.CreateNetwork", `{"NetworkID":"` + network + `","Options":{"com.docker.network.generic":{"catenet.network":"` + name + `"}},"IPv4Data":[{"AddressSpace":"catenet","Pool":"10.67.0.0/24"}]}`},
			{"NetworkDriver.CreateEndpoint", `{` + in + `,"Interface":{"Address":"10.67.0.9/24"}}`},
		} {
			if a := call(h, t, step[0], step[1]); a["Err"] != nil {
				t.Fatalf("%s: %s: %v", name, step[0], a["Err"])
			}
		}
		got := h.MustRun("curl", "-s", "--unix-socket", pluginSocket, "-d", `{`+in+`,"SandboxKey":"/run/never"}`, "http://catenet/NetworkDriver.Join")
		if got = strings.Replace(strings.TrimSpace(got), "ctp"+catenet.ShortID(endpoint), "ctp…", 1); got != c.want {
			t.Errorf("%v: joined\n%s\nwant\n%s", c.args, got, c.want)
		}
		call(h, t, "NetworkDriver.DeleteEndpoint", `{`+in+`}`)
		call(h, t, "NetworkDriver.DeleteNetwork", `{"NetworkID":"`+network+`"}`)
		h.Catenet("network", "rm", name) // which was there before
	}
}
