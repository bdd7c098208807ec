package catenet

import (
	"net/netip"
	"runtime"
	"runtime/debug"
)

// APIVersion is the prefix of the API's routes that this build speaks.
const APIVersion = "v1"

// version is set by the linker: -X github.com/catenet/catenet.version=1.2.3
var version string

// Version says which build a program is.
type Version struct {
	Version  string `json:"version"`
	API      string `json:"api"`      // APIVersion
	Go       string `json:"go"`       // of the compiler
	Platform string `json:"platform"` // like linux/amd64
}

// BuildVersion returns the version of the running program: the linker's, else
// that of the module, as the go command recorded it.
func BuildVersion() Version {
	v := Version{Version: version, API: APIVersion, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v.Version == "" {
		v.Version = "devel"
		if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
			v.Version = bi.Main.Version
		}
	}
	return v
}

// Info describes a daemon and the host it serves.
type Info struct {
	Version  Version  `json:"version"`
	NodeID   string   `json:"node_id"`
	Hostname string   `json:"hostname"`
	Kernel   string   `json:"kernel"` // release, as uname -r
	Memory   uint64   `json:"memory"` // of the host, bytes; 0 is not known
	RunDir   string   `json:"run_dir"`
	StateDir string   `json:"state_dir"`
	Drivers  []string `json:"drivers"`
	// Options are those that each driver knows, by its name.
	Options map[string]DriverOptions `json:"options,omitempty"`

	Networks  int `json:"networks"`  // predefined ones among them
	Sandboxes int `json:"sandboxes"` // all of them
	Running   int `json:"running"`   // sandboxes that run
	Endpoints int `json:"endpoints"`
	Ports     int `json:"ports"` // published

	// Loopback says what carries connections to ports published on loopback
	// addresses: "cgroup-ebpf" or "proxy".
	Loopback string       `json:"loopback"`
	Firewall FirewallInfo `json:"firewall"`
	// DNSUpstreams are the servers that names nobody here knows are asked of.
	DNSUpstreams []netip.AddrPort `json:"dns_upstreams"`
	// Obstacles are rules of others that swallow packets of ours.
	Obstacles []Obstacle `json:"obstacles,omitempty"`
	Warnings  []string   `json:"warnings,omitempty"`
}

// DriverOptions are the options that a driver knows, by full name.
type DriverOptions struct {
	Network  []string `json:"network,omitempty"`  // of a network: -o
	Update   []string `json:"update,omitempty"`   // those of a network that can be changed
	Endpoint []string `json:"endpoint,omitempty"` // of an endpoint: --driver-opt
}

// FirewallInfo says how the ruleset is kept.
type FirewallInfo struct {
	Backend string `json:"backend"` // "nftables"
	// Owner: the tables carry the flags owner and persist, so that a foreign
	// flush does nothing to them.
	Owner bool `json:"owner"`
}

// Obstacle is a rule of somebody else's that swallows packets of ours, and
// what helps.
type Obstacle struct {
	Rule   string `json:"rule"`   // as a person finds it: "chain FORWARD of table ip filter has policy drop"
	Remedy string `json:"remedy"` // the command or flag that helps
}
