package catenet

import (
	"cmp"
	"net/netip"
	"time"
)

// Owner says whose a sandbox is: who made its namespace, and who ends it.
type Owner string

// The owners of sandboxes. All but OwnerRun join a namespace that somebody else
// made and ends, and differ in who asked for it.
const (
	OwnerRun    Owner = "run"    // catenet run: a container of our own, kept by its shim
	OwnerAttach Owner = "attach" // catenet attach
	OwnerCNI    Owner = "cni"    // a container runtime that speaks CNI
	OwnerPodman Owner = "podman"
	OwnerDocker Owner = "docker"
	OwnerOCI    Owner = "oci" // a hook of an OCI runtime
)

// Owners are all there are.
var Owners = []Owner{OwnerRun, OwnerAttach, OwnerCNI, OwnerPodman, OwnerDocker, OwnerOCI}

// State is where a sandbox stands.
//
//	run:    created ─► running ─► exited ─► running … ─► (removed)
//	others: running ─► (removed when detached, or when its namespace goes)
type State string

// The states of a sandbox.
const (
	StateCreated State = "created"
	StateRunning State = "running"
	StateExited  State = "exited"
)

// Modes of a sandbox's network that are no network of their own.
const (
	ModeHost      = "host"       // the host's namespace
	ModeNone      = "none"       // a namespace with nothing but lo
	ModeContainer = "container:" // prefix: the namespace of the container named after it
)

// SandboxSpec is what somebody asks for with run or attach.
type SandboxSpec struct {
	Name  string `json:"name"` // "" makes one from the ID
	Owner Owner  `json:"owner"`
	// RuntimeID is what the sandbox's own runtime calls it, where that is not
	// us: a ref may be that too.
	RuntimeID string `json:"runtime_id,omitempty"`
	// Mode is "", ModeHost, ModeNone or ModeContainer and a name. With any
	// but "", Networks is empty.
	Mode     string         `json:"mode,omitempty"`
	Networks []EndpointSpec `json:"networks,omitempty"`
	Ports    []PortSpec     `json:"ports,omitempty"`
	// Expose lists container ports that PublishAll publishes on any free
	// host port, and that links lead to; the host fields of each are zero.
	Expose     []PortSpec `json:"expose,omitempty"`
	PublishAll bool       `json:"publish_all,omitempty"`
	// PortsHeld: somebody else binds the host's ports, to see that they are free
	// and to keep others off them, as Podman does. Otherwise we do.
	PortsHeld bool      `json:"ports_held,omitempty"`
	DNS       DNSConfig `json:"dns,omitzero"`
	// ExtraHosts are more lines of /etc/hosts, and names that the resolver
	// knows.
	ExtraHosts []HostEntry       `json:"extra_hosts,omitempty"`
	Hostname   string            `json:"hostname,omitempty"` // "" is the short ID
	Labels     map[string]string `json:"labels,omitempty"`

	// For all but OwnerRun: exactly one of the two says which namespace.
	PID   int    `json:"pid,omitempty"`
	Netns string `json:"netns,omitempty"` // path
	// Parked: whoever makes the namespace at Netns, which may come later,
	// furnishes it too. Links wait on the host until they are taken
	// (Endpoint.Parked); addresses and routes inside are not ours. Whoever
	// answers lookups in it beside us is asked what we do not know.
	Parked bool `json:"parked,omitempty"`
	// Rootfs, with PID: the root of the container's file system, as the process
	// sees it: "/", or the folder that a runtime is about to make its root. Its
	// hosts and resolv.conf in /etc are then the sandbox's. "" leaves them alone.
	Rootfs string `json:"rootfs,omitempty"`
	// For OwnerRun: what runs.
	Process *Process `json:"process,omitempty"`
}

// Stopper is the command that stops what runs in a namespace of somebody else's, by
// his own tools; "" if nobody knows whose it is.
func (s SandboxSpec) Stopper() string {
	id := ShortID(cmp.Or(s.RuntimeID, s.Name))
	switch s.Owner {
	case OwnerPodman:
		return "podman stop " + id
	case OwnerDocker:
		return "docker stop " + id
	case OwnerCNI: // which runtime that is, and what else it calls the container, it does not tell
		return "crictl stopp, nerdctl stop or ctr task kill, whichever it was started with,"
	case OwnerOCI:
		return "runc kill " + s.RuntimeID + " or crun kill " + s.RuntimeID
	}
	return ""
}

// SandboxUpdate is what is to be another of a sandbox that exists, whether or
// not it runs. What is not named stays.
type SandboxUpdate struct {
	Name *string `json:"name,omitempty"`
	// RuntimeID is for a sandbox whose own runtime tells it late.
	RuntimeID *string `json:"runtime_id,omitempty"`
	// Publish opens further ports, after Unpublish has closed some: a
	// PortSpec there closes what its fields say, the zero ones any.
	Publish   []PortSpec `json:"publish,omitempty"`
	Unpublish []PortSpec `json:"unpublish,omitempty"`
	// Aliases replaces all aliases in each network that it names.
	Aliases map[string][]string `json:"aliases,omitempty"`
}

// DNSConfig is how a sandbox resolves names that catenet does not know.
type DNSConfig struct {
	Servers []netip.Addr `json:"servers,omitempty"` // empty: the host's
	Search  []string     `json:"search,omitempty"`
	Options []string     `json:"options,omitempty"` // of resolv.conf, like "ndots:2"
}

// HostGateway as a HostEntry's address stands for the host, as seen from the
// container.
const HostGateway = "host-gateway"

// HostEntry is one --add-host.
type HostEntry struct {
	Name string `json:"name"`
	Addr string `json:"addr"` // an IP address or HostGateway
}

// Process is the program of a container that catenet runs itself.
type Process struct {
	Args       []string `json:"args"`
	Env        []string `json:"env,omitempty"`    // KEY=VALUE
	Rootfs     string   `json:"rootfs,omitempty"` // absolute; "" is the host's file system
	Dir        string   `json:"dir,omitempty"`    // working directory; "" is /
	AutoRemove bool     `json:"auto_remove,omitempty"`
}

// Sandbox is a container as the network sees it: a namespace, the names it
// goes by, and what it asked for.
type Sandbox struct {
	ID string `json:"id"` // 64 hexadecimal digits
	SandboxSpec
	State    State     `json:"state"`
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	ExitCode int       `json:"exit_code"` // of the last run; 128 + signal when a signal ended it
	// InitPID is the first process of a running container, or the one named at
	// attach; 0 if none is known.
	InitPID int `json:"init_pid,omitempty"`
	// NetnsPath is where the namespace can be opened while it lives.
	NetnsPath string `json:"netns_path,omitempty"`
	// Expected: Parked, and the namespace has not come yet.
	Expected bool `json:"expected,omitempty"`
	// Warnings are what somebody should know about how this sandbox is served
	// (for example: no /etc/resolv.conf of its own).
	Warnings []string `json:"warnings,omitempty"`
}
