// Package config is the daemon's settings: flags, and a YAML file with the
// same names. A flag that is given wins over the file, the file over the
// defaults.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/catenet/catenet"
)

// DefaultFile is read if it exists and --config names no other.
const DefaultFile = "/etc/catenet/catenet.yaml"

const configUsage = "settings `file` (YAML, the same names as the flags)"

// pluginSocket is where dockerd looks for a plugin named catenet.
const pluginSocket = "/run/docker/plugins/catenet.sock"

// maxSocket is the longest path of a unix socket, in bytes: sun_path of
// unix(7) without its final zero.
const maxSocket = 107

// Config is the settings of one daemon. The names in YAML are the flags'.
type Config struct {
	RunDir   string `yaml:"run-dir"`   // sockets, namespaces, what lives no longer than the machine runs
	StateDir string `yaml:"state-dir"` // what outlives a restart of the machine
	Listen   string `yaml:"listen"`    // unix://PATH; "" is <run-dir>/catenet.sock
	Metrics  string `yaml:"metrics"`   // HOST:PORT of /metrics; "" is none
	// AllowForward puts accept rules for our bridges where another firewall
	// would drop their packets.
	AllowForward bool `yaml:"allow-forward"`
	// DockerPlugin is the socket at which dockerd finds us as its network and
	// IPAM plugin; "" is none. DockerHost is where dockerd's own API is, which
	// tells what things are called there: unix://PATH, or "" for nowhere.
	DockerPlugin string     `yaml:"docker-plugin"`
	DockerHost   string     `yaml:"docker-host"`
	LogLevel     slog.Level `yaml:"log-level"`
	// AddressPools are the ranges that networks get their subnets from if
	// they ask for none; with none of IPv4 these are Docker's, and with none of
	// IPv6 unique local ones.
	AddressPools []catenet.AddressPool `yaml:"default-address-pools"`
	// Loopback chooses what carries connections to ports on loopback
	// addresses: "auto", "cgroup-ebpf" or "proxy".
	Loopback string `yaml:"loopback"`
	// PodmanNetworks is where root's Podman keeps the definitions of its
	// networks; "" is nowhere.
	PodmanNetworks string `yaml:"podman-networks"`

	// Remove asks for the end of all that a daemon has left, Purge for that of
	// its records as well. They are no settings, and flags only.
	Remove bool `yaml:"-"`
	Purge  bool `yaml:"-"`
	// Check asks for nothing but these settings to be read.
	Check bool `yaml:"-"`
}

// Default returns the settings of a daemon that is told nothing.
func Default() Config {
	return Config{RunDir: "/run/catenet", StateDir: "/var/lib/catenet", Loopback: "auto", PodmanNetworks: "/etc/containers/networks", DockerHost: "unix:///var/run/docker.sock"}
}

// Example is a settings file as one might look.
const Example = `
log-level: debug
metrics: 127.0.0.1:9323
allow-forward: true
default-address-pools:
- base: 10.64.0.0/10
  size: 24
- base: fd00:64::/32
  size: 64
`

// Flags are the daemon's flags and their defaults, for those who describe
// them: those that are settings, and the others.
func Flags() (settings, others *pflag.FlagSet) {
	c := Default()
	settings, others = pflag.NewFlagSet("settings", pflag.ContinueOnError), pflag.NewFlagSet("others", pflag.ContinueOnError)
	c.flags(settings)
	others.String("config", DefaultFile, configUsage)
	c.verbs(others)
	return settings, others
}

// Parse reads the command line, without the program's name, and the file that
// it names. pflag.ErrHelp means that help was asked for and printed.
func Parse(args []string, help io.Writer) (Config, error) {
	c := Default()
	file := DefaultFile
	fs := pflag.NewFlagSet("catenetd", pflag.ContinueOnError)
	fs.SetOutput(help)
	fs.StringVar(&file, "config", file, configUsage)
	c.flags(fs)
	c.verbs(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return c, err
		}
		return c, catenet.Invalidf("%w", err).WithHint("catenetd --help lists the flags")
	}
	if fs.NArg() > 0 {
		return c, catenet.Invalidf("catenetd takes no argument, %q is one", fs.Arg(0)).WithHint("catenetd --help lists the flags")
	}
	text, err := os.ReadFile(file)
	if err != nil && (fs.Changed("config") || !errors.Is(err, os.ErrNotExist)) {
		return c, catenet.Invalidf("read settings: %w", err)
	}
	from := source{file, text}
	if c, err = from.read(); err != nil {
		return c, err
	}
	// The flags once more, over the file.
	fs = pflag.NewFlagSet("catenetd", pflag.ContinueOnError)
	fs.StringVar(&file, "config", file, "")
	c.flags(fs)
	c.verbs(fs)
	if err := fs.Parse(args); err != nil {
		return c, catenet.Invalidf("%w", err)
	}
	c.Remove = c.Remove || c.Purge
	f := c.check()
	switch {
	case f == nil:
		return c, nil
	case fs.Changed(flagOf(f.setting)):
		return c, f.err
	}
	return c, from.locate(f)
}

// flagOf returns the flag of a setting: the pools' flag names one of them.
func flagOf(setting string) string {
	if strings.HasPrefix(setting, "default-address-pools") {
		return "default-address-pool"
	}
	return setting
}

