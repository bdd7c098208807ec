package catenet

// GatewayMode says how one family of a network meets what is outside of it,
// in Docker's words. Containers of one network are not concerned.
type GatewayMode string

// The gateway modes. A network whose options name none has GatewayNAT.
const (
	// GatewayNAT: a published port is reached at the host's addresses, and no
	// container at its own. What leaves is hidden behind the host's address.
	GatewayNAT GatewayMode = "nat"
	// GatewayUnprotected is GatewayNAT, but every port of a container is
	// reached at its own address too, by all but the other networks' containers.
	GatewayUnprotected GatewayMode = "nat-unprotected"
	// GatewayRouted: nothing is translated. A container is reached at its own
	// address, by its published ports and by ICMP.
	GatewayRouted GatewayMode = "routed"
	// GatewayIsolated is for internal networks: the host has no address in
	// the network, and takes nothing that is sent to it from there.
	GatewayIsolated GatewayMode = "isolated"
)

// Gateway returns the mode of a network's IPv4 or else its IPv6.
func (s NetworkSpec) Gateway(four bool) GatewayMode {
	mode := s.Options[OptionGatewayMode6]
	if four {
		mode = s.Options[OptionGatewayMode4]
	}
	if mode == "" {
		return GatewayNAT
	}
	return GatewayMode(mode)
}

// HasGateway reports whether a family keeps one of its addresses as the
// gateway of its containers, be it the bridge's or somebody else's.
func (s NetworkSpec) HasGateway(four bool) bool {
	return s.Gateway(four) != GatewayIsolated
}
