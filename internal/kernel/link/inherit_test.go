package link

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

const asWanted = "dstport 8472 local 192.0.2.1 nolearning"

// leave makes a vxlan as somebody else leaves it, with ways to two hosts and addresses
// of now and earlier.
func leave(one *kerneltest.NS, words string) {
	one.Run("ip", strings.Fields("link add flannel.7 address "+vtepMAC(1).String()+" type vxlan id 7 dev wan "+words)...)
	for _, a := range []string{"10.5.1.0/32", "10.5.99.0/32"} {
		one.Run("ip", "addr", "add", a, "dev", "flannel.7")
	}
	one.Run("ip", "link", "set", "flannel.7", "up")
	one.Run("ip", "neigh", "add", "10.5.2.0", "lladdr", vtepMAC(2).String(), "dev", "flannel.7", "nud", "permanent")
	one.Run("bridge", "fdb", "add", vtepMAC(2).String(), "dev", "flannel.7", "dst", "192.0.2.2")
	one.Run("ip", "route", "add", "10.5.2.0/24", "via", "10.5.2.0", "dev", "flannel.7", "onlink")
	one.Run("ip", "route", "add", "10.5.3.0/24", "via", "192.0.2.3")
	one.Run("ip", "addr", "add", "2001:db8::1/64", "dev", "wan", "nodad")
	one.Run("ip", "route", "add", "fd05:3::/64", "via", "2001:db8::3")
}

// What somebody has left just as it is wanted becomes ours where it stands: the same
// link, and all that leads by it, or the same way.
func TestInherit(t *testing.T) {
	t.Parallel()
	h, one, _ := hosts(t)
	leave(one, asWanted)
	index := one.Run("ip", "-o", "link", "show", "flannel.7")
	index, _, _ = strings.Cut(index, ":")
	left, err := h.Link(t.Context(), "flannel.7")
	if v := left.VXLAN; err != nil || left.MAC.String() != vtepMAC(1).String() || left.Alias != "" || v == nil ||
		*v != (kernel.VXLAN{VNI: 7, Port: vxlanPort, Local: netip.MustParseAddr("192.0.2.1"), Under: "wan"}) {
		t.Errorf("it is seen as %+v %+v, %v", left, v, err)
	}
	if err := h.EnsureLink(kernel.Looking(t.Context()), vtep(1)); !catenet.IsConflict(err) {
		t.Errorf("looking: %v", err)
	}
	six := kernel.Reach{Link: "wan", Subnet: netip.MustParsePrefix("fd05:3::/64"), Via: netip.MustParseAddr("2001:db8::3")}
	for range 2 {
		if err := h.EnsureLink(t.Context(), vtep(1)); err != nil {
			t.Fatal(err)
		}
		if err := h.Reach(t.Context(), []kernel.Reach{byVXLAN(2), byGateway(3), six}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := one.Run("ip", "-o", "link", "show", "flannel.7"); !strings.HasPrefix(got, index+":") {
		t.Errorf("the link is another one: %s, and was %s", got, index)
	}
	if got := one.Run("ip", "-4", "-br", "addr", "show", "flannel.7"); !strings.Contains(got, "10.5.1.0/32") || strings.Contains(got, "10.5.99.0") {
		t.Errorf("its addresses: %s", got)
	}
	routes := one.Run("ip", "route") + one.Run("ip", "-6", "route")
	for _, to := range []string{"10.5.2.0/24", "10.5.3.0/24", "fd05:3::/64"} {
		if strings.Count(routes, to) != 1 || !strings.Contains(line(routes, to), "proto 159") {
			t.Errorf("the route to %s is not ours, or not alone:\n%s", to, routes)
		}
	}
	if got := reached(t, h); len(got) != 3 || got[0].MAC.String() != vtepMAC(2).String() {
		t.Errorf("reached %+v", got)
	}
}

// What is otherwise, or marked by anybody, stays his.
func TestInheritNothing(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"dstport 4789 local 192.0.2.1 nolearning", "dstport 8472 local 192.0.2.1 learning", "dstport 8472 local 192.0.2.9 nolearning",
		"dstport 8472 local 192.0.2.1 nolearning gbp",
	} {
		h, one, _ := hosts(t)
		leave(one, words)
		if err := h.EnsureLink(t.Context(), vtep(1)); !catenet.IsConflict(err) {
			t.Errorf("%s: %v", words, err)
		}
	}
	h, one, _ := hosts(t)
	leave(one, asWanted)
	if err := h.EnsureLink(t.Context(), vtep(9)); !catenet.IsConflict(err) {
		t.Errorf("another MAC: %v", err)
	}
	one.Run("ip", "link", "set", "flannel.7", "alias", "somebody's")
	if err := h.EnsureLink(t.Context(), vtep(1)); !catenet.IsConflict(err) {
		t.Errorf("another mark: %v", err)
	}
	if _, err := h.Link(t.Context(), "absent0"); !catenet.IsNotFound(err) {
		t.Errorf("a link that is not there: %v", err)
	}
}

// line is the line of a text that begins with a word.
func line(text, word string) string {
	_, after, _ := strings.Cut("\n"+text, "\n"+word+" ")
	found, _, _ := strings.Cut(after, "\n")
	return found
}
