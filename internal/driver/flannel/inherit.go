package flannel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
)

// vxlanPort is the kernel's choice, which flanneld leaves it.
const vxlanPort = 8472

// inherit reports why a device that is there cannot become the wanted one: flanneld
// leaves its own when it ends, with all that leads to the other hosts. With its MAC,
// whatever that is, they need to learn nothing.
func inherit(ctx context.Context, h kernel.Host, left, want kernel.Link) error {
	if id, ours := strings.CutPrefix(left.Alias, kernel.Mark); ours {
		return catenet.Conflictf("network %s of this host has the link %s, and VNI %d", catenet.ShortID(id), want.Name, want.VXLAN.VNI).
			WithHint("give one of the two another VNI in its flannel config: \"Backend\": {\"Type\": \"vxlan\", \"VNI\": 2}")
	}
	if left.Alias != "" {
		return foreign(want.Name, "it is not flanneld's: its alias is "+left.Alias)
	}
	if differs := unlike(left, want); len(differs) > 0 {
		return foreign(want.Name, "it is not as the network's config has it: "+strings.Join(differs, ", "))
	}
	pid, err := h.Runs(ctx, "flanneld")
	if err == nil && pid != 0 {
		err = catenet.Conflictf("flanneld runs here, as process %d, and has the link %s", pid, want.Name).
			WithHint("end it, and what it leaves is taken over without a gap: systemctl disable --now flanneld")
	}
	return err
}

// unlike says in what a device differs that would have to be made anew.
func unlike(left, want kernel.Link) (differs []string) {
	if left.Kind != want.Kind || left.VXLAN == nil {
		return []string{fmt.Sprintf("its kind is %q, not vxlan", left.Kind)}
	}
	is, wants := *left.VXLAN, *want.VXLAN
	for _, f := range []struct {
		what      string
		is, wants any
	}{
		{"VNI", is.VNI, wants.VNI}, {"Port", is.Port, wants.Port}, {"GBP", is.GBP, wants.GBP}, {"Learning", is.Learning, wants.Learning},
		{"the local address", is.Local, wants.Local}, {"the link that it goes by", is.Under, wants.Under},
	} {
		if f.is != f.wants {
			differs = append(differs, fmt.Sprintf("%s is %v, not %v", f.what, f.is, f.wants))
		}
	}
	return differs
}

// foreign says that somebody else has a device of ours.
func foreign(name, why string) error {
	return catenet.Conflictf("this host has a link %s already, and %s", name, why).
		WithHint("if flanneld runs here, end it; what it left is removed by: ip link del %s", name)
}

// vacant refuses earlier subnets whose gateway somebody else has, as Docker's bridge has
// it beside flanneld: before they are taken, as they would be given back then, and lost
// to his containers.
func (p held) vacant(ctx context.Context, h kernel.Host) error {
	there, err := h.Routes(ctx) // and addresses
	if err != nil {
		return err
	}
	gateway := p.Subnets.IPv4.Addr().Next()
	if !slices.ContainsFunc(there, func(a netip.Prefix) bool { return a.Addr() == gateway }) {
		return nil
	}
	return catenet.Conflictf("this host has the address %v already, which the bridge of this host's part of the network is to have", gateway).
		WithHint("remove it, if it is of Docker's bridge with flanneld; or leave Docker's containers to: catenet flanneld")
}
