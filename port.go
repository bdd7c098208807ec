package catenet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is a transport protocol whose ports can be published.
type Proto string

// The protocols of published ports.
const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	SCTP Proto = "sctp"
)

// Number returns the protocol's IP protocol number, or 0 if it is none.
func (p Proto) Number() uint8 {
	switch p {
	case TCP:
		return 6
	case UDP:
		return 17
	case SCTP:
		return 132
	}
	return 0
}

// PortSpec asks for one container port to be published.
type PortSpec struct {
	Proto  Proto      `json:"proto"`
	HostIP netip.Addr `json:"host_ip,omitzero"` // zero: every address, of both families
	// HostPort to HostPortEnd is the range to take a free port from.
	// Both 0: any free port. Equal: exactly that one.
	HostPort    uint16 `json:"host_port,omitempty"`
	HostPortEnd uint16 `json:"host_port_end,omitempty"`
	Port        uint16 `json:"port"` // in the container
}

// String returns the port as ParsePort reads it.
func (p PortSpec) String() string {
	s := fmt.Sprintf("%d/%s", p.Port, p.Proto)
	if p.HostPort != 0 || p.HostIP.IsValid() {
		s = ":" + s
	}
	if p.HostPort != p.HostPortEnd {
		s = fmt.Sprintf("-%d%s", p.HostPortEnd, s)
	}
	if p.HostPort != 0 {
		s = fmt.Sprintf("%d%s", p.HostPort, s)
	}
	switch {
	case p.HostIP.Is6():
		s = "[" + p.HostIP.String() + "]:" + s
	case p.HostIP.IsValid():
		s = p.HostIP.String() + ":" + s
	}
	return s
}

// broadcast is nobody's address (RFC 919, section 7).
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Validate checks a PortSpec that did not come from ParsePort.
func (p PortSpec) Validate() error {
	switch {
	case p.Proto.Number() == 0:
		return Invalidf("unknown protocol %q", p.Proto).WithHint("protocols: tcp, udp, sctp")
	case p.Port == 0:
		return Invalidf("port 0 cannot be published").WithHint("%s", portRight)
	case p.HostPortEnd < p.HostPort || p.HostPort == 0 && p.HostPortEnd != 0:
		return Invalidf("host ports %d to %d are no range", p.HostPort, p.HostPortEnd).WithHint("%s", portRight)
	case p.HostIP.Zone() != "" || p.HostIP.Is4In6() || p.HostIP.IsMulticast() || p.HostIP == broadcast:
		return Invalidf("no port can be published on %s", p.HostIP).WithHint("a host address is a plain unicast one, like 192.0.2.1 or ::1")
	}
	return nil
}

// PortBinding is a published port: traffic to HostIP:HostPort goes to Port at
// the endpoint's address of the same family.
type PortBinding struct {
	Proto    Proto      `json:"proto"`
	HostIP   netip.Addr `json:"host_ip"` // 0.0.0.0 and :: mean every address
	HostPort uint16     `json:"host_port"`
	Port     uint16     `json:"port"`
	// Routed: there is no port of the host, and HostPort is 0. Port is open
	// at the endpoint's own address, to those who have a route there; HostIP
	// says of which family it is.
	Routed     bool   `json:"routed,omitempty"`
	EndpointID string `json:"endpoint_id"`
	SandboxID  string `json:"sandbox_id"`
}

// Host returns the host's side as docker port prints it: "0.0.0.0:8080", or
// "[::]:" for a routed one.
func (b PortBinding) Host() string {
	if b.Routed {
		return net.JoinHostPort(b.HostIP.String(), "")
	}
	return netip.AddrPortFrom(b.HostIP, b.HostPort).String()
}

// String returns the binding as docker port prints it:
// "80/tcp -> 0.0.0.0:8080".
func (b PortBinding) String() string {
	return fmt.Sprintf("%d/%s -> %s", b.Port, b.Proto, b.Host())
}

// portRight is the hint of every refused port.
const portRight = "a port is written [hostIP:][hostPort[-hostPort]:]port[-port][/tcp|udp|sctp], ports are 1 to 65535"

// ParsePort reads the argument of -p,
//
//	[hostIP:][hostPort[-range]:]ctrPort[-range][/tcp|udp|sctp]
//
// and returns one PortSpec for each container port. IPv6 host addresses
// stand in brackets. Two ranges must be of one length and are paired in
// order; a host range before a single container port means any free port of
// it.
func ParsePort(s string) ([]PortSpec, error) {
	bad := func(format string, args ...any) ([]PortSpec, error) {
		return nil, Invalidf("port %q: %s", s, fmt.Sprintf(format, args...)).WithHint("%s", portRight)
	}
	rest, proto := s, TCP
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		rest, proto = s[:i], Proto(strings.ToLower(s[i+1:]))
		if proto.Number() == 0 {
			return bad("unknown protocol %q", s[i+1:])
		}
	}
	hostIP, rest, err := cutHostIP(rest)
	if err != nil {
		return bad("%v", err)
	}
	host, ctr, hasHost := "", rest, false
	if i := strings.IndexByte(rest, ':'); i >= 0 {
		host, ctr, hasHost = rest[:i], rest[i+1:], true
	}
	clo, chi, err := portRange(ctr)
	if err != nil {
		return bad("%v", err)
	}
	hlo, hhi := uint16(0), uint16(0)
	if hasHost && host != "" {
		if hlo, hhi, err = portRange(host); err != nil {
			return bad("%v", err)
		}
		if clo != chi && hhi-hlo != chi-clo {
			return bad("the host range has %d ports and the container range %d", int(hhi-hlo)+1, int(chi-clo)+1)
		}
	}
	specs := make([]PortSpec, 0, int(chi-clo)+1)
	for i := 0; i <= int(chi-clo); i++ {
		p := PortSpec{Proto: proto, HostIP: hostIP, Port: clo + uint16(i)}
		switch {
		case hlo == 0:
		case clo == chi:
			p.HostPort, p.HostPortEnd = hlo, hhi
		default:
			p.HostPort, p.HostPortEnd = hlo+uint16(i), hlo+uint16(i)
		}
		specs = append(specs, p)
	}
	return specs, nil
}

// cutHostIP takes the host address off the front of s, if one is there: it is
// what stands before the last but one ':'.
func cutHostIP(s string) (ip netip.Addr, rest string, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !strings.ContainsAny(s[:i], ":]") {
		return ip, s, nil
	}
	j := strings.LastIndexByte(s[:i], ':')
	if j < 0 || strings.HasPrefix(s, "[") && j < strings.IndexByte(s, ']') {
		return ip, "", errors.New("the host address, the host port and the port are separated by ':'")
	}
	host, rest := s[:j], s[j+1:]
	switch {
	case host == "":
		return ip, rest, nil
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		host = host[1 : len(host)-1]
	case strings.Contains(host, ":"):
		return ip, "", errors.New("an IPv6 host address stands in brackets, like [::1]:8080:80")
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return ip, "", fmt.Errorf("%q is no IP address", host)
	}
	return a.Unmap(), rest, nil
}

// portRange reads "80" or "80-90".
func portRange(s string) (lo, hi uint16, err error) {
	first, last, isRange := strings.Cut(s, "-")
	if lo, err = port(first); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return lo, lo, nil
	}
	if hi, err = port(last); err != nil {
		return 0, 0, err
	}
	if hi < lo {
		return 0, 0, fmt.Errorf("the range %s ends before it begins", s)
	}
	return lo, hi, nil
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is no port", s)
	}
	return uint16(n), nil
}
