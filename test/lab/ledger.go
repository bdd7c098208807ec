package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// link is what ip -j link says of one.
type link struct {
	Name  string `json:"ifname"`
	Alias string `json:"ifalias"`
}

// links lists the host's own links that are ethN.
func (h *Host) links() []link {
	h.lab.T.Helper()
	var eth []link
	for _, l := range h.allLinks() {
		if strings.HasPrefix(l.Name, "eth") {
			eth = append(eth, l)
		}
	}
	return eth
}

func (h *Host) allLinks() []link {
	h.lab.T.Helper()
	var all []link
	if err := json.Unmarshal([]byte(h.MustRun("ip", "-j", "link")), &all); err != nil {
		h.lab.T.Fatal(err)
	}
	return all
}

// ourBridge finds the bridge of a user network in a ruleset.
var ourBridge = regexp.MustCompile(`"br-[0-9a-f]{12}"`)

// strays lists what containers and user networks have left on an emptied
// host: links, pinned namespaces, elements in the maps of our tables, held
// sockets, processes.
func (h *Host) strays() []string {
	var left []string
	for _, l := range h.allLinks() {
		if strings.HasPrefix(l.Name, "br-") || strings.HasPrefix(l.Name, "ctn") || strings.HasPrefix(l.Name, "cti") {
			left = append(left, "link "+l.Name+" "+l.Alias)
		}
	}
	pins, err := os.ReadDir(filepath.Join(h.RunDir(), "netns"))
	if err != nil && !os.IsNotExist(err) {
		left = append(left, err.Error())
	}
	for _, p := range pins {
		left = append(left, "namespace "+p.Name())
	}
	for _, line := range strings.Split(h.MustRun("nft", "list", "ruleset"), "\n") {
		if ourBridge.MatchString(line) {
			left = append(left, "rule "+strings.TrimSpace(line))
		}
	}
	for _, line := range strings.Split(h.MustRun("ss", "-Hlnp", "-A", "tcp,udp"), "\n") {
		if strings.Contains(line, fmt.Sprintf("pid=%d,", h.daemon.Pid)) {
			left = append(left, "socket "+strings.Join(strings.Fields(line), " "))
		}
	}
	return left
}

// leaks lists what the machine still has of this lab: mounts, processes,
// names in shared folders.
func (l *Lab) leaks() []string {
	var left []string
	mounts, err := mountsBelow("/proc/self/mountinfo", l.Dir)
	if err != nil {
		left = append(left, err.Error())
	}
	for _, m := range mounts {
		left = append(left, "mount "+m)
	}
	for pid, why := range l.processes() {
		left = append(left, fmt.Sprintf("process %d (%s)", pid, why))
	}
	return append(left, l.named()...)
}

// named lists what is called by Name in the folders of ip-netns(8).
func (l *Lab) named() (paths []string) {
	for _, dir := range []string{"/run/netns/", "/etc/netns/"} {
		names, err := filepath.Glob(dir + l.ID + "-*")
		if err != nil {
			paths = append(paths, err.Error())
		}
		paths = append(paths, names...)
	}
	return paths
}

// processes finds those that stand on this lab: by their command line, the
// lab's mark in their environment, or files of the lab mounted into them.
func (l *Lab) processes() map[int]string {
	found := map[int]string{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return map[int]string{0: err.Error()}
	}
	own := ""
	if ns, err := os.Readlink("/proc/self/ns/mnt"); err == nil {
		own = ns
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(cmdline) == 0 {
			continue // gone, or a thread of the kernel, or a zombie
		}
		line := strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")
		environ, _ := os.ReadFile(dir + "/environ") // gone: none
		ns, _ := os.Readlink(dir + "/ns/mnt")
		inside := false
		if ns != own {
			inside = bindsFrom(dir+"/mountinfo", l.Dir)
		}
		if inside || strings.Contains(line, l.Dir+"/") || strings.Contains(string(environ), "CATENET_LAB="+l.Dir+"\x00") {
			found[pid] = line
		}
	}
	return found
}

// bindsFrom reports whether a process sees files of dir at places outside of
// it, as a container of ours does. (A mount below dir means nothing: every
// mount namespace that was cloned while the lab was up has them all.)
func bindsFrom(mountinfo, dir string) bool {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return false // the process is gone
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && strings.Contains(f[3], filepath.Base(dir)+"/") && !strings.HasPrefix(f[4], dir+"/") {
			return true
		}
	}
	return false
}

// sweep ends, unmounts and removes what leaked, so that one failed test leaves the
// machine fit for the next.
func (l *Lab) sweep() {
	for pid := range l.processes() {
		syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile is as good
	}
	mounts, err := mountsBelow("/proc/self/mountinfo", l.Dir)
	if err != nil {
		l.T.Error(err)
	}
	for _, m := range mounts {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
			l.T.Errorf("unmount %s: %v", m, err)
		}
	}
	for _, path := range l.named() {
		err := syscall.Unmount(path, syscall.MNT_DETACH)
		if err == nil || errors.Is(err, syscall.EINVAL) { // EINVAL: nothing is mounted there
			err = os.RemoveAll(path)
		}
		if err != nil {
			l.T.Errorf("remove %s: %v", path, err)
		}
	}
}

// mountsBelow lists the mount points below dir, the innermost first.
func mountsBelow(mountinfo, dir string) ([]string, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append([]string{f[4]}, points...)
		}
	}
	return points, nil
}
