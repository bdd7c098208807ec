package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/catenet/catenet/test/lab"
)

// dockerClient is Docker's own Go client, of the newest version of its API.
func dockerClient(t *testing.T, h *lab.Host) *client.Client {
	t.Helper()
	c, err := client.New(client.WithHost("unix://" + h.Socket()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// create makes a network that has to be made.
func create(t *testing.T, c *client.Client, name string, o client.NetworkCreateOptions) network.Inspect {
	t.Helper()
	made, err := c.NetworkCreate(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.NetworkInspect(t.Context(), made.ID, client.NetworkInspectOptions{})
	if err != nil || got.Network.ID != made.ID {
		t.Fatalf("%s: %+v, %v", name, got.Network, err)
	}
	return got.Network
}

func ipam(pools ...network.IPAMConfig) *network.IPAM { return &network.IPAM{Config: pools} }

func subnetOf(subnet string) network.IPAMConfig {
	return network.IPAMConfig{Subnet: netip.MustParsePrefix(subnet)}
}

// TestDockerLookup: a network is found by its ID, then its name, then a prefix
// of its ID, and one that could be several is refused, with all of Docker's
// verbs.
func TestDockerLookup(t *testing.T) {
	g := newGround(t)
	c := dockerClient(t, g.a)
	first := map[byte]string{}
	shared := ""
	for i := 0; shared == ""; i++ { // of 17 IDs two begin alike
		n := create(t, c, fmt.Sprint("n", i), client.NetworkCreateOptions{ConfigOnly: true})
		if first[n.ID[0]] != "" {
			shared = n.ID[:1]
		}
		first[n.ID[0]] = n.ID
	}
	one := create(t, c, "one", client.NetworkCreateOptions{})
	// A name that is the beginning of another one's ID.
	prefixed := create(t, c, one.ID[:12], client.NetworkCreateOptions{ConfigOnly: true})
	for ref, want := range map[string]string{one.ID: one.ID, "one": one.ID, one.ID[:13]: one.ID, one.ID[:12]: prefixed.ID} {
		got, err := c.NetworkInspect(t.Context(), ref, client.NetworkInspectOptions{})
		if err != nil || got.Network.ID != want {
			t.Errorf("%s is %s, %v, want %s", ref, got.Network.Name, err, want)
		}
	}
	g.idle("web")
	ambiguous := "network " + shared + " is ambiguous ("
	_, err := c.NetworkInspect(t.Context(), shared, client.NetworkInspectOptions{})
	refused(t, err, ambiguous)
	_, err = c.NetworkRemove(t.Context(), shared, client.NetworkRemoveOptions{})
	refused(t, err, ambiguous)
	_, err = c.NetworkConnect(t.Context(), shared, client.NetworkConnectOptions{Container: "web"})
	refused(t, err, ambiguous)
	_, err = c.NetworkDisconnect(t.Context(), shared, client.NetworkDisconnectOptions{Container: "web"})
	refused(t, err, ambiguous)
	if _, err := c.NetworkConnect(t.Context(), one.ID[:20], client.NetworkConnectOptions{Container: status(g.a, "web").ID[:9]}); err != nil {
		t.Error(err)
	}
	// A daemon that comes back knows what only held settings.
	create(t, c, "made", client.NetworkCreateOptions{ConfigFrom: "n0"})
	g.a.Kill()
	g.a.Daemon()
	_, err = c.NetworkRemove(t.Context(), "n0", client.NetworkRemoveOptions{})
	refused(t, err, `configuration network "n0" is in use`)
	g.a.Catenet("network", "rm", "made", "n0")
	for i := 1; i < 17; i++ {
		g.a.Catenet("network", "rm", "-f", fmt.Sprint("n", i))
	}
	g.a.Catenet("network", "rm", prefixed.ID)
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestDockerAddresses: subnets of every size, and one that nobody asked for.
func TestDockerAddresses(t *testing.T) {
	g := newGround(t)
	c := dockerClient(t, g.a)
	yes, no := true, false
	ula := create(t, c, "ula", client.NetworkCreateOptions{EnableIPv6: &yes, EnableIPv4: &no})
	if p := ula.IPAM.Config; len(p) != 1 || !netip.MustParsePrefix("fd00::/8").Contains(p[0].Subnet.Addr()) || p[0].Subnet.Bits() != 64 || ula.EnableIPv4 || !ula.EnableIPv6 {
		t.Errorf("IPv6 and nothing said: %+v", ula.Network)
	}
	const most = ^uint64(0)
	for i, tt := range []struct {
		subnet, ipRange string
		used, free      uint64
	}{
		{"10.0.0.0/8", "", 1, 1<<24 - 3},
		{"100.64.0.0/30", "", 1, 1},
		{"11.0.0.0/8", "11.1.0.0/16", 1, 1 << 16},
		{"fc00::/8", "", 1, most},
		{"fdaa:1::/48", "", 1, most},
		{"fdaa:2::/63", "", 1, most},
		{"fdaa:3::/64", "", 1, most - 1},
		{"fdaa:4::/65", "", 1, 1<<63 - 2},
		{"fdaa:5::/48", "fdaa:5:0:7::/64", 1, most},
		{"fdaa:6::/126", "", 1, 2},
	} {
		name := fmt.Sprint("n", i)
		p := subnetOf(tt.subnet)
		p.Subnet = p.Subnet.Masked()
		if tt.ipRange != "" {
			p.IPRange = netip.MustParsePrefix(tt.ipRange)
		}
		v6 := p.Subnet.Addr().Is6()
		v4 := !v6
		n := create(t, c, name, client.NetworkCreateOptions{EnableIPv4: &v4, EnableIPv6: &v6, IPAM: ipam(p)})
		if s := n.Status.IPAM.Subnets[p.Subnet]; s.IPsInUse != tt.used || s.DynamicIPsAvailable != tt.free {
			t.Errorf("%s, range %s: %+v, want %d used and %d free", tt.subnet, tt.ipRange, s, tt.used, tt.free)
		}
		g.a.Catenet("network", "rm", name)
	}
	for _, subnet := range []string{"0.0.0.0/0", "::/0", "10.0.0.1/32", "fd00::1/128", "10.0.0.0/31"} {
		_, err := c.NetworkCreate(t.Context(), "n", client.NetworkCreateOptions{EnableIPv6: &yes, IPAM: ipam(subnetOf(subnet))})
		refused(t, err, subnet)
	}
	// Who gives an IPv6 subnet and does not say that there is no IPv6 wants it.
	if n := create(t, c, "six", client.NetworkCreateOptions{IPAM: ipam(subnetOf("fdbb::/64"))}); !n.EnableIPv6 || len(n.IPAM.Config) != 2 {
		t.Errorf("%+v", n.Network)
	}
	_, err := c.NetworkCreate(t.Context(), "n", client.NetworkCreateOptions{EnableIPv6: &no, IPAM: ipam(subnetOf("fdcc::/64"))})
	refused(t, err, "add --ipv6")
}

// TestDockerEndpoint: what an EndpointConfig says is so in the container.
func TestDockerEndpoint(t *testing.T) {
	g := newGround(t)
	c := dockerClient(t, g.a)
	create(t, c, "far", client.NetworkCreateOptions{
		IPAM: ipam(subnetOf("10.7.0.0/24")),
		Options: map[string]string{
			"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.name": "brfar", "com.docker.network.bridge.enable_icc": "false",
			"com.docker.network.bridge.enable_ip_masquerade": "false", "com.docker.network.bridge.host_binding_ipv4": "192.0.2.1",
			"com.docker.network.container_iface_prefix": "far", "com.docker.network.enable_ipv6": "true", "com.docker.network.bridge.default_bridge": "false",
		},
	})
	g.idle("web")
	g.idle("near", "--network", "far")
	g.a.Refused([]string{"driver"}, "network", "create", "-d", "macvlan", "x")
	_, err := c.NetworkConnect(t.Context(), "far", client.NetworkConnectOptions{Container: "web", EndpointConfig: &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.7.0.9")},
		MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 9}, Aliases: []string{"visitor"}, Links: []string{"near:n"}, GwPriority: 100,
		DriverOpts: map[string]string{
			"com.docker.network.endpoint.ifname":  "lan7",
			"com.docker.network.endpoint.sysctls": "net.ipv4.conf.ifname.log_martians=1", // the CLI writes it so
		},
		// What a client was told and sends back.
		NetworkID: "x", EndpointID: "y", IPAddress: netip.MustParseAddr("10.1.1.1"), Gateway: netip.MustParseAddr("10.1.1.2"), DNSNames: []string{"z"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	inside := g.a.Exec("web", "sh", "-c", "ip addr show lan7; ip route; cat /proc/sys/net/ipv4/conf/lan7/log_martians").Text()
	for _, want := range []string{"mtu 1400", "02:00:00:00:00:09", "10.7.0.9/24", "inet6 fd", "default via 10.7.0.1 dev lan7", "\n1"} {
		if !strings.Contains(inside, want) {
			t.Errorf("inside there is no %q:\n%s", want, inside)
		}
	}
	if link := g.a.MustRun("ip", "-br", "link", "show", "brfar"); link == "" {
		t.Error("there is no bridge brfar")
	}
	ep := status(g.a, "web").Endpoints[1].Spec
	if len(ep.Aliases) != 1 || ep.Aliases[0] != "visitor" || len(ep.Links) != 1 || ep.Links[0].Alias != "n" || ep.Links[0].Container != "near" {
		t.Errorf("aliases and links: %+v", ep)
	}
}

// TestDockerEventsLive: a stream tells what happens as it happens, and ends at
// the time asked for.
func TestDockerEventsLive(t *testing.T) {
	g := newGround(t)
	c := dockerClient(t, g.a)
	before := time.Now()
	create(t, c, "old", client.NetworkCreateOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	live := c.Events(ctx, client.EventsListOptions{
		Since: before.Format(time.RFC3339Nano), Filters: make(client.Filters).Add("type", "network").Add("network", "old", "new"),
	})
	create(t, c, "new", client.NetworkCreateOptions{})
	g.idle("web", "--network", "new")
	id := status(g.a, "web").ID
	g.a.Catenet("rm", "-f", "web")
	g.a.Catenet("network", "prune", "-f")
	for _, want := range []string{"create old", "create new", "connect new", "disconnect new", "destroy new", "destroy old"} {
		select {
		case m := <-live.Messages:
			if got := string(m.Action) + " " + m.Actor.Attributes["name"]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if strings.Contains(want, "connect") && m.Actor.Attributes["container"] != id || m.Actor.Attributes["type"] != "bridge" {
				t.Errorf("%s: %+v", want, m.Actor)
			}
		case err := <-live.Err:
			t.Fatal(err)
		case <-time.After(soon):
			t.Fatalf("no %s", want)
		}
	}
	// To a time that is still to come: the end of the stream is no error.
	short := c.Events(t.Context(), client.EventsListOptions{Until: time.Now().Add(time.Second).Format(time.RFC3339Nano), Filters: make(client.Filters).Add("event", "prune")})
	if m := <-short.Messages; m.Actor.Attributes["reclaimed"] != "0" || m.Actor.ID != "" {
		t.Errorf("%+v", m)
	}
	if err := <-short.Err; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
