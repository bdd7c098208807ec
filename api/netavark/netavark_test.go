package netavark_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/api/netavark"
	"github.com/catenet/catenet/api/pipe"
)

const definition = `{"name":"front","id":"94e7","driver":"bridge","network_interface":"podman1","subnets":[{"subnet":"10.7.0.0/24","gateway":"10.7.0.1"},` +
	`{"subnet":"fd00:7::/64","gateway":"fd00:7::1","lease_range":{"start_ip":"fd00:7::9"}}],"ipv6_enabled":true,"internal":false,"dns_enabled":true,"ipam_options":{"driver":"host-local"}}`

func setup(id, info string) pipe.Call {
	return pipe.Call{Args: []string{"setup", "/run/netns/" + id}, Stdin: []byte(`{"container_id":"` + id + `","container_name":"` + id + `",` +
		`"networks":{"front":{"static_ips":["10.7.0.2","fd00:7::9"],"interface_name":"eth0"}},"network_info":{"front":` + info + `}}`)}
}

// TestRefusalsNameWhatToDo: of a network that nobody here can make, and of a call
// without a namespace.
func TestRefusalsNameWhatToDo(t *testing.T) {
	f := netavark.New(apitest.New(), slog.New(slog.DiscardHandler))
	nowhere := setup("c1", definition)
	nowhere.Args[1] = ""
	for _, c := range []struct {
		call pipe.Call
		want []string
	}{
		{setup("c1", strings.Replace(definition, `"bridge"`, `"macvlan"`, 1)), []string{"network front: there is no driver", "-d bridge"}},
		{nowhere, []string{"no absolute path", "setup /run/netns/NAME"}},
	} {
		a := f.Answer(t.Context(), c.call)
		for _, want := range c.want {
			if a.Exit == 0 || !strings.Contains(string(a.Stdout), want) {
				t.Errorf("%q is not in %s", want, a.Stdout)
			}
		}
	}
}

// TestWhatPodmanHasRemoved goes when the next network is made for Podman, and nothing
// else does: not what has a definition, what is to be joined, or what was made here.
func TestWhatPodmanHasRemoved(t *testing.T) {
	dir, e := t.TempDir(), apitest.New()
	f := netavark.New(e, slog.New(slog.DiscardHandler))
	f.Definitions = dir
	needs := func(name string, n int) {
		t.Helper()
		info := fmt.Sprintf(`{"name":%q,"id":"%04d","driver":"bridge","subnets":[{"subnet":"10.7.%d.0/24"}]}`, name, n, n)
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(info), 0o600); err != nil {
			t.Fatal(err)
		}
		call := pipe.Call{Args: []string{"setup", "/run/netns/c"}, Stdin: fmt.Appendf(nil,
			`{"container_id":"c","container_name":"c","networks":{%q:{"static_ips":["10.7.%d.2"],"interface_name":"eth0"}},"network_info":{%q:%s}}`, name, n, name, info)}
		_ = f.Answer(t.Context(), call) // the twin of an engine may refuse the container
		_ = e.Remove(t.Context(), "c", true)
	}
	if _, _, err := e.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: "mine", Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"gone", "stays", "planned"} {
		needs(name, i)
	}
	later := catenet.SandboxSpec{Name: "later", Owner: catenet.OwnerRun, Networks: []catenet.EndpointSpec{{Network: "planned"}}}
	if _, err := e.CreateSandbox(t.Context(), later, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gone", "planned"} {
		if err := os.Remove(filepath.Join(dir, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want string) {
		t.Helper()
		var have []string
		all, err := e.Networks(t.Context())
		for _, n := range all {
			if !n.Predefined {
				have = append(have, n.Name)
			}
		}
		if got := strings.Join(have, " "); err != nil || got != want {
			t.Errorf("there are %s, want %s (%v)", got, want, err)
		}
	}
	unread := filepath.Join(dir, "half.json")
	if err := os.WriteFile(unread, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	needs("one", 7)
	has("gone mine one planned stays") // who knows what the other one is
	if err := os.Remove(unread); err != nil {
		t.Fatal(err)
	}
	needs("two", 8)
	has("mine one planned stays two")
}

// TestDefinitions: Podman's file of a network is told what Podman has of it, and
// keeps all else; a file of another network stays as it is.
func TestDefinitions(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "front.json")
	f := netavark.New(apitest.New(), slog.New(slog.DiscardHandler))
	f.Definitions = dir
	theirs := `{"unheard-of":[1],` + definition[1:]
	other := strings.Replace(theirs, "94e7", "0000", 1)
	for _, text := range []string{other, theirs} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = f.Answer(context.Background(), setup("c1", definition)) // the twin of an engine may refuse the container
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text == other {
			if string(got) != other {
				t.Errorf("another network's definition is now %s", got)
			}
			continue
		}
		var now struct {
			Kept    []int `json:"unheard-of"`
			Subnets []netavark.Subnet
		}
		if err := json.Unmarshal(got, &now); err != nil {
			t.Fatal(err)
		}
		if l := now.Subnets[0].Lease; len(now.Kept) != 1 || l == nil || l.Start.String() != "10.7.0.1" || l.End.String() != "10.7.0.127" {
			t.Errorf("told: %s", got)
		}
		if l := now.Subnets[1].Lease; l.Start.String() != "fd00:7::9" || l.End.IsValid() {
			t.Errorf("what Podman's user had chosen is changed: %s", got)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// FuzzCall: whatever a caller says, the answer is JSON or a line, and a failure
// says why.
func FuzzCall(f *testing.F) {
	f.Add("setup /run/netns/x", setup("c1", definition).Stdin)
	f.Add("create", []byte(definition))
	f.Add("create", []byte(`{"network":`+definition+`,"used":{"subnets":["10.92.0.0/24"]},"options":{"subnet_pools":[{"base":"10.92.0.0/16","size":24}]}}`))
	f.Add("--rootless=false update front --network-dns-servers 192.0.2.1,::1", []byte(nil))
	f.Add("teardown /x -f y", []byte(`{"container_id":"a","networks":[{"name":"n"}],"network_info":{"n":{"name":"n"}}}`))
	f.Fuzz(func(t *testing.T, args string, stdin []byte) {
		front := netavark.New(apitest.New(), slog.New(slog.DiscardHandler))
		a := front.Answer(context.Background(), pipe.Call{Args: strings.Fields(args), Stdin: stdin})
		var failure struct{ Error string }
		if a.Exit != 0 && (json.Unmarshal(a.Stdout, &failure) != nil || failure.Error == "") {
			t.Fatalf("%q fails with %q", args, a.Stdout)
		}
	})
}

// TestDefine: a network that Podman is told of is found again as the same.
func TestDefine(t *testing.T) {
	n := catenet.NetworkStatus{Network: catenet.Network{ID: strings.Repeat("ab", 32), NetworkSpec: catenet.NetworkSpec{Name: "n", Driver: "bridge"}}}
	def, apart, err := netavark.Define(n, nil)
	if err != nil || len(apart) != 0 || def.Interface != "br-abababababab" {
		t.Errorf("%+v %v %v", def, apart, err)
	}
	n.Driver = "ptp"
	if _, _, err := netavark.Define(n, nil); !catenet.IsUnsupported(err) {
		t.Errorf("a network of another kind: %v", err)
	}
}
