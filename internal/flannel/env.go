package flannel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/catenet/catenet/internal/etcd"
)

// DefaultEnv is where flanneld tells others what it has taken.
const DefaultEnv = "/run/flannel/subnet.env"

// Env is what a node tells those of its host who make containers, in a file that
// shells read: flanneld's subnet.env.
type Env struct {
	Network, IPv6Network netip.Prefix // the whole network; IPv6Network zero for none
	Subnets              Subnets
	MTU                  int // of the containers' links, in bytes
	IPMasq               bool
}

// Text returns the file as flanneld writes it: of each subnet the first address
// behind its base, which is the bridge's.
func (e Env) Text() []byte {
	var b bytes.Buffer
	for _, f := range []struct {
		infix           string
		network, subnet netip.Prefix
	}{{"", e.Network, e.Subnets.IPv4}, {"IPV6_", e.IPv6Network, e.Subnets.IPv6}} {
		if f.network.IsValid() {
			fmt.Fprintf(&b, "FLANNEL_%sNETWORK=%v\nFLANNEL_%sSUBNET=%v/%d\n", f.infix, f.network, f.infix, f.subnet.Addr().Next(), f.subnet.Bits())
		}
	}
	fmt.Fprintf(&b, "FLANNEL_MTU=%d\nFLANNEL_IPMASQ=%t\n", e.MTU, e.IPMasq)
	return b.Bytes()
}

// WriteEnv replaces the file at path, and makes its folder: who reads it meanwhile
// finds the earlier one, whole.
func WriteEnv(path string, e Env) error {
	if there, err := etcd.ReadFile(path); err == nil && bytes.Equal(there, e.Text()) {
		return nil
	}
	temp := path + ".new"
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(temp, e.Text(), 0o644)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("write subnet file: %w", err)
	}
	return nil
}

// RemoveEnv removes the file at path if it says what e does.
func RemoveEnv(path string, e Env) error {
	text, err := etcd.ReadFile(path)
	if err == nil && bytes.Equal(text, e.Text()) {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove subnet file: %w", err)
	}
	return nil
}

// ReadEnv returns the subnets that a file tells of, for Node.Previous. Where there
// is no file, or nothing in it that could be had again, they are zero.
func ReadEnv(path string) (Subnets, error) {
	text, err := etcd.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Subnets{}, nil
	}
	if err != nil {
		return Subnets{}, fmt.Errorf("read subnet file: %w", err)
	}
	return parseEnv(text), nil
}

func parseEnv(text []byte) (s Subnets) {
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p, err := netip.ParsePrefix(strings.Trim(value, `"'`))
		if err != nil {
			continue
		}
		switch {
		case key == "FLANNEL_SUBNET" && p.Addr().Is4():
			s.IPv4 = p.Masked()
		case key == "FLANNEL_IPV6_SUBNET" && p.Addr().Is6() && !p.Addr().Is4In6():
			s.IPv6 = p.Masked()
		}
	}
	return s
}
