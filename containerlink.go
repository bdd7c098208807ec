package catenet

import "strings"

// Link makes a container of the same network known to another one by a name
// of that one's own. On a network whose containers do not reach each other it
// also opens the ports that the container exposes or publishes, to that one
// alone.
type Link struct {
	Container string `json:"container"` // its name
	Alias     string `json:"alias"`     // what only the container that links knows it by
}

// ParseLink reads the argument of --link, NAME[:ALIAS]. Without an alias it is
// the name.
func ParseLink(s string) (Link, error) {
	name, alias, ok := strings.Cut(s, ":")
	if !ok {
		alias = name
	}
	l := Link{Container: name, Alias: alias}
	if err := l.Validate(); err != nil {
		return Link{}, Invalidf("link %q: %w", s, err).WithHint("a link is written NAME[:ALIAS], with the name of a container")
	}
	return l, nil
}

// String returns the link as ParseLink reads it.
func (l Link) String() string { return l.Container + ":" + l.Alias }

// Validate checks a Link that did not come from ParseLink.
func (l Link) Validate() error {
	if err := ValidateRef("linked container", l.Container); err != nil {
		return err
	}
	return ValidateName("link's alias", l.Alias)
}

// ValidateLinks checks the links of one endpoint: each right in itself, and no
// alias twice.
func ValidateLinks(links []Link) error {
	seen := make(map[string]bool)
	for _, l := range links {
		if err := l.Validate(); err != nil {
			return err
		}
		if seen[l.Alias] {
			return Invalidf("two links have the alias %q", l.Alias).WithHint("give one of them another: NAME:ALIAS")
		}
		seen[l.Alias] = true
	}
	return nil
}
