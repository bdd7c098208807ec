package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// flanneldOf reads a command line and the environment as catenet flanneld does, and
// returns the network's options.
func flanneldOf(t *testing.T, args ...string) (map[string]string, error) {
	t.Helper()
	root := (&cli{}).root()
	args = longFlags(root, append([]string{"flanneld"}, args...))
	cmd, rest, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return nil, err
	}
	if err := fromEnvironment(cmd.Flags()); err != nil {
		return nil, err
	}
	get := func(name string) string { return cmd.Flags().Lookup(name).Value.String() }
	f := flanneldFlags{network: get("network"), endpoints: get("etcd-endpoints"), prefix: get("etcd-prefix"), user: get("etcd-username"), password: get("etcd-password"),
		publicIP: get("public-ip"), subnetFile: get("subnet-file"), margin: 60, masquerade: get("ip-masq") == "true"}
	f.ifaces, _ = cmd.Flags().GetStringArray("iface")
	f.ifaceRegexes, _ = cmd.Flags().GetStringArray("iface-regex")
	f.canReach = get("iface-can-reach")
	s, err := f.spec()
	return s.Options, err
}

// TestFlanneldsOwnFlags mean what they mean to flanneld, however they are written,
// and come before its environment.
func TestFlanneldsOwnFlags(t *testing.T) {
	t.Setenv("FLANNELD_ETCD_PREFIX", "/env")
	t.Setenv("FLANNELD_PUBLIC_IP", "192.0.2.7")
	t.Setenv("FLANNELD_IFACE_CAN_REACH", "")
	got, err := flanneldOf(t, "-etcd-endpoints=http://192.0.2.1:2379", "--etcd-prefix", "/flag", "-ip-masq", "-iface", "none0", "-iface=lo", "-v=1",
		"-iptables-resync=5", "-kube-subnet-mgr=false", "-subnet-file", "/run/f/subnet.env", "-etcd-username=u", "-etcd-password=p")
	want := map[string]string{"bridge": "none", "etcd": "http://192.0.2.1:2379", "prefix": "/flag", "ip-masq": "true", "iface": "lo",
		"public-ip": "192.0.2.7", "subnet-file": "/run/f/subnet.env", "etcd-user": "/run/f/flannel.etcd-user", "renew-margin": "60"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	for args, iface := range map[string]string{"-iface-regex=^l.$": "lo", "-iface-regex=^lo|^127": "127.0.0.1", "-iface-can-reach=127.0.0.1": "127.0.0.1"} {
		if got, err := flanneldOf(t, args); err != nil || got["iface"] != iface {
			t.Errorf("%s finds the link %q, %v", args, got["iface"], err)
		}
	}
	if _, err := flanneldOf(t, "-iface=none0", "-iface-regex=^none"); err == nil || !strings.Contains(err.Error(), "none of the links") {
		t.Errorf("with no link: %v", err)
	}
}

// TestOneStandInANetwork: a second is refused while the first goes on, and not after.
func TestOneStandInANetwork(t *testing.T) {
	socket := "unix://" + t.TempDir() + "/run/s"
	release, err := alone(socket, "flannel")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone(socket, "flannel"); !catenet.IsConflict(err) || !strings.Contains(catenet.HintOf(err), "--network") {
		t.Errorf("a second: %v (hint %q)", err, catenet.HintOf(err))
	}
	other, err := alone(socket, "other")
	if err != nil {
		t.Errorf("another network: %v", err)
	}
	release()
	other()
	for range 2 {
		again, err := alone(socket, "flannel")
		if err != nil {
			t.Fatalf("afterwards: %v", err)
		}
		again()
	}
}

// TestWhatFlanneldHasAlone is refused by name, with what to do instead.
func TestWhatFlanneldHasAlone(t *testing.T) {
	say := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(append([]string{"-H", "/nonexistent/s", "flanneld"}, args...), nil, &out, &errs)
		return code, errs.String()
	}
	for name, r := range refused {
		if code, text := say("-"+name+"=something", "-version"); code != 2 || !strings.Contains(text, "has no "+name+"\n  "+r.instead) {
			t.Errorf("%s: exit code %d, %s", name, code, text)
		}
		if code, text := say("-"+name+"="+r.usual, "-version"); code != 0 {
			t.Errorf("%s=%s, which is so anyway: exit code %d, %s", name, r.usual, code, text)
		}
	}
	t.Setenv("FLANNELD_KUBE_SUBNET_MGR", "true")
	if code, text := say("-version"); code != 2 || !strings.Contains(text, "FLANNELD_KUBE_SUBNET_MGR") {
		t.Errorf("by the environment: exit code %d, %s", code, text)
	}
}

// TestOnlyFlanneldsFlagsHaveOneDash: what another verb runs is not touched.
func TestOnlyFlanneldsFlagsHaveOneDash(t *testing.T) {
	root := (&cli{}).root()
	for _, args := range [][]string{{"run", "flanneld", "-iface", "x"}, {"run", "--name", "flanneld", "--", "x", "-iface"}, {"flanneld", "-v", "1", "-H", "x"}} {
		if got := longFlags(root, args); strings.Join(got, " ") != strings.Join(args, " ") {
			t.Errorf("%q becomes %q", args, got)
		}
	}
}
