package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/catenet/catenet"
)

// poolFlag is --default-address-pool, as dockerd writes it. The first one given
// takes the place of those there were.
type poolFlag struct {
	pools *[]catenet.AddressPool
	given bool
}

// String implements pflag.Value.
func (f *poolFlag) String() string {
	var all []string
	for _, p := range *f.pools {
		all = append(all, "base="+p.Base.String()+",size="+strconv.Itoa(p.Size))
	}
	return strings.Join(all, " ")
}

// Type implements pflag.Value.
func (f *poolFlag) Type() string { return "pool" }

// poolRight is how a pool is written, as a flag.
const poolRight = "a pool is written base=10.0.0.0/8,size=24"

// Set implements pflag.Value.
func (f *poolFlag) Set(s string) error {
	var p catenet.AddressPool
	for _, word := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "base":
			p.Base, err = netip.ParsePrefix(value)
		case "size":
			p.Size, err = strconv.Atoi(value)
		default:
			return catenet.Invalidf("unknown word %q; %s", key, poolRight)
		}
		if err != nil {
			return catenet.Invalidf("%q cannot be the %s of a pool; %s", value, key, poolRight)
		}
	}
	if !p.Base.IsValid() || p.Size == 0 {
		return catenet.Invalidf("%s", poolRight)
	}
	if !f.given {
		f.given, *f.pools = true, nil
	}
	*f.pools = append(*f.pools, p)
	return nil
}
