package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
)

// refused are flags of flanneld that have no meaning here: the values that ask for
// nothing else than is so anyway, and what to do instead.
var refused = map[string]struct{ usual, instead string }{
	"kube-subnet-mgr":              {"false", kubernetes},
	"kube-api-url":                 {"", kubernetes},
	"kube-annotation-prefix":       {"flannel.alpha.coreos.com", kubernetes},
	"kubeconfig-file":              {"", kubernetes},
	"set-node-network-unavailable": {"true", kubernetes},
	"net-config-path":              {"/etc/kube-flannel/net-conf.json", "write the config into etcd: etcdctl put /coreos.com/network/config '{\"Network\": …}'"},
	"iptables-resync":              {"5", "leave it out: rules that somebody removes are put back when that is noticed"},
	"iptables-forward-rules":       {"true", "leave it out: what Docker's own rules say of its containers comes before ours"},
	"ip-masq-fully-random-disable": {"false", "leave it out: the kernel chooses source ports as it does without flannel"},
	"ip-blackhole-route":           {"false", "add the route yourself: ip route add blackhole SUBNET metric 4294967295"},
	"charon-executable-path":       {"", "the backend ipsec is none of ours: choose vxlan, host-gw or udp in the config"},
	"charon-vici-uri":              {"", "the backend ipsec is none of ours: choose vxlan, host-gw or udp in the config"},
	"vmodule":                      {"", "use -v"},
	"log_backtrace_at":             {":0", "use -v"},
}

const kubernetes = "catenet flanneld finds its network in etcd; in a cluster of Kubernetes run flanneld itself"

// refusal is the value of a refused flag.
type refusal struct{ name string }

func (r refusal) String() string { return "" }
func (r refusal) Type() string   { return "refused" }

// Set implements pflag.Value.
func (r refusal) Set(value string) error {
	if value == refused[r.name].usual {
		return nil
	}
	return catenet.Unsupportedf("catenet flanneld has no %s", r.name).WithHint("%s", refused[r.name].instead)
}

// refuseFlags has those flags known, so that each is refused for its own reason.
func refuseFlags(fl *pflag.FlagSet) {
	for name, r := range refused {
		f := fl.VarPF(refusal{name}, name, "", "refused")
		f.Hidden = true
		if r.usual == "false" || r.usual == "true" {
			f.NoOptDefVal = "true"
		}
	}
}

// fromEnvironment sets the flags that the command line does not from FLANNELD_*.
func fromEnvironment(fl *pflag.FlagSet) error {
	var errs []error
	fl.VisitAll(func(f *pflag.Flag) {
		key := "FLANNELD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(key)
		if value == "" || f.Changed || f.Name == "help" {
			return
		}
		if err := fl.Set(f.Name, value); err != nil {
			errs = append(errs, catenet.Invalidf("%s: %w", key, err))
		}
	})
	return errors.Join(errs...)
}

// longFlags gives the flags of catenet flanneld that are written as flanneld's are,
// with one dash, their second.
func longFlags(root *cobra.Command, args []string) []string {
	cmd, _, err := root.Find(args)
	if err != nil || cmd.Name() != "flanneld" {
		return args
	}
	out := make([]string, len(args))
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if len(name) > 1 && cmd.Flags().Lookup(name) != nil && strings.HasPrefix(arg, "-") {
			arg = "-" + arg
		}
		out[i] = arg
	}
	return out
}

// spec is the network that is asked for.
func (f flanneldFlags) spec() (s catenet.NetworkSpec, err error) {
	if err := catenet.ValidateName("network", f.network); err != nil {
		return s, err
	}
	if (f.user == "") != (f.password == "") {
		return s, catenet.Invalidf("etcd's user is told by a name and a password, and one of them is missing").WithHint("give --etcd-username and --etcd-password")
	}
	if f.healthPort < 0 || f.healthPort > 65535 {
		return s, catenet.Invalidf("--healthz-port %d is no port", f.healthPort)
	}
	if !filepath.IsAbs(f.subnetFile) {
		if f.subnetFile, err = filepath.Abs(f.subnetFile); err != nil {
			return s, err
		}
	}
	iface, err := f.iface()
	if err != nil {
		return s, err
	}
	s = catenet.NetworkSpec{Name: f.network, Driver: "flannel", Options: map[string]string{
		"bridge": "none", "etcd": f.endpoints, "prefix": f.prefix, "subnet-file": f.subnetFile,
		"ip-masq": strconv.FormatBool(f.masquerade), "renew-margin": strconv.Itoa(f.margin)}}
	for key, value := range map[string]string{"etcd-key": f.keyFile, "etcd-cert": f.certFile, "etcd-ca": f.caFile,
		"iface": iface, "public-ip": f.publicIP, "public-ipv6": f.publicIPv6, "etcd-user": f.userFile()} {
		if value != "" {
			s.Options[key] = value
		}
	}
	return s, nil
}

// userFile is where the daemon finds the password, which nobody else is to see; "" for
// none.
func (f flanneldFlags) userFile() string {
	if f.user == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(f.subnetFile), f.network+".etcd-user")
}

// iface is the link that the flags name, or an address of it; "" for none.
func (f flanneldFlags) iface() (string, error) {
	if len(f.ifaces) == 0 && len(f.ifaceRegexes) == 0 && f.canReach == "" {
		return "", nil
	}
	links, err := linkWords()
	if err != nil {
		return "", err
	}
	for _, want := range f.ifaces {
		for _, words := range links {
			if slices.Contains(words, want) {
				return want, nil
			}
		}
	}
	for _, text := range f.ifaceRegexes {
		re, err := regexp.Compile(text)
		if err != nil {
			return "", catenet.Invalidf("--iface-regex: %w", err)
		}
		if found := match(re, links); found != "" {
			return found, nil
		}
	}
	if f.canReach != "" {
		if c, err := net.Dial("udp", net.JoinHostPort(f.canReach, "9")); err == nil { // which sends nothing
			defer c.Close()
			return c.LocalAddr().(*net.UDPAddr).IP.String(), nil
		}
	}
	return "", catenet.NotFoundf("this host has none of the links that the flags name").
		WithHint("it has %s", strings.TrimSuffix(fmt.Sprintln(links), "\n"))
}

// match returns the first address that fits, else the first name.
func match(re *regexp.Regexp, links [][]string) string {
	for _, words := range links {
		if i := slices.IndexFunc(words[1:], re.MatchString); i >= 0 {
			return words[1+i]
		}
	}
	for _, words := range links {
		if re.MatchString(words[0]) {
			return words[0]
		}
	}
	return ""
}

// linkWords are the links of this host that have IPv4, as flanneld takes no other: each
// by its name and then its addresses.
func linkWords() (links [][]string, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range all {
		words := []string{l.Name}
		addrs, err := l.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", l.Name, err)
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				words = append(words, n.IP.String())
			}
		}
		if len(words) > 1 {
			links = append(links, words)
		}
	}
	return links, nil
}

// health is where health is told; "" for nowhere.
func (f flanneldFlags) health() string {
	if f.healthPort == 0 {
		return ""
	}
	return net.JoinHostPort(cmp.Or(f.healthIP, "0.0.0.0"), strconv.Itoa(f.healthPort))
}
