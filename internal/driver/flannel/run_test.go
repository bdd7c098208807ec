package flannel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/driver"
	"github.com/catenet/catenet/internal/driver/bridge"
	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/etcd/etcdtest"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/fake"
)

// host is one of ours: a kernel, and what an engine is told.
type host struct {
	t      *testing.T
	store  *etcdtest.Cluster
	client *etcdtest.Client
	k      *fake.Kernel
	d      Driver
	n      catenet.Network
	lost   chan struct{}
	stop   func()
	ended  error

	mu     sync.Mutex
	tells  int
	peers  []catenet.Peer
	hosts  []netip.Addr
	memory []byte
	parts  []catenet.Part
	wrong  error
}

// devices opens tunnels, and has the kernel know of their devices.
type devices struct {
	*fake.Tunnels
	k *fake.Kernel
}

func (d devices) OpenTunnel(ctx context.Context, spec kernel.TunnelSpec) (kernel.Tunnel, error) {
	if err := d.k.EnsureLink(ctx, kernel.Link{Name: spec.Device, Kind: "tun", Alias: spec.Alias, MTU: spec.MTU, Addrs: spec.Addrs, NoIPv6: true}); err != nil {
		return nil, err
	}
	return d.Tunnels.OpenTunnel(ctx, spec)
}

// newHost has a host take part in the network of a config, which is up then.
func newHost(t *testing.T, store *etcdtest.Cluster, tunnels *fake.Tunnels, at, config string) *host {
	t.Helper()
	h := &host{t: t, store: store, client: store.Client(), k: fake.New(), lost: make(chan struct{}, 1)}
	h.k.Move(netip.MustParseAddr(at))
	// The driver closes what it opens; the connection of the host stays.
	h.d = New(bridge.New(), devices{tunnels, h.k}, func(etcd.Config) (etcd.Store, error) { return kept{h.client}, nil }, newDriver(store).log)
	store.Force(configKey, config)
	h.n = join(t, h.d, h.k, fmt.Sprintf("%02x", netip.MustParseAddr(at).As4()[3]))
	h.up()
	return h
}

// kept is a connection that is used again.
type kept struct{ *etcdtest.Client }

func (kept) Close() error { return nil }

func (h *host) up() {
	h.t.Helper()
	if _, err := h.d.Up(context.Background(), h.k, h.n); err != nil {
		h.t.Fatal(err)
	}
}

// run has the driver keep the network, until the test ends or it is stopped.
func (h *host) run() *host {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan struct{})
	site := driver.Site{Host: h.k, Network: h.n, Memory: h.memory, Lost: h.lost, Tell: h.hear}
	go func() {
		defer close(done)
		h.ended = h.d.Run(ctx, site)
	}()
	h.stop = func() { cancel(); <-done }
	synctest.Wait()
	return h
}

// hear does what an engine does: another part has the network made for it.
func (h *host) hear(n driver.News) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tells++
	if h.wrong = n.Trouble; n.Part != nil {
		h.parts, h.n.Part = append(h.parts, *n.Part), n.Part
		h.up()
	}
	if n.Peers != nil {
		h.peers, h.hosts, h.memory = n.Peers, n.Hosts, n.Memory
	}
}

// says is what the engine was told.
func (h *host) says() (peers []catenet.Peer, trouble string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peers, fmt.Sprint(h.wrong)
}

