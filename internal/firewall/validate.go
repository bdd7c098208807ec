package firewall

import (
	"slices"

	"github.com/catenet/catenet"
)

// validate refuses what cannot be rendered. Whoever asks has checked what
// people ask for already: these are the last lines before the kernel.
func (c Change) validate() error {
	for _, n := range c.AddNetworks {
		if n.ID == "" {
			return catenet.Invalidf("a network of the firewall has no ID")
		}
		links := slices.Concat(n.Trusted, n.By)
		if n.Link != "" || len(n.Span) == 0 {
			links = append(links, n.Link)
		}
		for _, l := range links {
			if err := catenet.ValidateInterfaceName(l); err != nil {
				return err
			}
		}
		if a, b := n.V4.Source, n.V6.Source; a.IsValid() && !a.Is4() || b.IsValid() && (!b.Is6() || b.Is4In6()) {
			return catenet.Invalidf("network %s cannot be seen from outside as %s and %s", n.Link, a, b)
		}
		for _, s := range slices.Concat(n.Subnets, n.Span) {
			if !s.IsValid() || s.Addr().Is4In6() || s.Bits() == 0 {
				return catenet.Invalidf("%s cannot be the subnet of a network", s)
			}
		}
	}
	for _, p := range c.AddPorts {
		switch {
		case p.Proto.Number() == 0:
			return catenet.Invalidf("unknown protocol %q of a published port", p.Proto)
		case p.To.Port() == 0:
			return catenet.Invalidf("a published port is 0")
		case !p.HostIP.IsValid() || p.HostIP.Is4() != p.To.Addr().Is4() || p.HostIP.Is4In6() || p.To.Addr().Is4In6():
			return catenet.Invalidf("port %d: %s and %s are not of one family", p.HostPort, p.HostIP, p.To.Addr())
		}
	}
	for _, l := range c.AddLinks {
		switch {
		case l.Proto.Number() == 0 || l.To.Port() == 0:
			return catenet.Invalidf("%d/%s cannot be the port of a link", l.To.Port(), l.Proto)
		case !l.From.IsValid() || l.From.Is4() != l.To.Addr().Is4() || l.From.Is4In6() || l.To.Addr().Is4In6():
			return catenet.Invalidf("link: %s and %s are not of one family", l.From, l.To.Addr())
		}
	}
	return nil
}
