package catenet

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"net"
	"slices"
	"strings"
)

// ShortLen is how many characters of an ID people are shown, as with Docker.
const ShortLen = 12

// MaxName is the longest name of a network, container or alias, in bytes:
// one label of a DNS name (RFC 1035, section 2.3.4).
const MaxName = 63

// maxID is the longest ID that another runtime may have for a container, in
// bytes.
const maxID = 255

// NewID returns a fresh identifier: 32 random bytes as 64 hexadecimal digits.
func NewID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// IsID reports whether s is written as NewID writes.
func IsID(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// ShortID returns the first ShortLen characters of an ID.
func ShortID(id string) string {
	if len(id) > ShortLen {
		return id[:ShortLen]
	}
	return id
}

// ValidateName checks the name of a network, container or alias: 1 to
// MaxName characters, beginning with a letter or digit, then letters,
// digits, '_', '.' and '-'. That excludes every path ("/", "..") and every
// option ("-x").
func ValidateName(what, name string) error { return validateWord(what, "name", name, MaxName) }

// validateWord checks a word that people and programs write; kind is what
// it is: "name".
func validateWord(what, kind, word string, most int) error {
	bad := func(format string, args ...any) error {
		return Invalidf(format, args...).WithHint("a %s is 1 to %d letters, digits, '_', '.' or '-', and begins with a letter or digit", kind, most)
	}
	if word == "" {
		return bad("the %s has no %s", what, kind)
	}
	if len(word) > most {
		return bad("the %s of the %s is %d characters long, the most is %d", kind, what, len(word), most)
	}
	for i, c := range word {
		switch {
		case alnum(c):
		case !strings.ContainsRune("_.-", c):
			return bad("the %s %q of the %s has a %q in it", kind, word, what, string(c))
		case i == 0:
			return bad("the %s %q of the %s begins with a %q", kind, word, what, string(c))
		}
	}
	return nil
}

func alnum(c rune) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// ValidateHostname checks the name that a container has for itself: 1 to 64
// bytes (sethostname(2)), letters, digits, '-', '_' and '.', with a letter or
// digit at either end (RFC 1123, section 2.1; '_' as names of containers have it).
func ValidateHostname(name string) error {
	ok := name != "" && len(name) <= 64 && alnum(rune(name[0])) && alnum(rune(name[len(name)-1]))
	for _, c := range name {
		ok = ok && (alnum(c) || strings.ContainsRune("-_.", c))
	}
	if !ok {
		return Invalidf("%q cannot be the name of a host", name).
			WithHint("a hostname is 1 to 64 letters, digits, '-', '_' and '.', with a letter or digit at either end")
	}
	return nil
}

// ValidateInterfaceName checks the name of a network interface: 1 to 15
// bytes, no '/', no white space, not "." or ".." (the kernel's
// dev_valid_name), no ':' or '%', which tools and formats give a meaning, and not
// "all" or "default", whose folders of sysctls mean others.
func ValidateInterfaceName(name string) error {
	const right = "an interface name is 1 to 15 characters without '/', ':', '%' and white space, like eth1"
	if name == "" || len(name) > 15 || slices.Contains([]string{".", "..", "all", "default"}, name) || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
		return Invalidf("%q cannot be the name of a network interface", name).WithHint("%s", right)
	}
	return nil
}

// ValidateRef checks what names a network or container that exists: its name,
// its ID or a prefix of its ID, or the same of another runtime's ID.
func ValidateRef(what, ref string) error { return validateWord(what, "name or ID", ref, maxID) }

// ValidateMAC checks the hardware address of an interface: six bytes in
// hexadecimal, a unicast one, not all zero.
func ValidateMAC(s string) error {
	const right = "it is six bytes like 02:42:ac:11:00:02, not all zero, the first of them even: an odd one is multicast"
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || bytes.Equal(mac, make([]byte, 6)) {
		return Invalidf("%q cannot be the MAC address of an interface", s).WithHint("%s", right)
	}
	return nil
}
