package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/catenet/catenet"
)

// keyValues reads arguments that are each KEY=VALUE.
func keyValues(flag string, args []string) (map[string]string, error) {
	var m map[string]string
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, catenet.Invalidf("--%s %q: it is written KEY=VALUE", flag, a)
		}
		if was, twice := m[k]; twice && was != v {
			return nil, catenet.Invalidf("--%s %s is given twice, as %q and as %q", flag, k, was, v).WithHint("give it once; several values of an option have commas between them")
		}
		if m == nil {
			m = map[string]string{}
		}
		m[k] = v
	}
	return m, nil
}

// labels reads the labels of a flag: KEY or KEY=VALUE.
func labels(flag string, args []string) (map[string]string, error) {
	m := map[string]string{}
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		if k == "" {
			return nil, catenet.Invalidf("%s %q: it is written KEY=VALUE", flag, a)
		}
		m[k] = v
	}
	if len(m) == 0 {
		return nil, nil
	}
	return m, nil
}

// environment reads KEY=VALUE; a KEY alone has the value that it has here, and
// is left out where it has none.
func environment(args []string) ([]string, error) {
	var env []string
	for _, a := range args {
		k, _, ok := strings.Cut(a, "=")
		if k == "" {
			return nil, catenet.Invalidf("--env %q: it is written KEY=VALUE", a)
		}
		if !ok {
			v, set := os.LookupEnv(k)
			if !set {
				continue
			}
			a = k + "=" + v
		}
		env = append(env, a)
	}
	return env, nil
}

// address reads one IP address; bits is 32 or 128 where only one family will
// do, else 0.
func address(flag, s string, bits int) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || a.Zone() != "":
		return netip.Addr{}, catenet.Invalidf("%s %q is no IP address", flag, s)
	case bits == 32 && !a.Is4():
		return netip.Addr{}, catenet.Invalidf("%s %s is no IPv4 address", flag, s).WithHint("an IPv6 address goes to ip6")
	case bits == 128 && !a.Is6():
		return netip.Addr{}, catenet.Invalidf("%s %s is no IPv6 address", flag, s).WithHint("an IPv4 address goes to ip")
	}
	return a, nil
}

// servers reads the addresses of name servers.
func servers(flag string, args []string) (all []netip.Addr, err error) {
	for _, arg := range args {
		a, err := address(flag, arg, 0)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// macAddress reads a 48-bit MAC address that one interface can have.
func macAddress(flag, s string) (string, error) {
	if err := catenet.ValidateMAC(s); err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	m, err := net.ParseMAC(s)
	return m.String(), err // however it was written
}
