package docker

import (
	"cmp"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	"github.com/catenet/catenet"
)

// Version says what answers.
func Version(i catenet.Info) system.VersionResponse {
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "catenet: networks for containers"},
		Version:  i.Version.Version, APIVersion: MaxVersion, MinAPIVersion: MinVersion,
		Os: runtime.GOOS, Arch: runtime.GOARCH, GoVersion: i.Version.Go, KernelVersion: i.Kernel,
	}
	v.Components = []system.ComponentVersion{{Name: "Engine", Version: v.Version, Details: map[string]string{
		"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
		"GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion,
	}}}
	return v
}

// Info describes the daemon and its host, and claims nothing that is not
// served: there are no images, volumes and swarms here.
func Info(i catenet.Info, now time.Time) system.Info {
	out := system.Info{
		ID: i.NodeID, Name: i.Hostname, ServerVersion: i.Version.Version, SystemTime: now.Format(time.RFC3339Nano),
		Containers: i.Sandboxes, ContainersRunning: i.Running, ContainersStopped: i.Sandboxes - i.Running,
		Plugins:       system.PluginsInfo{Network: i.Drivers},
		KernelVersion: i.Kernel, OSType: runtime.GOOS, Architecture: runtime.GOARCH, NCPU: runtime.NumCPU(), MemTotal: int64(i.Memory),
		OperatingSystem: "catenet " + i.Version.Version + ": Docker's API for networks, and nothing beyond",
		DockerRootDir:   i.StateDir,
		Swarm:           swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		IPv4Forwarding:  true, // each network that leads outside turns it on
		FirewallBackend: &system.FirewallInfo{Driver: i.Firewall.Backend},
		Warnings:        append([]string{}, i.Warnings...),
	}
	for _, o := range i.Obstacles {
		out.Warnings = append(out.Warnings, o.Rule+": "+o.Remedy)
	}
	return out
}

// elsewhere are the parts of Docker's API that are not served, by the first
// word of a path, and what does the same here.
var elsewhere = map[string]string{
	"containers": "catenet run, ps, inspect, exec, logs, stop and rm look after containers, catenet attach joins those of others",
	"exec":       "catenet exec runs a program in a container",
	"images":     "catenet run --rootfs FOLDER runs what another tool has unpacked",
	"volumes":    "", "build": "", "commit": "", "auth": "", "distribution": "", "session": "", "grpc": "", "plugins": "",
	"swarm": "", "nodes": "", "services": "", "tasks": "", "secrets": "", "configs": "", "system": "",
}

// NotServed is what is said of a path without its version: that Docker has it
// and we do not, with the next step, or that nobody has it.
func NotServed(path string) error {
	word, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	instead, known := elsewhere[word]
	if !known {
		return NoPage()
	}
	return catenet.Unsupportedf("this is catenet, which serves Docker's API for networks: it has no /%s", word).
		WithHint("%s", cmp.Or(instead, "ask Docker itself: unset DOCKER_HOST"))
}
