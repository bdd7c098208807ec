package main

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
)

// endpointFlags are those of one endpoint, of run, attach and connect.
type endpointFlags struct {
	ip, ip6, mac, iface string
	aliases, options    []string
	links               []string
	priority            int
}

// add adds them; aliasFlag is what the flag for aliases is called.
func (e *endpointFlags) add(cmd *cobra.Command, aliasFlag string) {
	f := cmd.Flags()
	f.StringVar(&e.ip, "ip", "", "fixed IPv4 `address`")
	f.StringVar(&e.ip6, "ip6", "", "fixed IPv6 `address`")
	f.StringVar(&e.mac, "mac-address", "", "MAC `address`")
	f.StringArrayVar(&e.aliases, aliasFlag, nil, "one more `name` in the network")
	f.StringArrayVar(&e.links, "link", nil, "know a container of the network by one more name, `NAME[:ALIAS]`, which nobody else does")
	f.IntVar(&e.priority, "gw-priority", 0, "the network with the highest gives the default route")
}

// apply sets what the flags say on top of ep.
func (e *endpointFlags) apply(ep *catenet.EndpointSpec) (err error) {
	if e.ip != "" {
		if ep.IPv4, err = address("--ip", e.ip, 32); err != nil {
			return err
		}
	}
	if e.ip6 != "" {
		if ep.IPv6, err = address("--ip6", e.ip6, 128); err != nil {
			return err
		}
	}
	if e.mac != "" {
		if ep.MAC, err = macAddress("--mac-address", e.mac); err != nil {
			return err
		}
	}
	if e.iface != "" {
		ep.Interface = e.iface
		if err := catenet.ValidateInterfaceName(e.iface); err != nil {
			return err
		}
	}
	for _, a := range e.aliases {
		if err := catenet.ValidateName("alias", a); err != nil {
			return err
		}
	}
	ep.Aliases = append(ep.Aliases, e.aliases...)
	for _, s := range e.links {
		l, err := catenet.ParseLink(s)
		if err != nil {
			return err
		}
		ep.Links = append(ep.Links, l)
	}
	if err := catenet.ValidateLinks(ep.Links); err != nil {
		return err
	}
	if e.priority != 0 {
		ep.GwPriority = e.priority
	}
	opts, err := keyValues("driver-opt", e.options)
	if opts != nil {
		ep.Options = opts
	}
	return err
}

func (e *endpointFlags) set() bool {
	return e.ip != "" || e.ip6 != "" || e.mac != "" || len(e.aliases) > 0 || len(e.links) > 0 || e.priority != 0
}

// joinFlags are the network flags that run and attach share.
type joinFlags struct {
	name, hostname                     string
	networks, ports, expose, labels    []string
	publishAll                         bool
	dns, dnsSearch, dnsOption, addHost []string
	endpoint                           endpointFlags
}

const publishUsage = "publish `ports`, [hostIP:][hostPort[-range]:]port[-range][/tcp|udp|sctp]"

func (j *joinFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SetNormalizeFunc(dockerNames)
	f.Bool("help", false, "help for "+cmd.Name()) // cobra's would take -h
	f.StringVar(&j.name, "name", "", "`name` of the container")
	f.StringVarP(&j.hostname, "hostname", "h", "", "host `name` inside (default: the short ID)")
	f.StringArrayVar(&j.networks, "network", nil, "`network` to join, NET[:ip=…,ip6=…,mac=…,alias=…,link=…,interface_name=…,gw-priority=…,driver-opt=…], or bridge, host, none, container:NAME")
	f.StringArrayVarP(&j.ports, "publish", "p", nil, publishUsage)
	f.BoolVarP(&j.publishAll, "publish-all", "P", false, "publish every exposed port on a free host port")
	f.StringArrayVar(&j.expose, "expose", nil, "`port`, or range of ports, that -P publishes and links lead to")
	f.StringArrayVar(&j.dns, "dns", nil, "DNS `server` for names nobody here knows")
	f.StringArrayVar(&j.dnsSearch, "dns-search", nil, "DNS search `domain`")
	f.StringArrayVar(&j.dnsOption, "dns-option", nil, "`option` of resolv.conf")
	f.StringArrayVar(&j.addHost, "add-host", nil, "one more name, `NAME:IP` or NAME:host-gateway")
	f.StringArrayVarP(&j.labels, "label", "l", nil, "label, `KEY=VALUE`")
	j.endpoint.add(cmd, "network-alias")
}

// dockerNames maps the other names that docker run has for flags.
func dockerNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "net":
		name = "network"
	case "net-alias":
		name = "network-alias"
	case "dns-opt":
		name = "dns-option"
	}
	return pflag.NormalizedName(name)
}

