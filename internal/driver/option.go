package driver

import (
	"strconv"

	"github.com/catenet/catenet"
)

// The MTUs that a link can have, in bytes: at least what IPv4 must carry
// (RFC 791), and for IPv6 what RFC 8200, section 5, asks for.
const (
	minMTU  = 68
	minMTU6 = 1280
	maxMTU  = 65535
)

// MTU reads the option catenet.OptionMTU, in either spelling, in bytes.
func MTU(key, value string, v6 bool) (int, error) {
	low := minMTU
	if v6 {
		low = minMTU6
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > maxMTU {
		return 0, catenet.Invalidf("option %s: %q is no MTU of this network", key, value).
			WithHint("it is a number of bytes from %d to %d", low, maxMTU)
	}
	return n, nil
}

// CheckPrefix checks the option catenet.OptionPrefix, the beginning of
// interface names: a number follows it.
func CheckPrefix(key, value string) error {
	if err := catenet.ValidateInterfaceName(value + "9999"); err != nil || value == "" {
		return catenet.Invalidf("option %s: interfaces cannot be named %q and a number", key, value).
			WithHint("a prefix is 1 to 11 characters, like eth")
	}
	return nil
}
