package flanneld

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/client"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/etcdserver"
)

// Both nodes of the test: flanneld's, with the etcd, and ours.
var (
	theirs4, ours4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	theirs6, ours6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	ourMAC         = flannel.MAC{0x0e, 1, 2, 3, 4, 5}
	ourMAC6        = flannel.MAC{0x0e, 1, 2, 3, 4, 6}
)

// pair is a host with flanneld and etcd, and one where our node would be.
type pair struct {
	t      *testing.T
	a, b   *kerneltest.NS
	store  *client.Store
	daemon *Daemon
}

func newPair(t *testing.T, config string) *pair {
	t.Helper()
	p := &pair{t: t, a: kerneltest.New(t), b: kerneltest.New(t)}
	kerneltest.Connect(p.a, "under", theirs4.String()+"/24", p.b, "under", ours4.String()+"/24")
	p.a.Run("ip", "addr", "add", theirs6.String()+"/64", "dev", "under", "nodad")
	p.b.Run("ip", "addr", "add", ours6.String()+"/64", "dev", "under", "nodad")
	server := etcdserver.Start(t, etcdserver.Options{NS: p.a.Path, Host: theirs4.String()})
	p.store = open(t, etcd.Config{Endpoints: []string{server.Unix}})
	Await(t, "etcd", func() bool {
		return flannel.WriteConfig(t.Context(), flannel.Registry{Store: p.store}, config) == nil
	})
	p.daemon = Start(t, p.a.Path, server.Endpoint, "under", "--public-ip", theirs4.String(), "--public-ipv6", theirs6.String())
	return p
}

func open(t *testing.T, cfg etcd.Config) *client.Store {
	t.Helper()
	s, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// leaseOf is one of each node's own.
func leaseOf(ip netip.Addr) etcd.LeaseID { return etcd.LeaseID(ip.As4()[3]) }

func ourNode() flannel.Node {
	return flannel.Node{PublicIP: ours4, PublicIPv6: ours6, Lease: leaseOf(ours4), Log: slog.New(slog.DiscardHandler), Backend: func(c flannel.Config) (flannel.BackendData, error) {
		if c.Backend.Type != flannel.BackendVXLAN {
			return flannel.BackendData{}, nil
		}
		data := flannel.BackendData{V4: &flannel.VTEP{VNI: uint32(c.Backend.VNI), VtepMAC: ourMAC}}
		if c.EnableIPv6 {
			data.V6 = &flannel.VTEP{VNI: uint32(c.Backend.VNI), VtepMAC: ourMAC6}
		}
		return data, nil
	}}
}

// records returns the registry's keys and values, theirs first.
func (p *pair) records() (theirs, ours etcd.Pair) {
	p.t.Helper()
	all, _, err := p.store.List(p.t.Context(), flannel.DefaultPrefix+"/subnets/")
	if err != nil || len(all) != 2 {
		p.t.Fatalf("the registry has %+v (%v)", all, err)
	}
	if strings.Contains(string(all[0].Value), theirs4.String()) {
		return all[0], all[1]
	}
	return all[1], all[0]
}

// mac is that of a device of flanneld's, zero if there is none.
func (p *pair) mac(device string) (m flannel.MAC) {
	p.a.Do(func() error {
		if link, err := net.InterfaceByName(device); err == nil {
			copy(m[:], link.HardwareAddr)
		}
		return nil
	})
	return m
}

// What flanneld and our node write into one registry differs in what differs
// between hosts, and in nothing else; each is the other's peer; subnet.env is the
// same to the byte.
func TestPeersOfFlanneld(t *testing.T) {
	const families = `"Network": "10.5.0.0/16", "EnableNFTables": true`
	const both = families + `, "EnableIPv6": true, "IPv6Network": "fd00:5::/48"`
	for name, c := range map[string]struct {
		config string
		mtu    int
	}{
		"udp":          {`{` + families + `, "Backend": {"Type": "UDP"}}`, 1472},
		"vxlan":        {`{` + families + `, "Backend": {"Type": "vxlan", "VNI": 7}}`, 1450},
		"host-gw":      {`{` + families + `, "Backend": {"Type": "host-gw"}}`, 1500},
		"vxlan-dual":   {`{` + both + `, "Backend": {"Type": "vxlan"}}`, 1450},
		"host-gw-dual": {`{` + both + `, "Backend": {"Type": "host-gw"}}`, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, c.config)
			part, err := flannel.Join(t.Context(), flannel.Registry{Store: p.store}, ourNode())
			if err != nil {
				t.Fatal(err)
			}
			theirs, ours := p.records()
			device, device6 := fmt.Sprintf("flannel.%d", part.Config().Backend.VNI), fmt.Sprintf("flannel-v6.%d", part.Config().Backend.VNI)
			mac, mac6 := p.mac(device), p.mac(device6)
			want := strings.NewReplacer(theirs4.String(), ours4.String(), theirs6.String(), ours6.String(), mac.String(), ourMAC.String(), mac6.String(), ourMAC6.String()).Replace(string(theirs.Value))
			if string(ours.Value) != want {
				t.Errorf("wrote\n%s\nand flanneld would have written\n%s", ours.Value, want)
			}
			subnets, err := flannel.ParseKey(strings.TrimPrefix(theirs.Key, flannel.DefaultPrefix+"/subnets/"))
			if err != nil {
				t.Errorf("flanneld's key: %v", err)
			}
			config := part.Config()
			env := flannel.Env{Network: config.Network, IPv6Network: config.IPv6Network, Subnets: subnets, MTU: c.mtu}
			if text, err := os.ReadFile(p.daemon.SubnetFile); err != nil || string(text) != string(env.Text()) {
				t.Errorf("flanneld has told\n%s(%v), we would have\n%s", text, err, env.Text())
			}
			if s, err := flannel.ReadEnv(p.daemon.SubnetFile); err != nil || s != subnets {
				t.Errorf("read of flanneld's file: %v (%v), it is %v", s, err, subnets)
			}

			peers := follow(t, part)
			peer := flannel.Peer{Subnets: subnets, PublicIP: theirs4}
			if config.Backend.Type == flannel.BackendVXLAN {
				peer.VTEP4, peer.VTEP6 = mac, mac6
			}
			if config.EnableIPv6 {
				peer.PublicIPv6 = theirs6
			}
			Await(t, "flanneld as our peer", func() bool { return len(peers()) == 1 && peers()[0] == peer })
			p.isTheirPeer(part, device, device6)
		})
	}
}

