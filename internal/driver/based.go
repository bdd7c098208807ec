package driver

import (
	"maps"
	"slices"
	"strings"

	"github.com/catenet/catenet"
)

// Apart parts a network's options into those of d alone and the network as base,
// which d is made of, is to see it. One that neither knows is an invalid error.
func Apart(d, base Driver, spec catenet.NetworkSpec, own ...string) (map[string]string, catenet.NetworkSpec, error) {
	mine, theirs := make(map[string]string), make(map[string]string)
	known := slices.Concat(base.Options().Network, []string{catenet.OptionMTUShort})
	for _, key := range slices.Sorted(maps.Keys(spec.Options)) {
		switch value := spec.Options[key]; {
		case slices.Contains(own, key):
			mine[key] = value
		case slices.Contains(known, key):
			theirs[key] = value
		default:
			return nil, spec, catenet.Invalidf("the %s driver has no option %q", d.Name(), key).
				WithHint("its options: %s", strings.Join(d.Options().Network, ", "))
		}
	}
	spec.Options = theirs
	return mine, spec, nil
}
