package firewall

import "github.com/catenet/catenet/internal/kernel/nft"

// rule joins expressions and short lists of them.
func rule(parts ...any) nft.Rule {
	var r nft.Rule
	for _, p := range parts {
		switch p := p.(type) {
		case nft.Expr:
			r = append(r, p)
		case []nft.Expr:
			r = append(r, p...)
		}
	}
	return r
}

func verdict(code int32) nft.Expr { return nft.Do(nft.Verdict{Code: code}) }
func accept() nft.Expr            { return verdict(nft.Accept) }
func drop() nft.Expr              { return verdict(nft.Drop) }
func jump(chain string) nft.Expr  { return nft.Do(nft.Verdict{Code: nft.Jump, Chain: chain}) }

// established accepts what belongs to a connection that was let through.
func established() nft.Rule {
	return rule(nft.CT(nft.CTState, nft.StateEstablished|nft.StateRelated), accept())
}

// translated matches connections whose destination was translated: those to
// published ports.
func translated() []nft.Expr { return nft.CT(nft.CTStatus, nft.StatusDNAT) }

func ip4() []nft.Expr { return nfproto(nft.IPv4) }
func ip6() []nft.Expr { return nfproto(nft.IPv6) }

func nfproto(f nft.Family) []nft.Expr {
	return []nft.Expr{nft.Meta(nft.MetaNFProto, nft.R0), nft.Equal(nft.R0, []byte{byte(f)})}
}

// Offsets in the IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
func source4(reg uint32) nft.Expr { return nft.Payload(nft.Network, 12, 4, reg) }
func dest4(reg uint32) nft.Expr   { return nft.Payload(nft.Network, 16, 4, reg) }
func source6(reg uint32) nft.Expr { return nft.Payload(nft.Network, 8, 16, reg) }
func dest6(reg uint32) nft.Expr   { return nft.Payload(nft.Network, 24, 16, reg) }

// loopback4 matches destinations in 127.0.0.0/8, loopback6 matches ::1.
func loopback4() []nft.Expr {
	return []nft.Expr{nft.Payload(nft.Network, 16, 1, nft.R0), nft.Equal(nft.R0, []byte{127})}
}

func loopback6() []nft.Expr {
	return []nft.Expr{dest6(nft.R0), nft.Equal(nft.R0, append(make([]byte, 15), 1))}
}

func l4proto(reg uint32) nft.Expr { return nft.Meta(nft.MetaL4Proto, reg) }

// port loads the destination port, which TCP, UDP and SCTP keep in one place.
func port(reg uint32) nft.Expr { return nft.Payload(nft.Transport, 2, 2, reg) }

func iifname(is bool, name string) []nft.Expr { return ifname(nft.MetaIifname, is, name) }
func oifname(is bool, name string) []nft.Expr { return ifname(nft.MetaOifname, is, name) }

func ifname(key uint32, is bool, name string) []nft.Expr {
	if is {
		return []nft.Expr{nft.Meta(key, nft.R0), nft.Equal(nft.R0, nft.Ifname(name))}
	}
	return []nft.Expr{nft.Meta(key, nft.R0), nft.NotEqual(nft.R0, nft.Ifname(name))}
}
