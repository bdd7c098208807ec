package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
)

// dockerHost serves an engine with a network, front, and a container in it, web.
func dockerHost(t *testing.T) (e *apitest.Engine, host string) {
	t.Helper()
	e = apitest.New()
	if _, _, err := e.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: "front", Labels: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	_, err := e.CreateSandbox(t.Context(), catenet.SandboxSpec{
		Name: "web", Owner: catenet.OwnerAttach, Netns: "/run/netns/web", Networks: []catenet.EndpointSpec{{Network: "front"}},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	host, _ = apitest.Serve(t, e)
	return e, host
}

func TestDockerRefusals(t *testing.T) {
	e, host := dockerHost(t)
	c := raw(t, host)
	n, err := e.Network(t.Context(), "front")
	if err != nil {
		t.Fatal(err)
	}
	const create, connect, disconnect, js = "/networks/create", "/networks/front/connect", "/networks/front/disconnect", "application/json"
	for _, tc := range []struct {
		name, method, path, ctype, body string
		status                          int
		message                         string
	}{
		{"no page", "GET", "/nothing", "", "", 404, "page not found"},
		{"no page of a version", "GET", "/v1.44/nothing", "", "", 404, "page not found"},
		{"no method", "PUT", "/networks/front", "", "", 404, "page not found"},
		{"a page and a slash", "POST", create + "/", js, "{}", 404, "page not found"},
		{"too old", "GET", "/v1.24/networks", "", "", 400, "client version 1.24 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version"},
		{"too new", "GET", "/v1.99/networks", "", "", 400, "client version 1.99 is too new. Maximum supported API version is 1.56"},
		{"too new by far", "GET", "/v2/networks", "", "", 400, "client version 2 is too new. Maximum supported API version is 1.56"},
		{"no network", "GET", "/networks/nowhere", "", "", 404, "network nowhere not found"},
		{"no network and a slash", "GET", "/networks/front/", "", "", 404, "network front/ not found"},
		{"no network of the swarm's", "GET", "/networks/front?scope=swarm", "", "", 404, "network front not found"},
		{"no flag", "GET", "/networks/front?verbose=perhaps", "", "", 400, "invalid value for verbose: perhaps"},
		{"no query", "GET", "/networks?filters=%zz", "", "", 400, "invalid URL escape"},
		{"no filter", "GET", "/networks?filters=x", "", "", 400, "invalid filter"},
		{"unknown filter", "GET", `/networks?filters={"colour":{"red":true}}`, "", "", 400, "invalid filter 'colour'"},
		{"no type", "GET", `/networks?filters={"type":["odd"]}`, "", "", 400, "type=odd"},
		{"filter of another call", "POST", `/networks/prune?filters={"name":["x"]}`, "", "", 400, "invalid filter 'name'"},
		{"no JSON", "POST", create, js, "name=x", 400, "invalid JSON: invalid character"},
		{"half of it", "POST", create, js, `{"Name":"x"`, 400, "invalid JSON: unexpected EOF"},
		{"white space", "POST", create, js, "  ", 400, "invalid JSON: got EOF while reading request body"},
		{"more behind", "POST", create, js, `{"Name":"x"} {}`, 400, "unexpected content after JSON"},
		{"type of a field", "POST", create, js, `{"Name":7}`, 400, "invalid JSON: json: cannot unmarshal number"},
		{"address", "POST", create, js, `{"Name":"x","IPAM":{"Config":[{"Subnet":"10.0.0.0/33"}]}}`, 400, "invalid JSON"},
		{"content type", "POST", create, "text/plain", `{"Name":"x"}`, 400, "unsupported Content-Type header (text/plain): must be 'application/json'"},
		{"no content type", "POST", create, "", `{"Name":"x"}`, 400, "malformed Content-Type header ()"},
		{"too large", "POST", create, js, `{"Name":"` + strings.Repeat("x", 10<<20) + `"}`, 413, "larger than"},
		{"nameless", "POST", create, "", "", 400, "invalid name: name is empty"},
		{"predefined name", "POST", create, js, `{"Name":"host"}`, 403, "operation is not permitted on predefined host network "},
		{"no driver", "POST", create, js, `{"Name":"x","Driver":"foo"}`, 404, `there is no driver "foo" (drivers: bridge, routed)`},
		{"taken", "POST", create, js, `{"Name":"front"}`, 409, "network with name front already exists"},
		{"ingress", "POST", create, js, `{"Name":"x","Ingress":true}`, 403, "Ingress network can only be global scope network"},
		{"swarm", "POST", create, js, `{"Name":"x","Scope":"swarm"}`, 403, "cannot create a swarm scoped network when swarm is not active"},
		{"scope", "POST", create, js, `{"Name":"x","Scope":"galaxy"}`, 400, `scope "galaxy"`},
		{"IPAM driver", "POST", create, js, `{"Name":"x","IPAM":{"Driver":"dhcp"}}`, 400, `"dhcp"`},
		{"IPAM options", "POST", create, js, `{"Name":"x","IPAM":{"Options":{"a":"b"}}}`, 400, "IPAM driver has no options"},
		{"predefined", "DELETE", "/networks/bridge", "", "", 403, "bridge is a pre-defined network and cannot be removed"},
		{"in use", "DELETE", "/networks/front", "", "", 403, `error while removing network: network front has active endpoints (name:"web" id:"` + n.Endpoints[0].ID[:12] + `")`},
		{"no container", "POST", connect, js, `{"Container":"nobody"}`, 404, "No such container: nobody"},
		{"no network to connect to", "POST", "/networks/nowhere/connect", js, `{"Container":"web"}`, 404, "network nowhere not found"},
		{"connected", "POST", connect, js, `{"Container":"web"}`, 403, "endpoint with name web already exists in network front"},
		{"link-local", "POST", connect, js, `{"Container":"web","EndpointConfig":{"IPAMConfig":{"LinkLocalIPs":["169.254.1.1"]}}}`, 501, "LinkLocalIPs"},
		{"link", "POST", connect, js, `{"Container":"web","EndpointConfig":{"Links":["a:b:c"]}}`, 400, `link "a:b:c"`},
		{"family", "POST", connect, js, `{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv4Address":"fd00::1"}}}`, 400, "invalid endpoint settings:\ninvalid IPv4 address: fd00::1"},
		{"other family", "POST", connect, js, `{"Container":"web","EndpointConfig":{"IPAMConfig":{"IPv6Address":"10.0.0.1"}}}`, 400, "invalid endpoint settings:\ninvalid IPv6 address: 10.0.0.1"},
		{"MAC", "POST", connect, js, `{"Container":"web","EndpointConfig":{"MacAddress":"x"}}`, 400, "invalid JSON"},
		{"not connected", "POST", "/networks/bridge/disconnect", js, `{"Container":"web"}`, 404, "container " + n.Endpoints[0].SandboxID + " is not connected to network bridge"},
		{"nobody to disconnect", "POST", disconnect, js, `{"Container":"nobody"}`, 404, "No such container: nobody"},
		{"containers", "GET", "/v1.41/containers/json", "", "", 501, "this is catenet"},
		{"images", "POST", "/images/create", "", "", 501, "it has no /images (catenet run --rootfs"},
		{"time", "GET", "/events?since=noon", "", "", 400, "invalid value for 'since'"},
		{"backwards", "GET", "/events?since=20&until=10", "", "", 400, "`since` time (20) cannot be after `until` time (10)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, b := ask(t, c, tc.method, strings.ReplaceAll(tc.path, `"`, "%22"), tc.ctype, tc.body)
			var got map[string]string
			if err := json.Unmarshal(b, &got); err != nil || len(got) != 1 {
				t.Fatalf("reply %q: %v", b, err)
			}
			if res.StatusCode != tc.status || !strings.Contains(got["message"], tc.message) {
				t.Errorf("got %d %q\nwant %d %q", res.StatusCode, got["message"], tc.status, tc.message)
			}
			if res.Header.Get("Api-Version") != "1.56" || res.Header.Get("Ostype") != "linux" {
				t.Errorf("header %v", res.Header)
			}
		})
	}
}

// TestDockerPing: what a client chooses its version by.
func TestDockerPing(t *testing.T) {
	_, host := dockerHost(t)
	for _, method := range []string{"GET", "HEAD"} {
		res, b := ask(t, raw(t, host), method, "/_ping", "", "")
		if res.StatusCode != http.StatusOK || (string(b) == "OK") != (method == "GET") {
			t.Errorf("%s: %d %q", method, res.StatusCode, b)
		}
		if h := res.Header; h.Get("Api-Version") != "1.56" || h.Get("Ostype") != "linux" || h.Get("Swarm") != "inactive" || !strings.HasPrefix(h.Get("Server"), "catenet/") {
			t.Errorf("%s: header %v", method, h)
		}
	}
}

// dockerClient is Docker's own, of the newest version.
func dockerClient(t *testing.T, host string, opts ...client.Opt) *client.Client {
	t.Helper()
	c, err := client.New(append([]client.Opt{client.WithHost(host)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDockerNetworksByItsOwnClient(t *testing.T) {
	e, host := dockerHost(t)
	c := dockerClient(t, host)
	yes := true
	made, err := c.NetworkCreate(t.Context(), "back", client.NetworkCreateOptions{
		EnableIPv6: &yes, Internal: true, Attachable: true, Labels: map[string]string{"x": "y"}, Options: map[string]string{"com.docker.network.bridge.name": "br-x"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{}, {
			Subnet: netip.MustParsePrefix("10.9.0.0/16"), IPRange: netip.MustParsePrefix("10.9.1.0/24"), Gateway: netip.MustParseAddr("10.9.0.9"),
			AuxAddress: map[string]netip.Addr{"printer": netip.MustParseAddr("10.9.0.7")},
		}}},
	})
	if err != nil || len(made.ID) != 64 {
		t.Fatalf("%+v, %v", made, err)
	}
	_, err = c.NetworkConnect(t.Context(), "back", client.NetworkConnectOptions{Container: "web", EndpointConfig: &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.9.1.5")},
		Aliases:    []string{"db"}, Links: []string{"other:store"}, GwPriority: 7, MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 9}, DriverOpts: map[string]string{"com.docker.network.endpoint.ifname": "lan7"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.NetworkInspect(t.Context(), made.ID[:10], client.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := got.Network
	pool := n.IPAM.Config[0]
	if n.ID != made.ID || n.Name != "back" || n.Scope != "local" || n.Driver != "bridge" || !n.EnableIPv4 || !n.EnableIPv6 || !n.Internal || !n.Attachable ||
		n.Labels["x"] != "y" || n.Options["com.docker.network.bridge.name"] != "br-x" || n.IPAM.Driver != "default" ||
		pool.Gateway.String() != "10.9.0.9" || pool.IPRange.String() != "10.9.1.0/24" || pool.AuxAddress["printer"].String() != "10.9.0.7" || !n.Created.Equal(apitest.Now) {
		t.Errorf("%+v", n)
	}
	if s := n.Status.IPAM.Subnets[pool.Subnet]; s.IPsInUse != 3 || s.DynamicIPsAvailable != 255 {
		t.Errorf("status %+v", n.Status)
	}
	eps, err := e.Endpoints(t.Context())
	if last := eps[len(eps)-1]; err != nil || len(last.Spec.Links) != 1 || last.Spec.Links[0] != (catenet.Link{Container: "other", Alias: "store"}) {
		t.Errorf("links of %+v: %v", last.Spec, err)
	}
	for _, ep := range n.Containers {
		if ep.Name != "web" || ep.IPv4Address.String() != "10.9.1.5/16" || ep.MacAddress.String() != "02:00:00:00:00:09" || len(ep.EndpointID) != 64 {
			t.Errorf("container %+v", ep)
		}
	}
	if len(n.Containers) != 1 {
		t.Errorf("containers %+v", n.Containers)
	}
	if _, err := c.NetworkDisconnect(t.Context(), "back", client.NetworkDisconnectOptions{Container: "web", Force: true}); err != nil {
		t.Error(err)
	}
	if pruned, err := c.NetworkPrune(t.Context(), client.NetworkPruneOptions{}); err != nil || len(pruned.Report.NetworksDeleted) != 1 || pruned.Report.NetworksDeleted[0] != "back" {
		t.Errorf("%+v, %v", pruned, err)
	}
}

// TestDockerVersions: what a version does not have yet is not told, and not
// taken.
func TestDockerVersions(t *testing.T) {
	_, host := dockerHost(t)
	old := dockerClient(t, host, client.WithAPIVersion("1.44"))
	n, err := old.NetworkInspect(t.Context(), "front", client.NetworkInspectOptions{})
	if err != nil || n.Network.Status != nil {
		t.Errorf("1.44 has a status: %+v, %v", n.Network.Status, err)
	}
	_, err = old.NetworkConnect(t.Context(), "bridge", client.NetworkConnectOptions{
		Container: "web", EndpointConfig: &network.EndpointSettings{MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err = old.NetworkInspect(t.Context(), "bridge", client.NetworkInspectOptions{})
	for _, ep := range n.Network.Containers {
		if err != nil || ep.MacAddress.String() == "02:00:00:00:00:09" {
			t.Errorf("1.44 gave a MAC address: %+v, %v", ep, err)
		}
	}
}

func TestDockerSystem(t *testing.T) {
	_, host := dockerHost(t)
	c := dockerClient(t, host)
	info, err := c.Info(t.Context(), client.InfoOptions{})
	if i := info.Info; err != nil || i.Containers != 1 || i.ContainersRunning != 1 || i.Images != 0 || i.Swarm.LocalNodeState != "inactive" ||
		i.Name != "testhost" || !strings.HasPrefix(i.OperatingSystem, "catenet") || len(i.Warnings) != 2 || i.MemTotal != 8<<30 || !i.IPv4Forwarding || i.Plugins.Network[0] != "bridge" {
		t.Errorf("%+v, %v", info.Info, err)
	}
	v, err := c.ServerVersion(t.Context(), client.ServerVersionOptions{})
	if err != nil || v.APIVersion != "1.56" || v.MinAPIVersion != "1.40" || !strings.HasPrefix(v.Platform.Name, "catenet") || v.Components[0].Name != "Engine" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDockerEvents(t *testing.T) {
	e, host := dockerHost(t)
	c := dockerClient(t, host)
	past := c.Events(t.Context(), client.EventsListOptions{Until: apitest.Now.Add(time.Second).Format(time.RFC3339)})
	var told []string
	for {
		select {
		case m := <-past.Messages:
			told = append(told, string(m.Type)+" "+string(m.Action)+" "+m.Actor.Attributes["name"])
			continue
		case err := <-past.Err:
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
		break
	}
	if got, want := strings.Join(told, ", "), "network create front, container create web, network connect front"; got != want {
		t.Errorf("of the past: %s, want %s", got, want)
	}
	live := c.Events(t.Context(), client.EventsListOptions{Filters: make(client.Filters).Add("type", "network").Add("event", "disconnect", "destroy")})
	for e.Subscribers() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := e.Disconnect(t.Context(), "front", "web", false); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RemoveNetwork(t.Context(), "front"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []events.Action{"disconnect", "destroy"} {
		m := <-live.Messages
		if m.Action != want || m.Type != "network" || m.Scope != "local" || m.TimeNano != apitest.Now.UnixNano() || m.Actor.Attributes["name"] != "front" || m.Actor.Attributes["container_name"] != "" {
			t.Errorf("%+v, want a %s", m, want)
		}
	}
}

// TestDockerEventStream: the media type and the framing are those that the
// client asks for, and old versions have the fields that old clients read.
func TestDockerEventStream(t *testing.T) {
	_, host := dockerHost(t)
	for _, tc := range []struct{ path, accept, media, begin string }{
		{"/events", "", "application/jsonl", `{"Type":"network","Action":"create"`},
		{"/v1.51/events", "*/*", "application/json", `{"Type":"network","Action":"create"`},
		{"/events", "application/x-ndjson;q=0.9, application/json-seq", "application/json-seq", "\x1e{"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+tc.path+"?until=1767323046.5", nil) // just behind apitest.Now
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", tc.accept)
		res, err := raw(t, host).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.Header.Get("Content-Type") != tc.media || !strings.HasPrefix(string(b), tc.begin) {
			t.Errorf("%s %s: %s, %q, %v", tc.path, tc.accept, res.Header.Get("Content-Type"), b, err)
		}
		res, before := ask(t, raw(t, host), "GET", tc.path+"?until=1767323044", "", "") // just before apitest.Now
		if res.StatusCode != http.StatusOK || len(before) > 0 {
			t.Errorf("%s: what happened later than asked: %d %s", tc.path, res.StatusCode, before)
		}
		if old := strings.HasPrefix(tc.path, "/v1.51"); strings.Contains(string(b), `"status":"create"`) != old {
			t.Errorf("%s: fields of old versions in %s", tc.path, b)
		}
	}
}
