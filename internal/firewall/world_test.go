package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

// world is a host between an outside and containers:
//
//	outside 192.0.2.2, 2001:db8::2
//	   │
//	host    192.0.2.1, 2001:db8::1
//	   ├─ br-front  a 172.18.0.2, fd00:18::2   b 172.18.0.3, fd00:18::3
//	   ├─ br-back   c 172.19.0.2               d 172.19.0.3   (no icc)
//	   └─ br-inner  i 172.20.0.2               j 172.20.0.3   (internal)
type world struct {
	host, outside, a, b, c, d, i, j *kerneltest.NS
	f                               *Firewall
}

// newWorld makes one; brNetfilter is 0 or 1: whether bridged packets pass
// the IP tables.
func newWorld(t testing.TB, brNetfilter int, o nft.Options) *world {
	t.Helper()
	w := &world{host: newNS(t), outside: newNS(t)}
	kerneltest.Connect(w.host, "up0", "192.0.2.1/24", w.outside, "eth0", "192.0.2.2/24")
	w.host.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "up0", "nodad")
	w.outside.Run("ip", "addr", "add", "2001:db8::2/64", "dev", "eth0", "nodad")
	for _, kv := range []string{
		"net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		fmt.Sprintf("net.bridge.bridge-nf-call-iptables=%d", brNetfilter),
		fmt.Sprintf("net.bridge.bridge-nf-call-ip6tables=%d", brNetfilter),
	} {
		w.host.Run("sysctl", "-qw", kv)
	}
	w.bridge("br-front", "172.18.0.1/16", "fd00:18::1/64")
	w.bridge("br-back", "172.19.0.1/16")
	w.bridge("br-inner", "172.20.0.1/16")
	w.a = w.container(t, "br-front", "a", "172.18.0.2/16", "fd00:18::2/64")
	w.b = w.container(t, "br-front", "b", "172.18.0.3/16", "fd00:18::3/64")
	w.c = w.container(t, "br-back", "c", "172.19.0.2/16")
	w.d = w.container(t, "br-back", "d", "172.19.0.3/16")
	w.i = w.container(t, "br-inner", "i", "172.20.0.2/16")
	w.j = w.container(t, "br-inner", "j", "172.20.0.3/16")
	for _, l := range []string{"ctnc", "ctnd"} {
		w.host.Run("bridge", "link", "set", "dev", l, "isolated", "on")
	}
	w.f = open(t, w.host, o)
	return w
}

// newNS makes a namespace whose IPv6 addresses serve at once.
func newNS(t testing.TB) *kerneltest.NS {
	ns := kerneltest.New(t)
	ns.Run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
	return ns
}

func (w *world) bridge(name string, addrs ...string) {
	w.host.Run("ip", "link", "add", name, "type", "bridge")
	w.host.Run("ip", "link", "set", name, "up")
	for _, a := range addrs {
		w.host.Run("ip", "addr", "add", a, "dev", name, "nodad")
	}
}

func (w *world) container(t testing.TB, bridge, name string, addrs ...string) *kerneltest.NS {
	t.Helper()
	ns := newNS(t)
	kerneltest.Connect(w.host, kernel.EndpointLinkPrefix+name, "", ns, "eth0", "")
	w.host.Run("ip", "link", "set", kernel.EndpointLinkPrefix+name, "master", bridge)
	w.host.Run("bridge", "link", "set", "dev", kernel.EndpointLinkPrefix+name, "hairpin", "on")
	for _, a := range addrs {
		ns.Run("ip", "addr", "add", a, "dev", "eth0", "nodad")
		gw := a[:strings.LastIndexAny(a, ".:")+1] + "1"
		ns.Run("ip", "route", "add", "default", "via", gw)
	}
	return ns
}

// serve answers every connection and datagram to addr in ns with the
// client's address. network is tcp or udp.
func serve(t testing.TB, ns *kerneltest.NS, network, addr string) {
	t.Helper()
	if network == "udp" {
		var pc net.PacketConn
		ns.MustDo(func() (err error) { pc, err = net.ListenPacket("udp", addr); return err })
		t.Cleanup(func() { pc.Close() })
		go func() {
			for b := make([]byte, 1500); ; {
				_, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				pc.WriteTo([]byte(from.String()), from)
			}
		}()
		return
	}
	var l net.Listener
	ns.MustDo(func() (err error) { l, err = net.Listen("tcp", addr); return err })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, conn.RemoteAddr().String())
			conn.Close()
		}
	}()
}

// reach returns the address by which the server at addr sees ns.
func reach(ns *kerneltest.NS, network, addr string) (seen string, err error) {
	err = ns.Do(func() error {
		conn, err := (&net.Dialer{Timeout: 400 * time.Millisecond}).Dial(network, addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(400 * time.Millisecond))
		if network == "udp" {
			io.WriteString(conn, "hello")
		}
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		seen, _, err = net.SplitHostPort(string(b[:n]))
		return err
	})
	return seen, err
}

func reaches(t *testing.T, who string, ns *kerneltest.NS, network, addr, want string) {
	t.Helper()
	seen, err := reach(ns, network, addr)
	if err != nil {
		t.Errorf("%s does not reach %s %s: %v", who, network, addr, err)
	} else if want != "" && seen != want {
		t.Errorf("%s at %s %s is seen as %s, not as %s", who, network, addr, seen, want)
	}
}

// cutOff demands silence, not a refusal: that would come from somewhere.
func cutOff(t *testing.T, who string, ns *kerneltest.NS, network, addr string) {
	t.Helper()
	seen, err := reach(ns, network, addr)
	if err == nil {
		t.Errorf("%s reaches %s %s (seen as %s)", who, network, addr, seen)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("%s at %s %s: %v", who, network, addr, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
