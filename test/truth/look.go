package truth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/test/lab"
)

// look returns the lines that the host shows.
func (w *World) look(said word) ([]string, error) {
	v := &view{host: w.Host}
	steps := []func() error{
		v.links, v.routes, v.rates, v.rules, v.loopback, v.pins, func() error { return v.held(w.Ports) },
		func() error { return v.folders(said) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for name, path := range w.rooms(said) {
		parked := slices.ContainsFunc(said.sandboxes, func(sb catenet.SandboxStatus) bool { return sb.Name == name && sb.Parked })
		if err := v.inside(name, path, parked); err != nil {
			return nil, fmt.Errorf("look into %s: %w", name, err)
		}
	}
	for _, sb := range said.sandboxes {
		if sb.State == catenet.StateRunning && sb.Mode == "" && !sb.Expected {
			if err := v.answers(sb, names(said, w.Names)); err != nil {
				return nil, fmt.Errorf("ask the resolver of %s: %w", sb.Name, err)
			}
		}
	}
	for _, name := range w.Netns {
		v.files("netns "+name, filepath.Join("/etc/netns", name))
	}
	for _, n := range said.networks {
		for _, o := range n.Owners {
			if o.Owner != "gateway" && o.Owner != "lease" { // of a lease the host shows nothing
				v.say("address %s of %s has %s", o.Address, n.Name, o.Owner)
			}
		}
	}
	for _, warning := range said.info.Warnings {
		if !strings.HasPrefix(warning, "records were damaged") { // what was kept aside stays so
			v.say("warning: %s", warning) // nothing here may ail
		}
	}
	return v.lines, nil
}

type view struct {
	host  *lab.Host
	lines []string
}

func (v *view) say(format string, args ...any) {
	v.lines = append(v.lines, fmt.Sprintf(format, args...))
}

// run runs a command on the host and returns what it printed.
func (v *view) run(name string, args ...string) (string, error) {
	r := v.host.Run(name, args...)
	if r.Code != 0 {
		return "", fmt.Errorf("%s %s: exit %d: %s", name, strings.Join(args, " "), r.Code, r.Text())
	}
	return r.Stdout, nil
}

// link is what ip -j -d addr says of one.
type link struct {
	Name   string   `json:"ifname"`
	Alias  string   `json:"ifalias"`
	Flags  []string `json:"flags"`
	Master string   `json:"master"`
	MAC    string   `json:"address"`
	Info   struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
	Addrs []struct {
		Addr  string `json:"local"`
		Bits  int    `json:"prefixlen"`
		Scope string `json:"scope"`
	} `json:"addr_info"`
}

// text is a link of ours, without what only one side has. The thread is in its
// namespace.
func (l link) text() string {
	up := "down"
	if slices.Contains(l.Flags, "UP") {
		up = "up"
	}
	var addrs []string
	for _, a := range l.Addrs {
		if a.Scope != "link" {
			addrs = append(addrs, fmt.Sprintf("%s/%d", a.Addr, a.Bits))
		}
	}
	off, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + l.Name + "/disable_ipv6")
	if err != nil {
		off = []byte(err.Error())
	}
	return fmt.Sprintf("link %s of %s: %s %s, ipv6 %v, %s", l.Name, strings.TrimPrefix(l.Alias, "catenet:"), l.Info.Kind, up, string(off) == "0\n", sorted(addrs))
}

// links are those on the host that are ours by their alias or name.
func (v *view) links() error {
	out, err := v.run("ip", "-j", "-d", "addr")
	if err != nil {
		return err
	}
	var all []link
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err
	}
	return v.host.NS.Do(func() error {
		for _, l := range all {
			switch {
			case l.Name == "lo" || strings.HasPrefix(l.Name, "eth"):
			case l.Master != "":
				v.say("%s on %s", l.text(), l.Master)
			default:
				v.say("%s", l.text())
			}
		}
		return nil
	})
}

// routes are those to other hosts.
func (v *view) routes() error {
	out, err := v.run("sh", "-c", "ip -j route show proto 159 && ip -j -6 route show proto 159")
	if err != nil {
		return err
	}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var routes []struct{ Dst, Gateway string }
		if err := d.Decode(&routes); err != nil {
			return err
		}
		for _, r := range routes {
			v.say("reaches %s via %s", r.Dst, r.Gateway)
		}
	}
	return nil
}

// rates are the bounds of links, and which links what arrives goes through.
func (v *view) rates() error {
	out, err := v.run("tc", "-j", "qdisc", "show")
	if err != nil {
		return err
	}
	var all []struct {
		Kind, Dev string
		Options   struct{ Rate uint64 }
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err
	}
	for _, q := range all {
		switch q.Kind {
		case "tbf":
			v.say("rate of %s: %d bytes", q.Dev, q.Options.Rate)
		case "clsact":
			out, err := v.run("tc", "filter", "show", "dev", q.Dev, "ingress")
			if err != nil {
				return err
			}
			if _, to, found := strings.Cut(out, "Egress Redirect to device "); found {
				v.say("what arrives by %s goes through %s", q.Dev, strings.TrimSuffix(strings.Fields(to)[0], ")"))
			}
		}
	}
	return nil
}

