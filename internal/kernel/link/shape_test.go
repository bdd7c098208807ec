package link

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// slow is a rate at which what the tests send would take minutes.
var slow = kernel.Rate{Bytes: 10_000, Burst: 20_000}

// shaped is a container whose veth is bounded in both directions.
func newShaped(t *testing.T, isolated bool) (a *attached, ifb, veth kernel.Link) {
	a = newAttached(t)
	ifb, veth = shapedLinks(a, 1, "eth0", isolated)
	a.shape(ifb, veth)
	return a, ifb, veth
}

// shapedLinks are the links of such a container.
func shapedLinks(a *attached, i int, peer string, isolated bool) (ifb, veth kernel.Link) {
	veth = vethLink(i, a.ns, peer)
	ifb = kernel.Link{Name: "cti00000000000" + fmt.Sprint(i), Kind: "ifb", Alias: veth.Alias, NoIPv6: true, Rate: slow}
	veth.Isolated, veth.Rate, veth.Through = isolated, slow, ifb.Name
	return ifb, veth
}

func (a *attached) shape(links ...kernel.Link) {
	a.t.Helper()
	for _, l := range links {
		if err := a.h.EnsureLink(a.t.Context(), l); err != nil {
			a.t.Fatal(err)
		}
	}
}

// flood sends 2 MB from one namespace to an address, and returns how long that
// took.
func flood(t *testing.T, from *kerneltest.NS, to string) time.Duration {
	t.Helper()
	began := time.Now()
	from.MustDo(func() error {
		c, err := net.ListenPacket("udp", ":0")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 2000 {
			_, err = c.WriteTo(make([]byte, 1000), &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
			if err != nil && !strings.Contains(err.Error(), "no buffer space") {
				return err
			}
		}
		return nil
	})
	return time.Since(began)
}

// received is how many bytes a link has taken in.
func received(t *testing.T, ns *kerneltest.NS, link string) int {
	t.Helper()
	var links []struct {
		Stats64 struct{ RX struct{ Bytes int } }
	}
	if err := json.Unmarshal([]byte(ns.Run("ip", "-j", "-s", "link", "show", "dev", link)), &links); err != nil {
		t.Fatal(err)
	}
	return links[0].Stats64.RX.Bytes
}

// What goes beyond the rate is dropped, in each direction; and the first of it
// arrives. The bound follows from the bucket, so that no machine is too slow.
func TestShaping(t *testing.T) {
	for name, isolated := range map[string]bool{"plain": false, "isolated": true} {
		t.Run(name, func(t *testing.T) {
			a, _, _ := newShaped(t, isolated)
			a.ctr.Run("ping", "-c1", "-W5", "10.9.0.1")
			for _, way := range []struct {
				from, to   *kerneltest.NS
				addr, link string
			}{{a.host, a.ctr, "10.9.0.3", "eth0"}, {a.ctr, a.host, "10.9.0.1", "br0"}} {
				before := received(t, way.to, way.link)
				took := flood(t, way.from, way.addr)
				got := received(t, way.to, way.link) - before
				most := 2*int(slow.Burst) + int((took+time.Second).Seconds()*float64(slow.Bytes))*2
				if got < 10_000 || got > most {
					t.Errorf("to %s: %d bytes of 2,000,000 arrived in %s, want 10,000 to %d", way.addr, got, took, most)
				}
			}
		})
	}
}

// A pass over what is right writes nothing; what somebody takes away is told,
// and the next pass puts it back.
func TestShapingIsPutBack(t *testing.T) {
	a, ifb, veth := newShaped(t, false)
	look := func() string {
		return a.host.Run("sh", "-c", "tc qdisc show dev "+veth.Name+"; tc qdisc show dev "+ifb.Name+"; tc filter show dev "+veth.Name+" ingress")
	}
	want := look()
	for _, part := range []string{"tbf 9f: root", "clsact", "Egress Redirect to device " + ifb.Name, "rate 80Kbit"} {
		if !strings.Contains(want, part) {
			t.Fatalf("there is no %s:\n%s", part, want)
		}
	}
	before := a.h.Writes()
	a.shape(ifb, veth)
	if n := a.h.Writes() - before; n != 0 {
		t.Errorf("a further pass made %d changes", n)
	}
	losses := a.watched()
	for _, harm := range [][]string{
		{"tc", "qdisc", "del", "dev", veth.Name, "root"},
		{"tc", "qdisc", "replace", "dev", veth.Name, "root", "pfifo"},
		{"tc", "qdisc", "change", "dev", veth.Name, "root", "handle", "9f:", "tbf", "rate", "1gbit", "burst", "1mb", "limit", "1mb"},
		{"tc", "qdisc", "replace", "dev", ifb.Name, "root", "handle", "9f:", "tbf", "rate", "1gbit", "burst", "1mb", "limit", "1mb"},
		{"tc", "filter", "replace", "dev", veth.Name, "ingress", "pref", "160", "protocol", "all", "handle", "800::800", "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", "br0"},
		{"tc", "qdisc", "del", "dev", veth.Name, "clsact"},
		{"tc", "filter", "del", "dev", veth.Name, "ingress"},
		{"tc", "qdisc", "del", "dev", ifb.Name, "root"},
		{"ip", "link", "del", ifb.Name},
	} {
		t.Log(strings.Join(harm, " "))
		a.host.Run(harm[0], harm[1:]...)
		lost := veth.Name
		if strings.Contains(strings.Join(harm, " "), ifb.Name) {
			lost = ifb.Name
		}
		told(t, losses, kernel.Loss{Link: lost})
		a.shape(ifb, veth)
		if got := look(); shapeOf(got) != shapeOf(want) {
			t.Errorf("it is now\n%s\nand was\n%s", got, want)
		}
	}
	if err := a.h.DeleteLinks(t.Context(), veth.Name, ifb.Name); err != nil {
		t.Error(err)
	}
	if out := a.host.Run("ip", "-br", "link"); strings.Contains(out, ifb.Name) || strings.Contains(out, veth.Name) {
		t.Errorf("left behind:\n%s", out)
	}
}

// shapeOf leaves out what counts up.
func shapeOf(tc string) string {
	var lines []string
	for line := range strings.Lines(tc) {
		if !strings.Contains(line, "index") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, "\n")
}
