package flannel

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/catenet/catenet"
)

func TestEnv(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run", "flannel", "subnet.env")
	if s, err := ReadEnv(path); err != nil || !s.IsZero() {
		t.Errorf("before there is one: %v (%v)", s, err)
	}
	four := Env{Network: netip.MustParsePrefix("10.5.0.0/16"), Subnets: Subnets{IPv4: netip.MustParsePrefix("10.5.48.0/24")}, MTU: 1450}
	both := four
	both.IPv6Network, both.Subnets.IPv6, both.IPMasq = netip.MustParsePrefix("fd00:5::/48"), netip.MustParsePrefix("fd00:5:0:7::/64"), true
	for _, c := range []struct {
		env  Env
		text string
	}{
		{both, "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.48.1/24\nFLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:7::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"},
		{four, "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.48.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"},
	} {
		if err := WriteEnv(path, c.env); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("wrote %q (%v), want %q", text, err, c.text)
		}
		if s, err := ReadEnv(path); err != nil || s != c.env.Subnets {
			t.Errorf("read back %v (%v), want %v", s, err, c.env.Subnets)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside it there are %v (%v)", left, err)
	}
	// A reader has the earlier file open: it stays whole.
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := WriteEnv(path, both); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 1000)
	if n, err := reader.Read(text); err != nil || string(text[:n]) != string(four.Text()) {
		t.Errorf("who had it open reads %q (%v)", text[:n], err)
	}
	if err := WriteEnv(filepath.Join(path, "subnet.env"), four); err == nil {
		t.Error("a file is no folder, and was written below")
	}
}

func TestEnvOfOthers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"FLANNEL_SUBNET=\"10.5.48.1/24\"\r\nexport X=1\n":     "10.5.48.0/24",
		"FLANNEL_SUBNET=fd00::1/64\nFLANNEL_IPV6_SUBNET=oh\n": "invalid Prefix",
		"FLANNEL_SUBNET=10.5.48.1/24,10.5.49.1/24\n":          "invalid Prefix",
		"": "invalid Prefix",
	} {
		if got := parseEnv([]byte(text)).String(); got != want {
			t.Errorf("%q has %s, want %s", text, got, want)
		}
	}
}

// A device is no subnet file: it would have no end, and the file would take its place.
func TestEnvIsNoDevice(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/dev/null", "/dev/zero"} {
		if _, err := ReadEnv(path); !catenet.IsInvalid(err) {
			t.Errorf("%s: %v", path, err)
		}
		if err := RemoveEnv(path, Env{}); !catenet.IsInvalid(err) {
			t.Errorf("remove %s: %v", path, err)
		}
	}
}