// reached is what leads to other hosts, as commands.
func (h *host) reached() (lines []string) {
	for line := range strings.Lines(h.k.String()) {
		if strings.HasPrefix(line, "ip route") || strings.HasPrefix(line, "ip neigh") || strings.HasPrefix(line, "bridge fdb") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// leads fails the test unless that is all that leads to other hosts.
func (h *host) leads(when string, want ...string) {
	h.t.Helper()
	if got := h.reached(); !slices.Equal(got, want) {
		h.t.Errorf("%s: it is\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// peer writes the record of node i of a vxlan network.
func peer(store *etcdtest.Cluster, i int) {
	store.Force(fmt.Sprintf("%s10.5.%d.0-24", subnetKeys, i),
		fmt.Sprintf(`{"PublicIP":"192.0.2.%d","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}}`, i, i))
}

func wayTo(i int) []string {
	return []string{
		fmt.Sprintf("bridge fdb add 0e:00:00:00:00:%02x dev flannel.1 dst 192.0.2.%d", i, i),
		fmt.Sprintf("ip neigh add 10.5.%d.0 lladdr 0e:00:00:00:00:%02x dev flannel.1 nud permanent", i, i),
		fmt.Sprintf("ip route add 10.5.%d.0/24 via 10.5.%d.0 dev flannel.1 onlink", i, i),
	}
}

func ways(peers ...int) (all []string) {
	for _, i := range peers {
		all = append(all, wayTo(i)...)
	}
	slices.SortFunc(all, strings.Compare)
	return all
}

// taken is a host of ours at 192.0.2.1 that has 10.5.1.0/24.
func taken(t *testing.T, config, record string) *host {
	store := etcdtest.New()
	store.Force(subnetKeys+"10.5.1.0-24", record)
	return newHost(t, store, new(fake.Tunnels), "192.0.2.1", config)
}

func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Peers come, change and go as the registry says; what is taken away comes back; etcd may
// be away, the daemon end, and both at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := taken(t, vxlan, `{"PublicIP":"192.0.2.1","BackendType":"vxlan"}`)
		peer(h.store, 2)
		h.run()
		h.leads("at first", ways(2)...)
		before := h.tells
		for i := 3; i < 200; i++ {
			peer(h.store, i)
			later(pause / 100)
		}
		later(2 * pause)
		if peers, _ := h.says(); len(peers) != 198 || peers[0].By != "vxlan" || h.tells-before > 4 || len(h.hosts) != 0 {
			t.Errorf("it has told %d times, of %d peers and of hosts %v", h.tells-before, len(peers), h.hosts)
		}
		for i := 4; i < 200; i++ {
			h.store.Drop(fmt.Sprintf("%s10.5.%d.0-24", subnetKeys, i))
		}
		later(2 * time.Second)
		h.leads("after most have gone", ways(2, 3)...)

		h.k.Lose(netip.MustParsePrefix("10.5.2.0/24"))
		h.lost <- struct{}{}
		synctest.Wait()
		h.leads("after a route was removed", ways(2, 3)...)
		h.k.Lose(netip.MustParsePrefix("10.5.2.0/24"))
		later(inspection * beat)
		h.leads("after one was removed that nobody told of", ways(2, 3)...)
		wrote := h.k.Writes()
		later(time.Minute)
		if h.k.Writes() != wrote {
			t.Error("what is right is written again")
		}

		h.client.Cut(true)
		later(time.Hour)
		if _, trouble := h.says(); !strings.Contains(trouble, "away") && trouble == "<nil>" {
			t.Errorf("etcd is away, and it says %s", trouble)
		}
		h.leads("without etcd", ways(2, 3)...)
		h.stop()
		h.k.Lose(netip.MustParsePrefix("10.5.3.0/24"))
		h.run()
		h.leads("after a restart without etcd", ways(2, 3)...)
		h.stop()
		h.memory = []byte(`[{"ipv4":"10.5.2.0/24","PublicIP":"192.0.2.2","VTEP4":"0e:00:00:00:00:02"}]`)
		h.k.Lose(netip.MustParsePrefix("10.5.2.0/24"))
		h.run()
		later(time.Minute)
		h.leads("after a restart without etcd, of one that was killed before it told of a peer", ways(2, 3)...)
		h.stop()
		h.memory = nil
		h.run()
		h.leads("after a restart without etcd and memory", ways(2, 3)...)
		h.store.Drop(subnetKeys + "10.5.2.0-24")
		h.client.Cut(false)
		later(time.Minute)
		h.leads("etcd is back, where a peer has gone", ways(3)...)
		if peers, trouble := h.says(); len(peers) != 1 || trouble != "<nil>" {
			t.Errorf("it tells of %v, with trouble %s", peers, trouble)
		}
		h.stop()
		if err := h.d.Down(context.Background(), h.k, h.n); err != nil || len(h.reached()) != 0 {
			t.Errorf("down (%v) leaves %v", err, h.reached())
		}
	})
}

// A subnet that was given away while we were not there, an underlay that changes, another
// address of this host: each is another part.
func TestAnotherPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := taken(t, vxlan, `{"PublicIP":"192.0.2.1","BackendType":"vxlan"}`)
		peer(h.store, 1) // which says that it is 192.0.2.1's
		h.store.Force(subnetKeys+"10.5.1.0-24", `{"PublicIP":"192.0.2.7","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:07"}}`)
		h.run()
		later(2 * time.Second)
		own := h.n.Part.Subnets[0]
		if len(h.parts) != 1 || own.String() == "10.5.1.0/24" || !strings.Contains(h.k.String(), fmt.Sprintf("ip addr add %v/32 dev flannel.1", own.Addr())) {
			t.Fatalf("its subnet is another host's, and its parts were %+v\n%s", h.parts, h.k)
		}
		if got := h.reached(); len(got) != 3 || !strings.Contains(got[2], "10.5.1.0/24") {
			t.Errorf("the new owner is not reached: %v", got)
		}
		h.k.Uplink("eth0", 1400)
		later(inspection*beat + time.Second)
		if len(h.parts) != 2 || h.n.Part.MTU != 1350 || h.n.Part.Subnets[0] != own || !strings.Contains(h.k.String(), "mtu 1350") {
			t.Errorf("the underlay takes 1400 bytes, and its parts were %+v", h.parts)
		}
		h.client.Cut(true)
		h.k.Move(netip.MustParseAddr("192.0.2.77"))
		later(time.Minute)
		if _, trouble := h.says(); len(h.parts) != 2 || !strings.Contains(trouble, "192.0.2.77") {
			t.Errorf("another address, but nobody to tell: parts %+v, trouble %s", h.parts, trouble)
		}
		h.client.Cut(false)
		later(time.Minute)
		if _, trouble := h.says(); len(h.parts) != 3 || h.n.Part.Subnets[0] != own || trouble != "<nil>" {
			t.Errorf("another address: parts %+v, trouble %s", h.parts, trouble)
		}
		for _, p := range h.store.Pairs(subnetKeys) {
			if strings.HasSuffix(p.Key, flannel.Subnets{IPv4: own}.Key()) != strings.Contains(string(p.Value), "192.0.2.77") || strings.Contains(string(p.Value), `"192.0.2.1"`) {
				t.Errorf("the registry has %s %s", p.Key, p.Value)
			}
		}
		h.stop()
	})
}

