package cni

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/catenet/catenet"
)

// resolver is where a container finds ours, which knows the names of its
// networks, and asks the servers below what it does not know.
const resolver = "127.0.0.11"

// dns is how a container resolves what nobody here knows: as the runtime says,
// else the configuration, else the file that the configuration names.
func (c call) dns() (catenet.DNSConfig, error) {
	asked := c.conf.RuntimeConfig.DNS
	if len(asked.Servers)+len(asked.Searches)+len(asked.Options) > 0 {
		return dnsOf(asked.Servers, asked.Searches, asked.Options)
	}
	own := c.conf.DNS
	if len(own.Search) == 0 && own.Domain != "" {
		own.Search = []string{own.Domain} // resolv.conf(5): the same by an older word
	}
	if len(own.Nameservers)+len(own.Search)+len(own.Options) > 0 {
		return dnsOf(own.Nameservers, own.Search, own.Options)
	}
	if c.conf.IPAM == nil || c.conf.IPAM.ResolvConf == "" {
		return catenet.DNSConfig{}, nil
	}
	text, err := readFile(c.conf.IPAM.ResolvConf)
	if err != nil {
		return catenet.DNSConfig{}, coded(codeField, catenet.Invalidf("read ipam.resolvConf: %w", err))
	}
	return dnsOf(resolvConf(text))
}

// readFile reads a file that somebody has named: no pipe, which may never end,
// and no more than a resolv.conf may have.
func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	const most = 64 << 10
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", catenet.Invalidf("%s is no file of at most %d bytes", path, most)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// resolvConf reads what matters of a resolv.conf(5).
func resolvConf(text string) (servers, search, options []string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			servers = append(servers, words[1])
		case "search", "domain":
			search = words[1:]
		case "options":
			options = append(options, words[1:]...)
		}
	}
	return servers, search, options
}

// dnsOf puts lists of words into ours. Our own address among the servers is
// that of the container's resolver: it asks nobody else for that.
func dnsOf(servers, search, options []string) (d catenet.DNSConfig, err error) {
	d.Search, d.Options = search, options
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return d, coded(codeField, catenet.Invalidf("dns: %w", fmt.Errorf("%q is no address of a name server", s)))
		}
		if s != resolver {
			d.Servers = append(d.Servers, a)
		}
	}
	return d, nil
}