// flags registers a flag for each setting, with c's values as defaults.
func (c *Config) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.RunDir, "run-dir", c.RunDir, "`folder` for sockets, namespaces and what lives no longer than the machine runs")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "`folder` for what outlives a restart of the machine")
	fs.StringVar(&c.Listen, "listen", c.Listen, "`address` of the API (default unix://<run-dir>/catenet.sock)")
	fs.StringVar(&c.Metrics, "metrics", c.Metrics, "`HOST:PORT` to serve Prometheus metrics at")
	fs.BoolVar(&c.AllowForward, "allow-forward", c.AllowForward, "where another firewall's FORWARD policy would drop our packets, add accept rules to it (in DOCKER-USER too, where there is Docker)")
	fs.StringVar(&c.DockerPlugin, "docker-plugin", c.DockerPlugin, "serve dockerd as its network and IPAM plugin, at `SOCKET` (--docker-plugin alone: "+pluginSocket+")")
	fs.Lookup("docker-plugin").NoOptDefVal = pluginSocket
	fs.StringVar(&c.DockerHost, "docker-host", c.DockerHost, "`address` of dockerd's API, which the plugin learns names from")
	fs.StringVar(&c.Loopback, "loopback", c.Loopback, "what carries ports on loopback: auto, cgroup-ebpf or proxy")
	fs.StringVar(&c.PodmanNetworks, "podman-networks", c.PodmanNetworks, "`folder` of Podman's networks, network_config_dir of containers.conf(5): Podman is told there which addresses of a network are its own")
	fs.Var((*levelFlag)(&c.LogLevel), "log-level", "debug, info, warn or error")
	fs.Var(&poolFlag{pools: &c.AddressPools}, "default-address-pool", "`base=CIDR,size=N`: a range that networks get their subnets from; repeatable")
}

// verbs registers what the command line alone can ask for.
func (c *Config) verbs(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Remove, "remove", false, "end containers, remove all that a daemon which does not run any more has left on this host, and exit; what is on record stays")
	fs.BoolVar(&c.Check, "check", false, "read the settings, say what is wrong with them, and exit")
	fs.BoolVar(&c.Purge, "purge", false, "as --remove, and delete what is on record: networks, containers and their logs")
}

// check refuses what no daemon could work with.
func (c *Config) check() *fault {
	for _, d := range []struct{ name, dir string }{{"run-dir", c.RunDir}, {"state-dir", c.StateDir}} {
		if !filepath.IsAbs(d.dir) || filepath.Clean(d.dir) == "/" {
			return &fault{d.name, catenet.Invalidf("%s %q is no absolute path of a folder", d.name, d.dir)}
		}
	}
	if filepath.Clean(c.RunDir) == filepath.Clean(c.StateDir) {
		return &fault{"run-dir", catenet.Invalidf("run-dir and state-dir are both %s", c.RunDir).WithHint("give each daemon two folders of its own")}
	}
	if err := c.checkListen(); err != nil {
		return &fault{"listen", err}
	}
	if f := c.checkDocker(); f != nil {
		return f
	}
	if c.Metrics != "" {
		_, port, err := net.SplitHostPort(c.Metrics)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
			return &fault{"metrics", catenet.Invalidf("metrics %q is no address to serve at", c.Metrics).WithHint("it is written HOST:PORT, like 127.0.0.1:9323")}
		}
	}
	if c.PodmanNetworks != "" && !filepath.IsAbs(c.PodmanNetworks) {
		return &fault{"podman-networks", catenet.Invalidf("podman-networks %q is no absolute path of a folder", c.PodmanNetworks)}
	}
	switch c.Loopback {
	case "auto", "cgroup-ebpf", "proxy":
	default:
		return &fault{"loopback", catenet.Invalidf("loopback %q is unknown", c.Loopback).WithHint("choose auto, cgroup-ebpf or proxy")}
	}
	for i, p := range c.AddressPools {
		if part, err := p.Fault(); err != nil {
			return &fault{fmt.Sprintf("default-address-pools[%d].%s", i, part), err}
		}
	}
	return nil
}

// checkListen checks the address of the API, and sets it if there is none.
func (c *Config) checkListen() *catenet.Error {
	if c.Listen == "" {
		c.Listen = "unix://" + filepath.Join(c.RunDir, "catenet.sock")
	}
	path, ok := strings.CutPrefix(c.Listen, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return catenet.Invalidf("listen %q is no address of the API", c.Listen).WithHint("the API is served on a file socket: unix:///PATH")
	}
	if len(path) > maxSocket {
		return catenet.Invalidf("the path of the socket, %s, is %d bytes long, the most is %d", path, len(path), maxSocket).WithHint("choose a shorter run-dir, or set listen")
	}
	return nil
}

// checkDocker checks where dockerd and we find each other.
func (c *Config) checkDocker() *fault {
	if p := c.DockerPlugin; p != "" && (!filepath.IsAbs(p) || len(p) > maxSocket) {
		return &fault{"docker-plugin", catenet.Invalidf("docker-plugin %q is no absolute path of a socket of at most %d bytes", p, maxSocket).
			WithHint("dockerd looks for it at %s", pluginSocket)}
	}
	if path, ok := strings.CutPrefix(c.DockerHost, "unix://"); c.DockerHost != "" && (!ok || !filepath.IsAbs(path) || len(path) > maxSocket) {
		return &fault{"docker-host", catenet.Invalidf("docker-host %q is no address of dockerd's API", c.DockerHost).
			WithHint("its API is asked on a file socket: unix:///PATH")}
	}
	return nil
}