// spec makes what is asked for of the flags. Whatever it refuses is wrong in
// itself.
func (j *joinFlags) spec() (s catenet.SandboxSpec, err error) {
	s.Name, s.Hostname, s.PublishAll = j.name, j.hostname, j.publishAll
	if s.Name != "" {
		if err := catenet.ValidateName("container", s.Name); err != nil {
			return s, err
		}
	}
	if err := j.network(&s); err != nil {
		return s, err
	}
	if s.Ports, err = ports(j.ports); err != nil {
		return s, err
	}
	for _, p := range j.expose {
		if strings.Contains(p, ":") {
			return s, catenet.Invalidf("--expose %q: an exposed port has no host port", p).WithHint("-p publishes a port on one of the host's")
		}
	}
	if s.Expose, err = ports(j.expose); err != nil {
		return s, err
	}
	if s.Mode != "" && (len(s.Ports) > 0 || s.PublishAll) {
		return s, catenet.Invalidf("ports cannot be published with --network %s", s.Mode).WithHint("they belong to the container that has an address of its own")
	}
	if s.Labels, err = labels("--label", j.labels); err != nil {
		return s, err
	}
	return s, j.names(&s)
}

// ports reads arguments of -p.
func ports(args []string) (all []catenet.PortSpec, err error) {
	for _, arg := range args {
		specs, err := catenet.ParsePort(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, specs...)
	}
	return all, nil
}

// network sets the mode or the networks.
func (j *joinFlags) network(s *catenet.SandboxSpec) error {
	for _, arg := range j.networks {
		mode := arg == catenet.ModeHost || arg == catenet.ModeNone || strings.HasPrefix(arg, catenet.ModeContainer)
		if mode && len(j.networks) > 1 {
			return catenet.Invalidf("--network %s does not go together with other networks", arg)
		}
		if mode {
			s.Mode = arg
			if to, ok := strings.CutPrefix(arg, catenet.ModeContainer); ok {
				if err := catenet.ValidateRef("container", to); err != nil {
					return err
				}
			}
			if j.endpoint.set() {
				return catenet.Invalidf("--network %s has no address, alias, link or gateway of its own", arg)
			}
			return nil
		}
		ep, err := parseNetwork(arg)
		if err != nil {
			return err
		}
		if ep.Network == catenet.ModeHost || ep.Network == catenet.ModeNone {
			return catenet.Invalidf("network %q: %s has no address, alias, link or gateway of its own", arg, ep.Network)
		}
		if slices.ContainsFunc(s.Networks, func(o catenet.EndpointSpec) bool { return o.Network == ep.Network }) {
			return catenet.Invalidf("network %s is named twice", ep.Network)
		}
		s.Networks = append(s.Networks, ep)
	}
	if len(s.Networks) == 0 {
		s.Networks = []catenet.EndpointSpec{{Network: catenet.NetworkBridge}}
	}
	if len(s.Networks) > 1 && j.endpoint.set() {
		return catenet.Invalidf("--ip, --ip6, --mac-address, --network-alias, --link and --gw-priority belong to a single network").
			WithHint("with several: --network NET:ip=…,alias=…,link=…")
	}
	return j.endpoint.apply(&s.Networks[0])
}

// names sets what the container resolves names by.
func (j *joinFlags) names(s *catenet.SandboxSpec) error {
	var err error
	if s.DNS.Servers, err = servers("--dns", j.dns); err != nil {
		return err
	}
	s.DNS.Search, s.DNS.Options = j.dnsSearch, j.dnsOption
	for _, h := range j.addHost {
		e, err := parseHost(h)
		if err != nil {
			return err
		}
		s.ExtraHosts = append(s.ExtraHosts, e)
	}
	return nil
}

// parseHost reads NAME:IP, NAME=IP or NAME:host-gateway; an IPv6 address may
// stand in brackets.
func parseHost(s string) (catenet.HostEntry, error) {
	i := strings.IndexAny(s, ":=")
	if i < 1 {
		return catenet.HostEntry{}, catenet.Invalidf("--add-host %q names no host and address", s).WithHint("it is written NAME:IP or NAME:%s", catenet.HostGateway)
	}
	name, addr := s[:i], s[i+1:]
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		addr = addr[1 : len(addr)-1]
	}
	if addr != catenet.HostGateway {
		a, err := netip.ParseAddr(addr)
		if err != nil || a.Zone() != "" {
			return catenet.HostEntry{}, catenet.Invalidf("--add-host %q: %q is no IP address", s, addr).WithHint("it is written NAME:IP or NAME:%s", catenet.HostGateway)
		}
	}
	if strings.ContainsAny(name, " \t\n#") {
		return catenet.HostEntry{}, catenet.Invalidf("--add-host %q: %q cannot be the name of a host", s, name)
	}
	return catenet.HostEntry{Name: name, Addr: addr}, nil
}
