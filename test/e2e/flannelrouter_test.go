package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/flanneld"
	"github.com/catenet/catenet/test/lab"
)

// Two hosts of ours and two with flanneld, one of each on either side of a router, in a
// network whose config says all that can be said of a vxlan: who is on the same wire is
// reached by a route, who is not by a tunnel. One of each comes to have another address,
// and one of each leaves.
func TestFlannelAcrossARouter(t *testing.T) {
	t.Parallel()
	r := newRouter(t, `{`+wideDual+`, "Backend": {"Type": "vxlan", "VNI": 9, "Port": 4790, "MTU": 1400, "GBP": true, "Learning": true, "DirectRouting": true}}`)
	r.everyPair("at first")
	r.sees(map[string]string{"192.0.2.4": "route", "198.51.100.1": "vxlan", "198.51.100.2": "vxlan"})
	for _, h := range []*lab.Host{r.nodes[0], r.nodes[2]} {
		device := h.MustRun("ip", "-d", "link", "show", "flannel.9")
		for _, want := range []string{"mtu 1350", "id 9 ", "dstport 4790", " gbp", "dev eth0"} {
			if !strings.Contains(device, want) || strings.Contains(device, "nolearning") {
				t.Errorf("the device of %s has no %q, or does not learn:\n%s", h.Name, want, device)
			}
		}
	}
	for from := range r.nodes {
		r.fits(from, r.boxes[3-from], 1350, 1350-28) // across the router, ours and theirs in turns
	}
	r.fits(0, r.six[3], 1330, 1330-48)
	r.fits(1, r.six[2], 1330, 1330-48)
	r.moves()
	r.leave()
}

// router is four hosts: ours and flanneld's on one wire, and on another.
type router struct {
	*shared // nodes: ours near and far, flanneld's near and far
	daemons [2]*flanneld.Daemon
}

func newRouter(t *testing.T, config string) *router {
	t.Helper()
	r := &router{shared: &shared{Lab: lab.New(t), mtu: 1350}}
	r.etcd = r.Host("etcd")
	mid := r.Host("mid")
	for _, name := range []string{"near", "far", "theirs-near", "theirs-far"} {
		r.nodes = append(r.nodes, r.Host(name))
	}
	r.Switch([]*lab.Host{r.etcd, mid, r.nodes[0], r.nodes[2]}, "192.0.2.0/24", "2001:db8::/64")
	r.Switch([]*lab.Host{r.nodes[1], r.nodes[3], mid}, "198.51.100.0/24", "2001:db8:1::/64")
	mid.MustRun("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	for i, h := range append([]*lab.Host{r.etcd}, r.nodes...) {
		four, six := "192.0.2.2", "2001:db8::2"
		if i == 2 || i == 4 {
			four, six = "198.51.100.3", "2001:db8:1::3"
		}
		h.MustRun("ip", "route", "add", "default", "via", four)
		h.MustRun("ip", "-6", "route", "add", "default", "via", six)
	}
	r.server = etcdserver.Start(t, etcdserver.Options{NS: r.etcd.NS.Path, Host: "192.0.2.1"})
	for _, h := range r.nodes[:2] {
		h.Daemon()
		h.Catenet(append(r.create(h), "-o", "write-config="+config, "wide")...)
		r.attach(h, "box")
		h.Serve(r.ns(h, "box"), 80, h.Name)
		box := status(h, "box").Endpoints[0]
		r.know(box.IPv4.Addr(), box.IPv6.Addr())
	}
	for i, h := range r.nodes[2:] {
		h.MustRun("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
		r.daemons[i] = flanneld.Start(t, h.NS.Path, r.server.Endpoint, "eth0")
		r.byHand(h, r.daemons[i].SubnetFile)
	}
	return r
}

// sees waits until the near host of ours has those peers, and reaches each so.
func (r *router) sees(want map[string]string) {
	r.T.Helper()
	r.Eventually(soon, func() string {
		got := map[string]string{}
		for _, p := range r.tells(r.nodes[0]).Peers {
			got[p.IP] = p.By
		}
		if !maps.Equal(got, want) {
			return fmt.Sprintf("the peers are reached by %v, want %v", got, want)
		}
		return ""
	})
}

// moves gives the near host of ours another address: it keeps its subnet. flanneld's far
// one, started again with another, has another subnet as well, and its earlier key stays
// until that ends.
func (r *router) moves() {
	r.T.Helper()
	ours, far := r.nodes[0], r.nodes[3]
	ours.MustRun("sh", "-c", "ip addr del 192.0.2.3/24 dev eth0; ip addr add 192.0.2.70/24 dev eth0; ip route replace default via 192.0.2.2")
	r.everyPair("after a host of ours has another address")

	r.daemons[1].Kill()
	before := r.key(far)
	far.MustRun("sh", "-c", "ip addr del 198.51.100.2/24 dev eth0; ip addr add 198.51.100.70/24 dev eth0; ip route replace default via 198.51.100.3")
	peers := map[string]string{"192.0.2.4": "route", "198.51.100.1": "vxlan", "198.51.100.2": "vxlan"}
	r.sees(peers)
	// Where flanneld meets a key that was its own it tries for a minute to reach itself,
	// and nobody else meanwhile.
	r.etcdctl("del", before)
	r.daemons[1] = flanneld.Start(r.T, far.NS.Path, r.server.Endpoint, "eth0")
	delete(peers, "198.51.100.2")
	peers["198.51.100.70"] = "vxlan"
	r.sees(peers)
	r.Eventually(soon, func() string {
		_, subnet, _ := strings.Cut(r.key(far), "/subnets/")
		base, _, _ := strings.Cut(subnet, "-") // which its device has
		if ping := ours.Run("nsenter", "--net="+r.ns(ours, "box"), "ping", "-c1", "-W1", base); ping.Code != 0 {
			return "the host that has moved is not reached: " + ping.Text()
		}
		return ""
	})
}

// key is that of a host in etcd.
func (r *router) key(h *lab.Host) string {
	host := strings.Fields(h.MustRun("ip", "-br", "-4", "addr", "show", "eth0"))[2]
	host, _, _ = strings.Cut(host, "/")
	lines := strings.Split(r.etcdctl("get", "--prefix", "/coreos.com/network/subnets/"), "\n")
	for i, line := range lines {
		if strings.Contains(line, `"PublicIP":"`+host+`"`) {
			return lines[i-1]
		}
	}
	return ""
}

// leave has one of ours leave, which flanneld notices, and one of flanneld's: its key
// goes in the end.
func (r *router) leave() {
	r.T.Helper()
	near := r.nodes[2]
	subnet := netip.PrefixFrom(r.boxes[1], 24).Masked().String()
	r.nodes[1].Catenet("detach", "box")
	r.nodes[1].Catenet("network", "rm", "wide")
	r.Eventually(soon, func() string { return near.MustRun("ip", "route", "show", subnet) })
	r.daemons[0].Kill()
	r.etcdctl("del", r.key(near))
	r.sees(map[string]string{"198.51.100.70": "vxlan"})
}