// A host that moves does not follow a config that was changed meanwhile: its devices are
// those of the other one.
func TestMovedUnderAnotherConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, etcdtest.New(), new(fake.Tunnels), "192.0.2.1", vxlan)
		h.run()
		later(2 * time.Second)
		h.store.Force(configKey, hostGW)
		before := h.store.Pairs(subnetKeys)
		h.k.Move(netip.MustParseAddr("192.0.2.77"))
		later(time.Minute)
		if after := h.store.Pairs(subnetKeys); len(before) != 1 || len(after) != 1 || before[0].Created != after[0].Created {
			t.Errorf("the registry had %+v, and has %+v: it has left", before, after)
		}
		if _, trouble := h.says(); len(h.parts) != 0 || !strings.Contains(trouble, "192.0.2.77") || !strings.Contains(trouble, "config") {
			t.Errorf("parts %+v, trouble %s", h.parts, trouble)
		}
		if p := h.store.Pairs(subnetKeys); len(p) != 1 || !strings.Contains(string(p[0].Value), `"BackendType":"vxlan"`) {
			t.Errorf("the registry has %v", p)
		}
		h.stop()
	})
}

// Who makes containers of his own is told in a file, unless it tells of another network.
func TestSubnetFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := taken(t, vxlan, `{"PublicIP":"192.0.2.1","BackendType":"vxlan"}`)
		file := h.n.Options[optFile]
		text, err := os.ReadFile(file) // it is there as soon as the network is
		if want := "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"; err != nil || string(text) != want {
			t.Errorf("the file says\n%s(%v), want\n%s", text, err, want)
		}
		const theirs = "FLANNEL_NETWORK=10.9.0.0/16\nFLANNEL_SUBNET=10.9.1.1/24\n"
		if err := os.WriteFile(file, []byte(theirs), 0o644); err != nil {
			t.Fatal(err)
		}
		h.run()
		later(2 * pause)
		if text, err = os.ReadFile(file); err != nil || string(text) != theirs {
			t.Errorf("another network's file says\n%s(%v)", text, err)
		}
		if _, trouble := h.says(); !strings.Contains(trouble, file) {
			t.Errorf("trouble %s", trouble)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		later(inspection * beat)
		if _, trouble := h.says(); trouble != "<nil>" {
			t.Errorf("without that file: %s", trouble)
		}
		h.stop()
	})
}

