package names

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// HostConf is what the host's resolv.conf says.
type HostConf struct {
	Servers []netip.Addr
	// Reserve are the servers behind systemd-resolved's stub, where Servers
	// is that stub. The stub is asked first, because only it knows which
	// server knows which domain; these are for when it does not answer.
	Reserve []netip.Addr
	Search  []string
	Options []string
}

// resolvedStub is where systemd-resolved listens, see systemd-resolved(8).
var resolvedStub = netip.AddrFrom4([4]byte{127, 0, 0, 53})

// hostSource is the host's configuration, looked at again at most once a
// second and read again when the file has changed.
type hostSource struct {
	path, stubPath string
	next           moment // when to look again
	now            atomic.Pointer[hostState]

	mu    sync.Mutex // of those who read it again
	stamp string
}

// hostState is the configuration, ready for use.
type hostState struct {
	conf   HostConf
	set    *upstreams
	search []string // as query.name
}

// host returns the host's state as of this second.
func (n *Names) host(now time.Time) *hostState {
	h := &n.hostConf
	if st := h.now.Load(); st != nil && h.next.ahead(now) {
		return st
	}
	if !h.mu.TryLock() {
		if st := h.now.Load(); st != nil {
			return st
		}
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	stamp := fileStamp(h.path) + fileStamp(h.stubPath)
	st := h.now.Load()
	if st == nil || stamp != h.stamp {
		st = n.readHost(st)
		h.stamp = stamp
		h.now.Store(st)
	}
	h.next.set(now.Add(time.Second))
	return st
}

// readHost reads the host's files and gives the old state's set back.
func (n *Names) readHost(old *hostState) *hostState {
	conf, err := readResolvConf(n.hostConf.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("cannot read the host's resolv.conf", "err", err)
	}
	if len(conf.Servers) == 1 && conf.Servers[0] == resolvedStub {
		if behind, err := readResolvConf(n.hostConf.stubPath); err == nil {
			conf.Reserve = behind.Servers
		}
	}
	st := &hostState{conf: conf, search: wireNames(conf.Search)}
	n.mu.Lock()
	defer n.mu.Unlock()
	st.set = n.acquire(servers(conf.Servers, conf.Reserve))
	if old != nil {
		n.release(old.set)
	}
	n.log.Info("upstream servers of the host", "file", n.hostConf.path, "servers", conf.Servers, "reserve", conf.Reserve)
	return st
}

// HostConf returns what the host's resolv.conf says now.
func (n *Names) HostConf() HostConf { return n.host(time.Now()).conf }

// fileStamp is a text that changes when the file does, or another takes its
// place.
func fileStamp(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return "-"
	}
	st := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintln(st.Ino, st.Ctim, st.Size)
}

func readResolvConf(path string) (HostConf, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return HostConf{}, err
	}
	return parseResolvConf(b), nil
}

// parseResolvConf reads the form of resolv.conf(5). What it does not
// understand it passes over, as the C library does.
func parseResolvConf(b []byte) HostConf {
	var c HostConf
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], ";") {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil {
				c.Servers = append(c.Servers, a.Unmap())
			}
		case "domain":
			c.Search = f[1:2]
		case "search":
			c.Search = f[1:]
		case "options":
			c.Options = append(c.Options, f[1:]...)
		}
	}
	return c
}

// wireNames translates names into the form of query.name, without those that
// are none.
func wireNames(list []string) []string {
	var out []string
	for _, s := range list {
		if k := encodeName(s); k != "" {
			out = append(out, k)
		}
	}
	return out
}
