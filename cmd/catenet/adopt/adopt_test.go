package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catenet/catenet"
)

func TestPodmanTranslates(t *testing.T) {
	f, err := podman([]byte(`{"name": "n", "driver": "bridge", "network_interface": "mine",
		"subnets": [{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "lease_range": {"start_ip": "10.0.0.7", "end_ip": "10.0.0.9"}}],
		"routes": [{"destination": "10.9.0.0/16", "gateway": "10.0.0.5"}], "dns_enabled": true, "network_dns_servers": ["192.0.2.1"],
		"options": {"mtu": "1400", "vlan": "7", "isolate": "true"}, "ipam_options": {"driver": "host-local"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := catenet.NetworkSpec{
		Name: "n", Driver: "bridge", Pools: []catenet.Pool{{
			Subnet: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
			SetAside: []catenet.Range{{First: netip.MustParseAddr("10.0.0.7"), Last: netip.MustParseAddr("10.0.0.9")}},
		}},
		Routes: []catenet.Route{{Dst: netip.MustParsePrefix("10.9.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.5"), Metric: 100}},
		DNS:    []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Options: map[string]string{catenet.OptionMTU: "1400", catenet.OptionBridge: "mine"},
	}
	if d := cmp.Diff(want, f.Spec, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); d != "" {
		t.Error(d)
	}
	said := strings.Join(f.Notes, "\n")
	for _, words := range []string{"chooses from 10.0.0.7-10.0.0.9", "option vlan=7 has no like here", "option isolate is not needed"} {
		if !strings.Contains(said, words) {
			t.Errorf("it is not said of %q:\n%s", words, said)
		}
	}
	if f.Link != "mine" || f.Err != nil {
		t.Errorf("%+v", f)
	}
	for lease, want := range map[string]string{
		`{"start_ip": "10.0.0.1", "end_ip": "10.0.0.255"}`: "", // the whole subnet
		`{"start_ip": "10.0.0.2"}`:                         "10.0.0.2-10.0.0.255",
		`{"end_ip": "10.0.0.127"}`:                         "10.0.0.1-10.0.0.127",
		`{"start_ip": "10.0.1.1"}`:                         "is no lease range",
	} {
		f, err := podman([]byte(`{"name": "n", "driver": "bridge", "subnets": [{"subnet": "10.0.0.0/24", "lease_range": ` + lease + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(f.Err)
		if f.Err == nil {
			got = strings.Trim(fmt.Sprint(f.Spec.Pools[0].SetAside), "[]")
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %s, want %q", lease, got, want)
		}
	}
	if f, err := podman([]byte(`{"name": "n", "driver": "macvlan", "ipam_options": {"driver": "dhcp"}}`)); err != nil || !catenet.IsUnsupported(f.Err) {
		t.Errorf("addresses from elsewhere: %+v, %v", f, err)
	}
}

func TestDockerTranslates(t *testing.T) {
	for text, want := range map[string]string{
		`{"Name": "bridge", "Driver": "bridge", "Scope": "local"}`:                                       "every engine has its own",
		`{"Name": "none", "Driver": "null", "Scope": "local"}`:                                           "every engine has its own",
		`{"Name": "ingress", "Driver": "overlay", "Scope": "swarm", "Ingress": true}`:                    "it is the swarm's",
		`{"Name": "docker_gwbridge", "Driver": "bridge", "Scope": "local"}`:                              "it is the swarm's",
		`{"Name": "odd", "Driver": "bridge", "IPAM": {"Driver": "dhcp"}}`:                                "there is no IPAM driver",
		`{"Name": "fine", "Driver": "bridge", "Id": "0123456789abcdef", "ConfigFrom": {"Network": "c"}}`: "",
	} {
		f, err := dockerNetwork([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := f.LeftOut
		if f.Err != nil {
			got = f.Err.Error()
		}
		if !strings.Contains(got, want) || want == "" && (got != "" || f.Link != "br-0123456789ab" || f.Spec.ConfigFrom != "") {
			t.Errorf("%s: %+v", text, f)
		}
	}
}

func FuzzPodman(f *testing.F) {
	f.Add([]byte(`{"name": "n", "driver": "bridge", "subnets": [{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "lease_range": {"start_ip": "10.0.0.7"}}]}`))
	f.Add([]byte(`{"name": "n", "subnets": [{"subnet": "fd00::/64", "lease_range": {"end_ip": "1.2.3.4"}}], "options": {"mode": "x"}, "driver": "macvlan"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, err := podman(text); err == nil {
			for _, p := range n.Spec.Pools {
				for _, r := range p.SetAside {
					if !p.Subnet.Contains(r.First) || !p.Subnet.Contains(r.Last) {
						t.Errorf("%s of %s", r, p.Subnet)
					}
				}
			}
		}
	})
}

func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"Name": "n", "Driver": "bridge", "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.0.0.0/24"}]}, "Containers": {"a": {"Name": "b"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, err := dockerNetwork(text); err == nil && n.LeftOut == "" && n.Err == nil && n.Spec.Name == "" {
			t.Errorf("a network without a name: %+v", n)
		}
	})
}

// TestPodmanReadsFilesAlone: what else lies in the folder defines nothing, and
// keeps nobody waiting.
func TestPodmanReadsFilesAlone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name+".json") }
	good := []byte(`{"name": "good", "driver": "bridge", "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]}`)
	if err := errors.Join(
		os.WriteFile(at("good"), good, 0o600),
		os.WriteFile(at("half"), good[:20], 0o600),
		os.WriteFile(at("long"), append(bytes.Repeat([]byte{' '}, maxFile), good...), 0o600),
		syscall.Mkfifo(at("pipe"), 0o600),
		os.Symlink("/dev/zero", at("zero")),
		os.Symlink("nowhere", at("away")),
		os.Mkdir(at("folder"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	found, err := Podman(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		word := "no "
		if f.Err == nil {
			word = ""
		}
		got = append(got, word+f.Spec.Name)
	}
	if got, want := strings.Join(got, ", "), "no away, no folder, good, no half, no long, no pipe, no zero"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}