// A host that loses its IPv6 for a while says so, and stays whom the others know.
func TestNoIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := etcdtest.New()
		h := newHost(t, store, new(fake.Tunnels), "192.0.2.1", dual)
		h.run()
		later(2 * time.Second)
		before := store.Pairs(subnetKeys)
		h.k.NoIPv6()
		later(time.Minute)
		if _, trouble := h.says(); len(h.parts) != 0 || !strings.Contains(trouble, "no IPv6 address") {
			t.Errorf("parts %+v, trouble %s", h.parts, trouble)
		}
		if after := store.Pairs(subnetKeys); len(after) != 1 || after[0].Created != before[0].Created {
			t.Errorf("the registry had %+v, and has %+v", before, after)
		}
		h.stop()
	})
}

// A host on no wire of ours is named; the others are reached, and let in.
func TestHostGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := taken(t, hostGW, `{"PublicIP":"192.0.2.1","BackendType":"host-gw"}`)
		h.store.Force(subnetKeys+"10.5.2.0-24", `{"PublicIP":"192.0.2.2","BackendType":"host-gw"}`)
		h.store.Force(subnetKeys+"10.5.3.0-24", `{"PublicIP":"198.51.100.3","BackendType":"host-gw"}`)
		h.store.Force(subnetKeys+"10.5.4.0-24", `{"PublicIP":"192.0.2.4","BackendType":"host-gw"}`)
		h.k.AddRoute(netip.MustParsePrefix("10.5.4.0/24")) // somebody else's
		h.run()
		later(2 * time.Second)
		reach, err := h.k.Reached(context.Background())
		if err != nil || len(reach) != 1 || reach[0].Via != netip.MustParseAddr("192.0.2.2") {
			t.Errorf("reached %+v (%v)", reach, err)
		}
		peers, trouble := h.says()
		if len(peers) != 3 || !strings.Contains(trouble, "198.51.100.3 (10.5.3.0/24)") || !strings.Contains(trouble, "a route to 10.5.4.0/24 already") || !slices.Contains(h.hosts, reach[0].Via) {
			t.Errorf("it tells of %v, hosts %v, trouble %s", peers, h.hosts, trouble)
		}
		h.stop()
		if state, err := h.d.Up(context.Background(), h.k, h.n); err != nil || !slices.Equal(state.Firewall[0].Hosts, []netip.Addr{reach[0].Via}) || !slices.Equal(state.Firewall[0].By, []string{"eth0"}) {
			t.Errorf("before anybody tells of hosts: %+v (%v)", state.Firewall, err)
		}
	})
}

