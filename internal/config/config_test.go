package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/bounds"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catenet.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverTheFileAndTheFileOverDefaults(t *testing.T) {
	path := file(t, "run-dir: /run/a\nstate-dir: /var/lib/a\nlog-level: debug\nallow-forward: true\n"+
		"default-address-pools:\n- base: 10.0.0.0/8\n  size: 24\n")
	got, err := Parse([]string{"--config", path, "--run-dir", "/run/b", "--metrics=127.0.0.1:9"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		RunDir: "/run/b", StateDir: "/var/lib/a", Listen: "unix:///run/b/catenet.sock", Metrics: "127.0.0.1:9",
		AllowForward: true, LogLevel: slog.LevelDebug, Loopback: "auto", PodmanNetworks: "/etc/containers/networks", DockerHost: "unix:///var/run/docker.sock",
		AddressPools: []catenet.AddressPool{{Base: netip.MustParsePrefix("10.0.0.0/8"), Size: 24}},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestTheExampleIsRight(t *testing.T) {
	got, err := Parse([]string{"--config", file(t, Example)}, io.Discard)
	if err != nil || len(got.AddressPools) != 2 || !got.AllowForward {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPoolFlag(t *testing.T) {
	got, err := Parse([]string{"--default-address-pool", "base=10.1.0.0/16,size=24", "--default-address-pool=size=28,base=10.2.0.0/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	const both = "base=10.1.0.0/16,size=24 base=10.2.0.0/16,size=28"
	if s := (&poolFlag{pools: &got.AddressPools}).String(); s != both {
		t.Error(s)
	}
	path := file(t, "default-address-pools:\n- base: 10.0.0.0/8\n  size: 24\n")
	got, err = Parse([]string{"--config", path, "--default-address-pool=base=10.1.0.0/16,size=24", "--default-address-pool=size=28,base=10.2.0.0/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if s := (&poolFlag{pools: &got.AddressPools}).String(); s != both {
		t.Errorf("over the file's: %s", s)
	}
}

func TestBadSettingsSayWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct {
		name, text string
		args       []string
		want       []string
	}{
		{"unknown key", "run-dir: /run/a\nrun_dir: /x\n", nil, []string{"[2:1]", "run_dir"}},
		{"unknown key in a pool", "default-address-pools:\n- base: 10.0.0.0/8\n  sise: 2\n", nil, []string{"[3:3]", "sise"}},
		{"wrong type", "allow-forward: 7up\n", nil, []string{"[1:16]"}},
		{"no YAML", "a: [", nil, []string{"settings file"}},
		{"relative folder", "run-dir: x\n", nil, []string{"run-dir", "absolute"}},
		{"root as folder", "", []string{"--state-dir=/"}, []string{"state-dir"}},
		{"TCP", "", []string{"--listen=tcp://0.0.0.0:1"}, []string{"tcp://0.0.0.0:1"}},
		{"loopback", "loopback: magic\n", nil, []string{"magic"}},
		{"podman-networks", "podman-networks: near/by\n", nil, []string{"near/by", "absolute"}},
		{"docker-plugin", "run-dir: /a\ndocker-plugin: near/by\n", nil, []string{"[2:16]", "near/by", "absolute"}},
		{"docker-host", "", []string{"--docker-host=tcp://127.0.0.1:2375"}, []string{"tcp://127.0.0.1:2375"}},
		{"unknown flag", "", []string{"--rundir=/x"}, []string{"rundir"}},
		{"argument", "", []string{"start"}, []string{"start"}},
		{"key given twice", "loopback: auto\nloopback: auto\n", nil, []string{"[2:1]", "loopback"}},
		{"two documents", "run-dir: /run/a\n---\nrun-dir: /run/b\n", nil, []string{"more than one document"}},
		{"one folder", "run-dir: /a\n", []string{"--state-dir=/a/"}, []string{"both /a"}},
		{"long socket", "", []string{"--run-dir=/" + strings.Repeat("x", 100)}, []string{"the most is 107"}},
		{"metrics without a port", "metrics: localhost\n", nil, []string{`"localhost"`}},
		{"metrics at port 0", "", []string{"--metrics=:0"}, []string{`":0"`}},
		{"log level", "", []string{"--log-level=loud"}, []string{"loud"}},
		{"log level in the file", "run-dir: /a\nlog-level: loud\n", nil, []string{"[2:12]", `"loud" is no level`}},
		{"log level that is a list", "log-level: [a]\n", nil, []string{"[1:12]", "is no level"}},
		{"list for a text", "run-dir: [a]\n", nil, []string{"[1:10]", "not a text"}},
		{"word for a number", "default-address-pools:\n- size: x\n", nil, []string{"[2:9]", "not a number"}},
		{"large number", "default-address-pools:\n- size: 99999999999999999999\n", nil, []string{"[2:9]", "too large"}},
		{"base of a pool", "default-address-pools:\n- base: 10.0.0.0/99\n  size: 24\n", nil, []string{"[2:9]", `"10.0.0.0/99" cannot be`}},
		{"base with host bits", "default-address-pools:\n- base: 10.0.0.1/8\n  size: 24\n", nil, []string{"[2:9]", "within a subnet"}},
		{"base of loopback", "default-address-pools:\n- {base: 0.0.0.0/0, size: 24}\n", nil, []string{"[2:10]", "overlaps 0.0.0.0/8"}},
		{"size of a pool", "default-address-pools:\n- base: 10.0.0.0/8\n  size: 24\n- base: 10.0.0.0/16\n  size: 8\n", nil, []string{"[5:9]", "size /8"}},
		{"pool without a base", "default-address-pools:\n- size: 24\n", nil, []string{"[2:", "no base"}},
		{"pool without a size", "default-address-pools:\n- base: fd00::/8\n", nil, []string{"[2:", "size /0"}},
		{"small pool", "", []string{"--default-address-pool=base=10.0.0.0/24,size=31"}, []string{"size /31"}},
		{"pool of a flag over the file's", "default-address-pools:\n- base: 10.0.0.0/8\n  size: 24\n", []string{"--default-address-pool=base=10.0.0.0/24,size=20"}, []string{"size /20"}},
		{"folder in the file", "state-dir: x\n", nil, []string{"[1:12]", "absolute"}},
		{"pool", "", []string{"--default-address-pool=10.0.0.0/8"}, []string{"base="}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(append([]string{"--config", file(t, c.text)}, c.args...), io.Discard)
			if err == nil {
				t.Fatal("no error")
			}
			for _, talk := range []string{"Go ", "slog", "netip", "unmarshal", "interface", "Unmarshaler"} {
				if strings.Contains(err.Error(), talk) {
					t.Errorf("%q is not for people", err)
				}
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

func TestAnEmptyFileChangesNothing(t *testing.T) {
	want, err := Parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\n", "# nothing\n", "---\n"} {
		got, err := Parse([]string{"--config", file(t, text)}, io.Discard)
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); err != nil || d != "" {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
}

// TestHintsNameTheKeys: the pools' key is not their flag.
func TestHintsNameTheKeys(t *testing.T) {
	_, err := Parse([]string{"--config", file(t, "default-address-pool: x\n")}, io.Discard)
	if hint := catenet.HintOf(err); !strings.Contains(hint, "default-address-pools") || !strings.Contains(hint, "run-dir") {
		t.Errorf("%v: %q", err, hint)
	}
}

// TestFileAndFlagsHaveTheSameSettings holds for all but the pools, whose flag
// names one.
func TestFileAndFlagsHaveTheSameSettings(t *testing.T) {
	c := Default()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags(fs)
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("yaml"); name != "-" && fs.Lookup(name) == nil && fs.Lookup(strings.TrimSuffix(name, "s")) == nil {
			t.Errorf("setting %s is no flag", name)
		}
	}
	fs.VisitAll(func(f *pflag.Flag) {
		for field := range reflect.TypeFor[Config]().Fields() {
			if name := field.Tag.Get("yaml"); name == f.Name || name == f.Name+"s" {
				return
			}
		}
		t.Errorf("flag %s is no setting of the file", f.Name)
	})
}

func TestRemovalIsAskedForByFlagsAlone(t *testing.T) {
	for arg, want := range map[string][2]bool{"--remove": {true, false}, "--purge": {true, true}, "--log-level=info": {}} {
		c, err := Parse([]string{arg}, io.Discard)
		if err != nil || c.Remove != want[0] || c.Purge != want[1] {
			t.Errorf("%s: %+v, %v", arg, c, err)
		}
	}
	for _, word := range []string{"remove", "purge", "Remove", "Purge", "-"} {
		if _, err := Parse([]string{"--config", file(t, word+": true\n")}, io.Discard); !catenet.IsInvalid(err) || strings.Contains(catenet.HintOf(err), "-,") {
			t.Errorf("%s in the file: %v (%s)", word, err, catenet.HintOf(err))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("run-dir: /a\ndefault-address-pools:\n- base: 10.0.0.0/8\n  size: 24\n")
	f.Add("run-dir: [")
	f.Add("a: &x [*x]\n")
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9), i)
	}
	f.Add(bomb + "default-address-pools: *a8\n")
	f.Fuzz(func(t *testing.T, text string) {
		bounds.Parse(t, len(text), func() {
			if _, err := (source{"f", []byte(text)}).read(); err != nil && !catenet.IsInvalid(err) {
				t.Fatalf("%q: %v is no invalid error", text, err)
			}
		})
	})
}

func TestAFileThatIsNamedMustExist(t *testing.T) {
	if _, err := Parse([]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestHelp(t *testing.T) {
	var b strings.Builder
	if _, err := Parse([]string{"--help"}, &b); !errors.Is(err, pflag.ErrHelp) || !strings.Contains(b.String(), "--run-dir") {
		t.Errorf("%v, %q", err, b.String())
	}
}