// isTheirPeer waits until flanneld leads packets for our node's subnets to it.
func (p *pair) isTheirPeer(part *flannel.Part, device, device6 string) {
	p.t.Helper()
	s, config := part.Status().Subnets, part.Config()
	type sign struct{ ask, has string }
	var signs []sign
	switch config.Backend.Type {
	case flannel.BackendUDP:
		p.receives(s.IPv4.Addr().Next())
	case flannel.BackendHostGW:
		signs = []sign{{"ip route show " + s.IPv4.String(), "via " + ours4.String()}}
		if config.EnableIPv6 {
			signs = append(signs, sign{"ip -6 route show " + s.IPv6.String(), "via " + ours6.String()})
		}
	case flannel.BackendVXLAN:
		signs = []sign{
			{"ip route show " + s.IPv4.String(), "via " + s.IPv4.Addr().String() + " dev " + device + " onlink"},
			{"ip neigh show dev " + device, s.IPv4.Addr().String() + " lladdr " + ourMAC.String() + " PERMANENT"},
			{"bridge fdb show dev " + device, ourMAC.String() + " dst " + ours4.String() + " self permanent"},
		}
		if config.EnableIPv6 {
			signs = append(signs, sign{"ip -6 route show " + s.IPv6.String(), "dev " + device6},
				sign{"bridge fdb show dev " + device6, ourMAC6.String() + " dst " + ours6.String() + " self permanent"})
		}
	}
	for _, sign := range signs {
		words := strings.Fields(sign.ask)
		Await(p.t, sign.ask+": "+sign.has, func() bool {
			out, err := p.a.Try(words[0], words[1:]...)
			return err == nil && strings.Contains(out, sign.has)
		})
	}
}

// receives waits for a packet to an address, which flanneld sends our node in a
// datagram as it is.
func (p *pair) receives(to netip.Addr) {
	p.t.Helper()
	var c net.PacketConn
	if err := p.b.Do(func() (err error) {
		c, err = net.ListenPacket("udp4", ours4.String()+":8285")
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	ping := p.a.Command("ping", "-i", "0.2", "-c", "100", to.String())
	if err := ping.Start(); err != nil {
		p.t.Fatal(err)
	}
	defer func() {
		ping.Process.Kill()
		ping.Wait()
	}()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 2000)
	n, _, err := c.ReadFrom(b)
	if dst := to.As4(); err != nil || n < 20 || b[0] != 0x45 || string(b[16:20]) != string(dst[:]) {
		p.t.Errorf("of flanneld's came % x (%v), want a packet to %v", b[:n], err, to)
	}
}

// follow runs a part, and returns what asks it for its peers.
func follow(t *testing.T, part *flannel.Part) func() []flannel.Peer {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	peers := map[string]flannel.Peer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		part.Run(ctx, func(d flannel.Delta) {
			mu.Lock()
			defer mu.Unlock()
			if d.Full {
				clear(peers)
			}
			for _, p := range d.Remove {
				delete(peers, p.Key())
			}
			for _, p := range d.Add {
				peers[p.Key()] = p
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func() (all []flannel.Peer) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range peers {
			all = append(all, p)
		}
		return all
	}
}
