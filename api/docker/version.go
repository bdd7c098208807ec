package docker

import (
	"net/http"
	"strconv"
	"strings"
)

// The versions of the API that are served. Docker's own daemon of the same
// time serves just these.
const (
	MinVersion = "1.40"
	MaxVersion = "1.56"
)

// Since reports whether a request of a version, which is served, has what came
// with the version since.
func Since(version, since string) bool { return !less(version, since) }

// CheckVersion refuses versions that are not served.
func CheckVersion(version string) error {
	switch {
	case less(version, MinVersion):
		return refuse(http.StatusBadRequest, "client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", version, MinVersion)
	case less(MaxVersion, version):
		return refuse(http.StatusBadRequest, "client version %s is too new. Maximum supported API version is %s", version, MaxVersion)
	}
	return nil
}

// less compares versions number by number; a missing one is 0.
func less(a, b string) bool {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		n, _ := strconv.Atoi(x) // no number is 0
		m, _ := strconv.Atoi(y)
		if n != m {
			return n < m
		}
	}
	return false
}