// inside is what a namespace has beyond lo.
func (v *view) inside(name, path string, parked bool) error {
	out, err := v.run("nsenter", "--net="+path, "--", "sh", "-c", "ip -j -d addr && ip -j route show proto 159 && ip -j -6 route show proto 159 && nft list tables")
	if err != nil {
		return err
	}
	text := strings.NewReader(out)
	d := json.NewDecoder(text)
	var links []link
	var routes [2][]struct {
		Dst     string `json:"dst"`
		Gateway string `json:"gateway"`
		Dev     string `json:"dev"`
	}
	if err := errors.Join(d.Decode(&links), d.Decode(&routes[0]), d.Decode(&routes[1])); err != nil {
		return err
	}
	for line := range strings.Lines(out[d.InputOffset():]) {
		if line = strings.TrimSpace(line); line != "" {
			v.say("in %s: %s", name, line)
		}
	}
	for _, r := range slices.Concat(routes[0], routes[1]) {
		v.say("in %s: route %s via %s on %s", name, r.Dst, r.Gateway, r.Dev)
	}
	return kerneltest.In(path, func() error {
		for _, l := range links {
			// What lacks our mark in a namespace that others furnish is theirs.
			if l.Name != "lo" && (!parked || l.Alias != "") {
				v.say("in %s: %s, MAC %s", name, l.text(), l.MAC)
			}
		}
		return nil
	})
}

// held are the ports that nobody can bind.
func (v *view) held(ports []uint16) error {
	return v.host.NS.Do(func() error {
		for _, port := range ports {
			for _, family := range []string{"4", "6"} {
				addr := netip.AddrPortFrom(map[string]netip.Addr{"4": netip.IPv4Unspecified(), "6": netip.IPv6Unspecified()}[family], port).String()
				if l, err := net.Listen("tcp"+family, addr); err != nil {
					v.say("held tcp %d, IPv6 %v", port, family == "6")
				} else if err := l.Close(); err != nil {
					return err
				}
				if c, err := net.ListenPacket("udp"+family, addr); err != nil {
					v.say("held udp %d, IPv6 %v", port, family == "6")
				} else if err := c.Close(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// pins are the namespaces' places, whose folder must not be copied into other
// mount namespaces.
func (v *view) pins() error {
	dir := filepath.Join(v.host.RunDir(), "netns")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		v.say("pin %s", e.Name())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[4] == dir && f[6] != "unbindable" {
			v.say("mount of pins is %s", f[6])
		}
	}
	return nil
}

// folders are what containers have in the daemon's folders.
func (v *view) folders(said word) error {
	for _, dir := range []struct{ path, what string }{
		{filepath.Join(v.host.StateDir(), "containers"), "log of"},
		{filepath.Join(v.host.RunDir(), "sandboxes"), "files of"},
		{filepath.Join(v.host.RunDir(), "containers"), "folder of"},
	} {
		entries, err := os.ReadDir(dir.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			known := slices.ContainsFunc(said.sandboxes, func(sb catenet.SandboxStatus) bool { return sb.ID == e.Name() })
			switch {
			case dir.what == "files of":
				v.files(e.Name(), filepath.Join(dir.path, e.Name()))
			case dir.what == "log of" || !known: // one that has ended may have its folder
				v.say("%s %s", dir.what, e.Name())
			}
		}
	}
	for _, sb := range said.sandboxes {
		if sb.Owner == catenet.OwnerRun && sb.State == catenet.StateRunning {
			v.program(sb)
		}
	}
	return nil
}

// program is a container's process, if it is in the container's namespace.
func (v *view) program(sb catenet.SandboxStatus) {
	at, err := os.Stat(sb.NetnsPath)
	of, err2 := os.Stat(fmt.Sprintf("/proc/%d/ns/net", sb.InitPID))
	if err == nil && err2 == nil && os.SameFile(at, of) {
		v.say("program of %s in %s", sb.Name, sb.NetnsPath)
	}
}

var private = regexp.MustCompile(`(?m)^(172\.[0-9.]+|10\.[0-9.]+|fd[0-9a-f:]+)\s`)

// files are those in a folder, and the addresses in the one called hosts.
func (v *view) files(of, dir string) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var there, addrs []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	hosts, err := os.ReadFile(filepath.Join(dir, "hosts"))
	if err != nil {
		hosts = []byte(err.Error())
	}
	for _, m := range private.FindAllStringSubmatch(string(hosts), -1) {
		addrs = append(addrs, m[1])
	}
	v.say("files of %s: %s, addresses %s", of, sorted(there), sorted(addrs))
}
