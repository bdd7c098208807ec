package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
)

// TestEveryNameIsCompleted: a verb that takes arguments, and a flag that names
// what there is, say how they are completed.
func TestEveryNameIsCompleted(t *testing.T) {
	c := &cli{}
	flags := c.flagWords()
	met := map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		takes := strings.Contains(cmd.Use, "NAME") || strings.Contains(cmd.Use, "NETWORK") || strings.Contains(cmd.Use, "CONTAINER")
		makes := cmd.CommandPath() == "catenet network create" || cmd.CommandPath() == "catenet attach"
		if takes && !makes && cmd.ValidArgsFunction == nil {
			t.Errorf("%s completes nothing", cmd.CommandPath())
		}
		for name := range flags {
			_, has := cmd.GetFlagCompletionFunc(name)
			met[name] = met[name] || has
		}
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(c.root())
	for name := range flags {
		if !met[name] {
			t.Errorf("no verb has a flag --%s", name)
		}
	}
}

// completed returns the words that Tab offers on a command line.
func completed(t *testing.T, host string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(append([]string{"__completeNoDesc", "-H", host}, args...), nil, &out, &errs); code != 0 {
		t.Errorf("%q: exit code %d, %s", args, code, &errs)
	}
	words, _, _ := strings.Cut(out.String(), ":")
	if i := strings.LastIndex(out.String(), "\n:"); i >= 0 {
		words = out.String()[:i]
	}
	return strings.Join(strings.Fields(words), " ")
}

func TestCompletions(t *testing.T) {
	e := apitest.New()
	defer e.Close()
	host, _ := apitest.Serve(t, e)
	for _, name := range []string{"front", "back"} {
		if _, _, err := e.CreateNetwork(t.Context(), catenet.NetworkSpec{Name: name, Driver: "bridge"}); err != nil {
			t.Fatal(err)
		}
	}
	direct := catenet.NetworkSpec{Name: "direct", Driver: "routed", Options: map[string]string{"peers": "10.8.2.0/24=192.0.2.2"}}
	if _, _, err := e.CreateNetwork(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "db"} {
		spec := catenet.SandboxSpec{Name: name, Owner: catenet.OwnerRun, Networks: []catenet.EndpointSpec{{Network: "front"}}, Process: &catenet.Process{Args: []string{"sleep", "60"}}}
		if _, err := e.CreateSandbox(t.Context(), spec, name == "web"); err != nil {
			t.Fatal(err)
		}
	}
	for typed, want := range map[string]string{
		"rm ":                           "db web",
		"rm web ":                       "db", // not twice
		"start ":                        "db",
		"stop ":                         "web",
		"exec ":                         "web",
		"detach ":                       "",
		"logs web ":                     "",
		"inspect ":                      "db web back bridge direct front host none",
		"network rm ":                   "back direct front",
		"network connect ":              "back bridge direct front",
		"network connect back ":         "db web",
		"run --network ":                "back bridge direct front host none container:web",
		"attach --network ":             "back bridge direct front",
		"run --network container:":      "container:web",
		"run --network front:ip=,m":     "front:ip=,ip= front:ip=,ip6= front:ip=,mac= front:ip=,alias= front:ip=,link= front:ip=,interface_name= front:ip=,gw-priority= front:ip=,driver-opt=",
		"run --link ":                   "web",
		"network create -d ":            "bridge routed",
		"network create -o ":            "com.docker.network.bridge.name= com.docker.network.bridge.host_binding_ipv4=",
		"network create --subnet ":      "",
		"network update -o ":            "peers=",
		"network update direct -o ":     "peers=10.8.2.0/24=192.0.2.2",
		"network update front -o ":      "",
		"network connect --driver-opt ": "com.docker.network.endpoint.ifname=",
		"network ls --filter ":          strings.Join(catenet.NetworkFilterKeys, "= ") + "=",
		"network ls --filter type=":     "type=builtin type=custom",
		"events --filter type=":         "type=network type=sandbox",
		"events --filter container=":    "container=db container=web",
		"ps --format ":                  "table json",
	} {
		got := completed(t, host, strings.Split(typed, " ")...)
		for range 10 { // a daemon on a busy machine may not answer within tabPatience
			if got != "" || want == "" {
				break
			}
			got = completed(t, host, strings.Split(typed, " ")...)
		}
		if got != want {
			t.Errorf("%s is completed by %q, want %q", typed, got, want)
		}
	}
}

// TestNobodyAnswersAndCompletionIsSilent: the daemon is gone, or does not
// answer for ever.
func TestNobodyAnswersAndCompletionIsSilent(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "deaf.sock")
	l, err := net.Listen("unix", deaf)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, host := range []string{deaf, "/nonexistent/sock", "no path"} {
		if got := completed(t, host, "rm", ""); got != "" {
			t.Errorf("at %s: %q", host, got)
		}
	}
}
