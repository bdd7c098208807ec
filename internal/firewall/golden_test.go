package firewall

import (
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/foreign"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/nft"
)

var update = flag.Bool("update", false, "write the golden files anew")

// open returns a firewall of a namespace, on its real kernel.
func open(t testing.TB, ns *kerneltest.NS, o nft.Options) *Firewall {
	t.Helper()
	var c *nft.Conn
	ns.MustDo(func() (err error) { c, err = nft.Open(o); return err })
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(c, foreign.New(c, inetTable.Name), slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func publish(proto catenet.Proto, host, to, network string) Port {
	h := netip.MustParseAddrPort(host)
	return Port{Proto: proto, HostIP: h.Addr(), HostPort: h.Port(), To: netip.MustParseAddrPort(to), Network: network}
}

func link(proto catenet.Proto, from, to string) Link {
	return Link{Proto: proto, From: netip.MustParseAddr(from), To: netip.MustParseAddrPort(to)}
}

var (
	front = Network{ID: "front0000000", Link: "br-front", Subnets: prefixes("172.18.0.0/16", "fd00:18::/64"), V4: Gateway{Masquerade: true}, V6: Gateway{Masquerade: true}}
	back  = Network{ID: "back00000000", Link: "br-back", Subnets: prefixes("172.19.0.0/16"), V4: Gateway{Masquerade: true}, NoICC: true}
	shy   = Network{ID: "shy000000000", Link: "br-shy", Subnets: prefixes("172.21.0.0/16", "fd00:21::/64"), Internal: true, NoICC: true}
	inner = Network{ID: "inner0000000", Link: "br-inner", Subnets: prefixes("172.20.0.0/16"), Internal: true}
)

// TestGolden compares what nft(8), a second opinion, reads back from the
// kernel with testdata/*.nft.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name     string
		networks []Network
		ports    []Port
		links    []Link
	}{
		{name: "empty"},
		{name: "networks", networks: []Network{front, back, inner}},
		{name: "gateways", networks: []Network{
			{
				ID: "routed000000", Link: "br-routed", Subnets: prefixes("172.21.0.0/16", "fd00:21::/64"), NoICC: true,
				V4: Gateway{Mode: catenet.GatewayRouted}, V6: Gateway{Masquerade: true, Source: netip.MustParseAddr("2001:db8::9")}, Trusted: []string{"up1", "up2"},
			},
			{
				ID: "open00000000", Link: "br-open", Subnets: prefixes("172.22.0.0/16", "fd00:22::/64"),
				V4: Gateway{Mode: catenet.GatewayUnprotected, Masquerade: true, Source: netip.MustParseAddr("192.0.2.9")}, V6: Gateway{Mode: catenet.GatewayRouted},
			},
			{
				ID: "alone0000000", Link: "br-alone", Subnets: prefixes("172.23.0.0/16", "fd00:23::/64"), Internal: true,
				V4: Gateway{Mode: catenet.GatewayIsolated}, V6: Gateway{Mode: catenet.GatewayIsolated},
			},
		}, ports: []Port{
			publish(catenet.TCP, "0.0.0.0:0", "172.21.0.2:80", "routed000000"),
			publish(catenet.UDP, "[::]:0", "[fd00:22::2]:53", "open00000000"),
			publish(catenet.TCP, "[::]:8080", "[fd00:21::2]:80", "routed000000"),
		}},
		{name: "spans", networks: []Network{across, behind}},
		{name: "ports", networks: []Network{front}, ports: []Port{
			publish(catenet.TCP, "0.0.0.0:8080", "172.18.0.2:80", front.ID),
			publish(catenet.TCP, "[::]:8080", "[fd00:18::2]:80", front.ID),
			publish(catenet.UDP, "192.0.2.1:53", "172.18.0.2:5353", front.ID),
			publish(catenet.SCTP, "[2001:db8::1]:9", "[fd00:18::2]:9", front.ID),
			publish(catenet.TCP, "127.0.0.1:81", "172.18.0.2:81", front.ID),
			publish(catenet.TCP, "127.0.0.2:81", "172.18.0.3:81", front.ID),
			publish(catenet.TCP, "[::1]:81", "[fd00:18::2]:81", front.ID),
		}},
		{name: "links", networks: []Network{back, shy}, links: []Link{
			link(catenet.TCP, "172.19.0.2", "172.19.0.3:80"),
			link(catenet.UDP, "172.19.0.3", "172.19.0.4:53"),
			link(catenet.TCP, "fd00:21::2", "[fd00:21::3]:80"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.New(t)
			f := open(t, ns, nft.Options{})
			must(t, f.Restore(t.Context(), c.networks, c.ports, c.links...))
			golden(t, c.name, ns.Run("nft", "list", "ruleset"))
			if repaired, err := f.Check(t.Context()); err != nil || repaired {
				t.Errorf("a Check after Restore wrote: %v %v", repaired, err)
			}
		})
	}
}

var elements = regexp.MustCompile(`elements = \{([^}]*)\}`)

// normal is what nft lists, with the elements in order: the kernel gives
// those of hashes in any.
func normal(listing string) string {
	return elements.ReplaceAllStringFunc(listing, func(s string) string {
		els := strings.Split(elements.FindStringSubmatch(s)[1], ",")
		for i := range els {
			els[i] = strings.TrimSpace(els[i])
		}
		slices.Sort(els)
		return "elements = {\n\t\t\t" + strings.Join(els, ",\n\t\t\t") + "\n\t\t}"
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = normal(got)
	path := filepath.Join("testdata", name+".nft")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-update writes it anew):\n%s", path, d)
	}
}
