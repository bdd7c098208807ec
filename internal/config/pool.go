package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// poolFlag is --default-address-pool, as dockerd writes it.
type poolFlag []AddressPool

// String implements pflag.Value.
func (f *poolFlag) String() string {
	var all []string
	for _, p := range *f {
		all = append(all, "base="+p.Base.String()+",size="+strconv.Itoa(p.Size))
	}
	return strings.Join(all, " ")
}

// Type implements pflag.Value.
func (f *poolFlag) Type() string { return "pool" }

// Set implements pflag.Value.
func (f *poolFlag) Set(s string) error {
	const right = "a pool is written base=10.0.0.0/8,size=24"
	var p AddressPool
	for _, word := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "base":
			p.Base, err = netip.ParsePrefix(value)
		case "size":
			p.Size, err = strconv.Atoi(value)
		default:
			return catenet.Invalidf("unknown word %q; %s", key, right)
		}
		if err != nil {
			return catenet.Invalidf("%q cannot be the %s of a pool; %s", value, key, right)
		}
	}
	if !p.Base.IsValid() || p.Size == 0 {
		return catenet.Invalidf("%s", right)
	}
	*f = append(*f, p)
	return nil
}
