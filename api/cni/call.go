package cni

import (
	"cmp"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/pipe"
)

// call is one call of the plugin, read.
type call struct {
	command     string
	containerID string
	netns       string // path; may be "" for DEL
	ifname      string
	args        args
	conf        config
}

// args are what of CNI_ARGS is understood. Others are ignored: runtimes hand on
// what other plugins read.
type args struct {
	pod, namespace string
	hostname       string
	ip, mac        string
}

// needs says what of the environment a command cannot do without.
var needs = map[string][]string{
	"ADD":    {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
	"DEL":    {"CNI_CONTAINERID", "CNI_IFNAME"},
	"CHECK":  {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"},
	"STATUS": nil,
	"GC":     nil,
}

// readCall reads a call and checks all of it that can be checked without
// looking at anything.
func readCall(p pipe.Call) (c call, err error) {
	env := make(map[string]string)
	for _, kv := range p.Env {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	c = call{command: env["CNI_COMMAND"], containerID: env["CNI_CONTAINERID"], netns: env["CNI_NETNS"], ifname: env["CNI_IFNAME"]}
	required, known := needs[c.command]
	if !known {
		return c, coded(codeEnvironment, catenet.Invalidf("there is no command CNI_COMMAND=%q", c.command).WithHint("commands: ADD, DEL, CHECK, STATUS, GC and, to the program alone, VERSION"))
	}
	// First, so that errors are told in the version that was asked for.
	if err := c.conf.read(c.command, p.Stdin); err != nil {
		return c, err
	}
	if err := c.conf.checkVersion(c.command); err != nil {
		return c, err
	}
	for _, name := range required {
		if env[name] == "" {
			return c, coded(codeEnvironment, catenet.Invalidf("%s is not set, and %s needs it", name, c.command))
		}
	}
	if err := c.checkEnvironment(); err != nil {
		return c, err
	}
	if c.args, err = readArgs(env["CNI_ARGS"]); err != nil {
		return c, coded(codeEnvironment, err)
	}
	if removes(c.command) {
		return c, nil
	}
	return c, c.conf.check(p.Stdin)
}

// checkEnvironment names the variable that is wrong, as the specification asks.
func (c call) checkEnvironment() error {
	if c.containerID != "" {
		if err := catenet.ValidateRef("container", c.containerID); err != nil {
			return coded(codeEnvironment, catenet.Invalidf("CNI_CONTAINERID: %w", err))
		}
	}
	if c.netns != "" && !filepath.IsAbs(c.netns) {
		return coded(codeEnvironment, catenet.Invalidf("CNI_NETNS=%q is no absolute path", c.netns))
	}
	if c.ifname != "" {
		if err := catenet.ValidateInterfaceName(c.ifname); err != nil {
			return coded(codeEnvironment, catenet.Invalidf("CNI_IFNAME: %w", err))
		}
	}
	return nil
}

// readArgs reads CNI_ARGS, KEY=VALUE;KEY=VALUE.
func readArgs(s string) (a args, err error) {
	for _, kv := range strings.FieldsFunc(s, func(r rune) bool { return r == ';' }) {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return a, catenet.Invalidf("CNI_ARGS: %q is not KEY=VALUE", kv)
		}
		switch key {
		case "K8S_POD_NAME":
			a.pod = value
		case "K8S_POD_NAMESPACE":
			a.namespace = value
		case "NERDCTL_CNI_DHCP_HOSTNAME": // meant for a DHCP client; nothing else tells it
			a.hostname = value
		case "IP":
			a.ip = value
		case "MAC":
			a.mac = value
		}
	}
	return a, nil
}

// name is what the container's pod, or else itself, is known by; "" if that is not
// told, or nobody could look it up.
func (a args) name() string {
	name := a.hostname
	if a.pod != "" && a.namespace != "" {
		name = a.pod + "." + a.namespace
	}
	if catenet.ValidateName("container", name) != nil {
		return ""
	}
	return name
}

// asked is what somebody wants of the attachment's addresses. What is asked for
// by a capability goes before args of the configuration, and those before
// CNI_ARGS (CONVENTIONS.md).
func (c call) asked(spec *catenet.EndpointSpec) error {
	ips := c.conf.RuntimeConfig.IPs
	if len(ips) == 0 {
		ips = c.conf.Args.CNI.IPs
	}
	if len(ips) == 0 && c.args.ip != "" {
		ips = strings.Split(c.args.ip, ",")
	}
	for _, s := range ips {
		a, err := netip.ParseAddr(s)
		if strings.Contains(s, "/") { // the length is that of the network's subnet
			var p netip.Prefix
			p, err = netip.ParsePrefix(s)
			a = p.Addr()
		}
		slot := &spec.IPv4
		if a.Is6() {
			slot = &spec.IPv6
		}
		switch {
		case err != nil:
			return catenet.Invalidf("%q is no IP address", s)
		case slot.IsValid():
			return catenet.Invalidf("%s and %s are asked for: an interface has one address of a family", *slot, a)
		}
		*slot = a
	}
	mac := cmp.Or(c.conf.RuntimeConfig.MAC, c.conf.Args.CNI.MAC, c.args.mac)
	if mac == "" {
		return nil
	}
	if err := catenet.ValidateMAC(mac); err != nil {
		return err
	}
	hw, err := net.ParseMAC(mac) // in the one way of writing it, which results have
	spec.MAC = hw.String()
	return err
}
