package etcd

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/catenet/catenet"
)

// Config says where a store is and how to get in.
type Config struct {
	// Endpoints are URLs of the servers of one cluster: http://HOST:PORT,
	// https://HOST:PORT or unix:///PATH, all of one scheme.
	Endpoints []string
	// CA is a file of certificates (PEM) that servers are held against; "": the
	// system's. Cert and Key are files of our own certificate, both or neither, read
	// anew for each connection. All three are for https alone.
	CA, Cert, Key  string
	User, Password string // both or neither
}

// Validate checks what can be checked without asking anybody.
func (c Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return catenet.Invalidf("no etcd server is given").WithHint("say where one is, such as http://192.0.2.1:2379")
	}
	scheme := ""
	for _, e := range c.Endpoints {
		s, err := schemeOf(e)
		if err != nil {
			return err
		}
		if scheme != "" && s != scheme {
			return catenet.Invalidf("etcd servers by %s and by %s", scheme, s).WithHint("use one scheme for all")
		}
		scheme = s
	}
	switch {
	case (c.Cert == "") != (c.Key == ""):
		return catenet.Invalidf("%w needs its key, and the key its certificate", ErrCert).WithHint("give both, or neither")
	case scheme != "https" && c.CA+c.Cert != "":
		return catenet.Invalidf("%w, or a client certificate, is given where they are asked without TLS (%s)", ErrCA, c.Endpoints[0]).
			WithHint("write https:// where the servers speak TLS, or leave the certificates out")
	case (c.User == "") != (c.Password == ""):
		return catenet.Invalidf("%w needs a password, and the password a user", ErrUser).WithHint("give both, or neither")
	}
	return nil
}

// Addrs are where those servers are that an address says it of.
func (c Config) Addrs() (all []netip.Addr) {
	for _, e := range c.Endpoints {
		if u, err := url.Parse(e); err == nil {
			if a, err := netip.ParseAddr(u.Hostname()); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// TLS reports whether a valid config's servers are asked by TLS.
func (c Config) TLS() bool { return strings.HasPrefix(c.Endpoints[0], "https:") }

func schemeOf(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return u.Scheme, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.Port() != "" && strings.Trim(u.Path, "/") == "" && u.User == nil && u.RawQuery == "":
		return u.Scheme, nil
	}
	return "", catenet.Invalidf("no URL of an etcd server: %q", endpoint).WithHint("write http://HOST:2379 or https://HOST:2379")
}
