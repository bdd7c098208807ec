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
	pools *[]AddressPool
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

// check refuses a pool that no subnet can be cut from, in which a gateway and
// a container have room.
func (p AddressPool) check() *fault {
	if !p.Base.IsValid() {
		return &fault{"base", catenet.Invalidf("a pool has no base").WithHint(poolRight)}
	}
	if p.Base != p.Base.Masked() {
		return &fault{"base", catenet.Invalidf("the base %s of a pool is an address within a subnet", p.Base).WithHint("its subnet is %s", p.Base.Masked())}
	}
	if err := catenet.ValidateRange("the base of a pool", p.Base); err != nil {
		return &fault{"base", catenet.Invalidf("%w", err)}
	}
	if least, most := p.Base.Bits(), p.Base.Addr().BitLen()-2; p.Size < least || p.Size > most {
		return &fault{"size", catenet.Invalidf("no subnets of size /%d can be cut from the pool %s", p.Size, p.Base).WithHint("the size is %d to %d", least, most)}
	}
	return nil
}

// Set implements pflag.Value.
func (f *poolFlag) Set(s string) error {
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
