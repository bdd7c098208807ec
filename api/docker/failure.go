package docker

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// Failure is a refusal in Docker's words, with Docker's status.
type Failure struct {
	Status  int
	Message string
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

func refuse(status int, format string, args ...any) *Failure {
	return &Failure{status, fmt.Sprintf(format, args...)}
}

// NoPage is what is said of paths that Docker's API does not have.
func NoPage() error { return refuse(http.StatusNotFound, "page not found") }

// NoNetwork is what is said of a network that no ref leads to. all are those
// there are.
func NoNetwork(err error, ref string, all []catenet.NetworkStatus) error {
	switch {
	case catenet.IsNotFound(err):
		return refuse(http.StatusNotFound, "network %s not found", ref)
	case catenet.IsInvalid(err):
		n := 0
		for _, one := range all {
			if strings.HasPrefix(one.ID, ref) {
				n++
			}
		}
		return refuse(http.StatusBadRequest, "network %s is ambiguous (%d matches found based on ID prefix)", ref, n)
	}
	return err
}

// NoContainer is what is said of a container that no ref leads to.
func NoContainer(err error, ref string) error {
	if catenet.IsNotFound(err) {
		return refuse(http.StatusNotFound, "No such container: %s", ref)
	}
	return err
}

// NotCreated is why a network was not made. all are those there are.
func NotCreated(err error, spec catenet.NetworkSpec, all []catenet.NetworkStatus) error {
	named := func(n catenet.NetworkStatus) bool { return n.Name == spec.Name }
	configured := func(n catenet.NetworkStatus) bool { return n.ConfigOnly && n.Name == spec.ConfigFrom }
	overlaps := func(n catenet.NetworkStatus) bool {
		return !n.ConfigOnly && slices.ContainsFunc(n.Pools, func(theirs catenet.Pool) bool {
			return slices.ContainsFunc(spec.Pools, func(ours catenet.Pool) bool { return theirs.Subnet.Overlaps(ours.Subnet) })
		})
	}
	kind := catenet.KindOf(err)
	switch {
	case spec.Name == "":
		return refuse(http.StatusBadRequest, "invalid name: name is empty")
	case kind == catenet.KindForbidden && predefined(spec.Name):
		return refuse(http.StatusForbidden, "operation is not permitted on predefined %s network ", spec.Name)
	case kind == catenet.KindConflict && slices.ContainsFunc(all, named):
		return refuse(http.StatusConflict, "network with name %s already exists", spec.Name)
	case kind == catenet.KindConflict && slices.ContainsFunc(all, overlaps):
		return refuse(http.StatusForbidden, "invalid pool request: Pool overlaps with other one on this address space: %s", told(err))
	case kind == catenet.KindNotFound && spec.ConfigFrom != "" && !slices.ContainsFunc(all, configured):
		return refuse(http.StatusNotFound, "configuration network %q does not exist", spec.ConfigFrom)
	}
	return err
}

func predefined(name string) bool {
	return slices.Contains([]string{catenet.NetworkBridge, catenet.NetworkHost, catenet.NetworkNone, "default"}, name)
}

// NotRemoved is why a network was not removed; names are those of sandboxes by
// ID.
func NotRemoved(err error, n catenet.NetworkStatus, names map[string]string) error {
	switch {
	case catenet.KindOf(err) != catenet.KindForbidden:
		return err
	case n.Predefined:
		return refuse(http.StatusForbidden, "%s is a pre-defined network and cannot be removed", n.Name)
	case n.ConfigOnly:
		return refuse(http.StatusForbidden, "error while removing network: configuration network %q is in use", n.Name)
	}
	var active []string
	for _, ep := range n.Endpoints {
		active = append(active, fmt.Sprintf("name:%q id:%q", names[ep.SandboxID], catenet.ShortID(ep.ID)))
	}
	return refuse(http.StatusForbidden, "error while removing network: network %s has active endpoints (%s)", n.Name, strings.Join(active, ", "))
}

// NotConnected is why a sandbox did not join a network.
func NotConnected(err error, n catenet.NetworkStatus, sb catenet.SandboxStatus, spec catenet.EndpointSpec) error {
	kind := catenet.KindOf(err)
	switch {
	case n.ConfigOnly:
		return refuse(http.StatusForbidden, "cannot create endpoint on configuration-only network")
	case kind == catenet.KindForbidden && n.Driver == catenet.NetworkHost:
		return refuse(http.StatusBadRequest, "cannot connect container to host network - container must be created in host network mode")
	case kind == catenet.KindForbidden && (n.Name == catenet.NetworkNone || sb.Mode == catenet.ModeNone):
		return refuse(http.StatusBadRequest, "container cannot be connected to multiple networks with one of the networks in private (none) mode")
	case kind == catenet.KindForbidden && sb.Mode != "":
		return refuse(http.StatusBadRequest, "container sharing network namespace with another container or host cannot be connected to any other network")
	case kind == catenet.KindConflict && joined(sb, n):
		return refuse(http.StatusForbidden, "endpoint with name %s already exists in network %s", sb.Name, n.Name)
	}
	for _, a := range []netip.Addr{spec.IPv4, spec.IPv6} {
		inside := slices.ContainsFunc(n.Pools, func(p catenet.Pool) bool { return p.Subnet.Contains(a) })
		taken := slices.ContainsFunc(n.Owners, func(o catenet.AddressOwner) bool { return o.Address == a })
		switch {
		case kind == catenet.KindInvalid && a.IsValid() && !inside:
			return refuse(http.StatusBadRequest, "invalid endpoint settings:\nno configured subnet contains IP address %s", a)
		case kind == catenet.KindConflict && taken:
			return refuse(http.StatusForbidden, "Address already in use: %s", told(err))
		}
	}
	return err
}

func joined(sb catenet.SandboxStatus, n catenet.NetworkStatus) bool {
	return slices.ContainsFunc(sb.Networks, func(s catenet.EndpointSpec) bool { return s.Network == n.Name })
}

// NotDisconnected is why a sandbox did not leave a network.
func NotDisconnected(err error, n catenet.NetworkStatus, sb catenet.SandboxStatus) error {
	if catenet.IsNotFound(err) {
		return refuse(http.StatusNotFound, "container %s is not connected to network %s", sb.ID, n.Name)
	}
	return err
}

// FailureOf returns any error as Docker's clients are told, with the status of
// its kind.
func FailureOf(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{api.Status(catenet.KindOf(err)), told(err)}
}

// told is an error with its next step, where there is one.
func told(err error) string {
	if hint := catenet.HintOf(err); hint != "" {
		return fmt.Sprintf("%v (%s)", err, hint)
	}
	return err.Error()
}
