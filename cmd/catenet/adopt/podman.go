package adopt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/netavark"
)

// PodmanDirs are the folders where root's Podman keeps definitions, one file a
// network, unless containers.conf(5) names another (network_config_dir).
var PodmanDirs = []string{"/etc/containers/networks", "/var/lib/containers/storage/networks"}

// maxFile bounds a definition, in bytes: what is longer is none.
const maxFile = 1 << 20

// Podman reads the definitions in folders, by name. That there are none is a
// not found error.
func Podman(dirs ...string) (found []Found, err error) {
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		if _, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list definitions: %w", err)
		}
		for _, path := range paths {
			found = append(found, podmanFile(path))
		}
	}
	if found == nil {
		return nil, catenet.NotFoundf("Podman defines no network in %s", strings.Join(dirs, " or ")).
			WithHint("--dir names another folder, like ~/.local/share/containers/storage/networks, where Podman without root has them")
	}
	return found, nil
}

// podmanFile reads one definition.
func podmanFile(path string) Found {
	bad := Found{Spec: catenet.NetworkSpec{Name: strings.TrimSuffix(filepath.Base(path), ".json")}}
	st, err := os.Stat(path)
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = catenet.Invalidf("%s is no file that could define a network", path)
	case st.Size() > maxFile:
		err = catenet.Invalidf("%s is too long to define a network", path)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		bad.Err = err
		return bad
	}
	f, err := podman(b)
	if err != nil {
		bad.Err = catenet.Invalidf("%s defines no network: %w", path, err)
		return bad
	}
	return f
}

// podman translates one definition.
func podman(b []byte) (Found, error) {
	var n netavark.Network
	if err := json.Unmarshal(b, &n); err != nil {
		return Found{}, err
	}
	f := Found{Spec: catenet.NetworkSpec{Name: n.Name, Driver: n.Driver, IPv6: n.IPv6, Internal: n.Internal, Labels: n.Labels, DNS: n.Servers}}
	if err := catenet.ValidateName("network", n.Name); err != nil {
		return f, err
	}
	v4 := false
	for _, s := range n.Subnets {
		p := catenet.Pool{Subnet: s.Subnet, Gateway: s.Gateway}
		if !s.Subnet.IsValid() {
			return f, errors.New("one of its subnets is empty")
		}
		v4 = v4 || s.Subnet.Addr().Is4()
		theirs, part, err := s.Leased()
		if err != nil {
			f.Err = err
		}
		if part && !whole(s.Subnet, theirs) {
			p.SetAside = []catenet.Range{theirs}
			f.note(fmt.Sprintf("Podman chooses from %s, which is set aside here: catenet network update --set-aside-rm %s %s takes that back", theirs, theirs, n.Name))
		}
		f.Spec.Pools = append(f.Spec.Pools, p)
	}
	f.Spec.DisableIPv4 = !v4 && len(n.Subnets) > 0
	if driver := n.IPAM["driver"]; driver != "" && driver != "host-local" {
		f.Err = catenet.Unsupportedf("its addresses come from %s", driver).WithHint("make it by hand: catenet network create")
	}
	if !n.DNS {
		f.note("its containers have no names with Podman; here they have")
	}
	for _, r := range n.Routes {
		f.Spec.Routes = append(f.Spec.Routes, r.Static())
	}
	f.podmanOptions(n)
	return f, nil
}

// podmanBridge is how Podman itself calls a bridge.
var podmanBridge = regexp.MustCompile(`^podman\d+$`)

// podmanOptions translates what -o has said, and the name of the link.
func (f *Found) podmanOptions(n netavark.Network) {
	f.Spec.Options = map[string]string{}
	switch n.Driver {
	case "bridge":
		f.Link = n.Interface
		f.Leave = fmt.Sprintf("stop its containers (podman ps --filter network=%s): Podman takes the bridge down with the last", n.Name)
		if n.Interface != "" && !podmanBridge.MatchString(n.Interface) {
			f.Spec.Options[catenet.OptionBridge] = n.Interface
		}
	case "macvlan", "ipvlan":
		if n.Interface != "" {
			f.Spec.Options["parent"] = n.Interface
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n.Options)) {
		switch value := n.Options[key]; {
		case key == "mtu":
			f.Spec.Options[catenet.OptionMTU] = value
		case key == "mode" && (n.Driver == "macvlan" || n.Driver == "ipvlan"):
			f.Spec.Options[n.Driver+"_mode"] = value
		case key == "isolate":
			f.note("option isolate is not needed: no network here reaches another's containers")
		default:
			f.note(fmt.Sprintf("option %s=%s has no like here: left out", key, value))
		}
	}
	f.note(fmt.Sprintf("Podman goes on to define it: unless its netavark is catenet's, podman network rm %s before it is used there again", n.Name))
}

// whole tells whether a range has every address of a subnet that a container
// can have: then it is no part of it.
func whole(subnet netip.Prefix, r catenet.Range) bool {
	all := catenet.RangeOf(subnet)
	return !all.First.Next().Less(r.First) && !r.Last.Less(all.Last.Prev())
}