// With udp two hosts carry packets to each other; a device that is lost ends the run,
// and the next one has it again.
func TestUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tunnels := etcdtest.New(), new(fake.Tunnels)
		a, b := newHost(t, store, tunnels, "192.0.2.1", udp), newHost(t, store, tunnels, "192.0.2.2", udp)
		a.run()
		b.run()
		later(2 * time.Second)
		a.leads("the whole network", "ip route add 10.5.0.0/16 dev flannel0")
		ours, theirs := tunnels.At(netip.MustParseAddrPort("192.0.2.1:8285")), tunnels.At(netip.MustParseAddrPort("192.0.2.2:8285"))
		if ours == nil || theirs == nil || ours.Spec.MTU != 1472 {
			t.Fatalf("tunnels %v %v", ours, theirs)
		}
		from, to := a.n.Part.Subnets[0].Addr().Next().As4(), b.n.Part.Subnets[0].Addr().Next().As4()
		packet := append([]byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0}, append(from[:], to[:]...)...)
		packet = append(packet, 'p', 'i', 'n', 'g')
		sum := 0
		for i := 0; i < 20; i += 2 {
			sum += int(packet[i])<<8 | int(packet[i+1])
		}
		sum = ^(sum>>16 + sum&0xffff)
		packet[10], packet[11] = byte(sum>>8), byte(sum)
		ours.Offer(fake.Packet{Bytes: packet})
		synctest.Wait()
		if got := theirs.Given(); len(got) != 1 || !strings.HasSuffix(string(got[0].Bytes), "ping") {
			t.Errorf("the other host is given %v", got)
		}
		if peers, _ := a.says(); len(peers) != 1 || peers[0].By != "udp, userspace" {
			t.Errorf("it tells of %v", peers)
		}
		for key, host := range map[string]string{"10.5.251.0-24": "240.0.0.1", "10.5.252.0-24": "0.1.2.3", "10.5.253.0-24": "255.255.255.255", "10.5.254.0-24": "192.0.2.4"} {
			store.Force(subnetKeys+key, fmt.Sprintf(`{"PublicIP":%q}`, host))
		}
		later(2 * time.Second)
		if peers, trouble := a.says(); len(peers) != 2 || peers[1].Host.String() != "192.0.2.4" || trouble != "<nil>" || a.ended != nil {
			t.Errorf("among hosts that cannot be reached are %v, with trouble %s (%v)", peers, trouble, a.ended)
		}
		right := a.k.String()
		if err := a.k.EnsureLink(t.Context(), kernel.Link{Name: "flannel0", Kind: "tun", Alias: kernel.Mark + a.n.ID, MTU: 1000}); err != nil {
			t.Fatal(err)
		}
		if a.up(); a.k.String() != right {
			t.Errorf("without its address, and with another MTU, the device stays so:\n%s\nwant\n%s", a.k, right)
		}
		ours.Interrupt()
		synctest.Wait()
		if a.ended == nil {
			t.Error("nothing is carried any more, and the run goes on")
		}
		a.run()
		if again := tunnels.At(netip.MustParseAddrPort("192.0.2.1:8285")); again == nil || again == ours {
			t.Error("the next run carries nothing")
		}
		a.stop()
		b.stop()
	})
}

// Peers are remembered whole.
func TestMemory(t *testing.T) {
	k := fake.New()
	for _, config := range []string{vxlan, dual, hostGW, udp} {
		_, p, err := newDriver(etcdtest.New()).read(joined(t, "b1", config))
		if err != nil {
			t.Fatal(err)
		}
		all := []flannel.Peer{{Subnets: flannel.Subnets{IPv4: netip.MustParsePrefix("10.5.9.0/24")}, PublicIP: netip.MustParseAddr("192.0.2.9")}}
		if config == vxlan || config == dual {
			all[0].VTEP4 = flannel.MAC{2, 1}
		}
		if config == dual {
			all[0].IPv6, all[0].PublicIPv6, all[0].VTEP6 = netip.MustParsePrefix("fd00:5:0:9::/64"), netip.MustParseAddr("2001:db8::9"), flannel.MAC{2, 2}
		}
		want, err := p.ways(context.Background(), k, all)
		if err != nil {
			t.Fatal(err)
		}
		text, err := memory(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := remember(context.Background(), driver.Site{Host: k, Memory: text}, p)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("remembered %+v (%v) by %s, want %+v", got, err, text, want)
		}
	}
	if _, err := remember(context.Background(), driver.Site{Host: k, Memory: json.RawMessage("{")}, held{}); err == nil {
		t.Error("a torn memory is believed")
	}
}
