package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/names"
)

// aliases are what a record's links add to the names that it knows, and the
// lines of its /etc/hosts: there the target's hostname and name stand behind
// the alias. A dead link's alias is known and has no address: nobody is to be
// found by it, least of all by asking a server of names outside.
func (e *Engine) aliases(r *record) (answers, lines []names.Host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.linksOf(r) {
		if l.target == nil {
			answers = append(answers, names.Host{Name: l.Alias})
			continue
		}
		all := []string{l.Alias}
		for _, name := range []string{l.target.Hostname, l.target.Name} {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		for _, a := range []netip.Addr{l.to.IPv4.Addr(), l.to.IPv6.Addr()} {
			if a.IsValid() {
				answers = append(answers, names.Host{Name: l.Alias, Addr: a})
				lines = append(lines, names.Host{Name: strings.Join(all, " "), Addr: a})
			}
		}
	}
	return answers, lines
}

// ranks are the protocols in the order in which their ports are told.
var ranks = []catenet.Proto{catenet.TCP, catenet.SCTP, catenet.UDP}

// exposed are the ports that a container says it serves, TCP before others,
// then by number. The host's side of each is zero.
func exposed(r *record) []catenet.PortSpec {
	var ports []catenet.PortSpec
	for _, p := range slices.Concat(r.Expose, r.Ports) {
		ports = append(ports, catenet.PortSpec{Proto: p.Proto, Port: p.Port})
	}
	slices.SortFunc(ports, func(a, b catenet.PortSpec) int {
		return cmp.Or(slices.Index(ranks, a.Proto)-slices.Index(ranks, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(ports)
}

// linkEnv is what a container's links add to its environment, by the names that
// Docker's legacy links have.
func (e *Engine) linkEnv(r *record) (env []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.linksOf(r) {
		if l.target != nil {
			env = append(env, l.env(r.Name)...)
		}
	}
	return env
}

// env is what one link adds:
//
//	DB_PORT=tcp://172.18.0.2:5432           the first of the exposed ports
//	DB_PORT_5432_TCP=tcp://172.18.0.2:5432  each of them,
//	DB_PORT_5432_TCP_ADDR=172.18.0.2        and _PORT and _PROTO
//	DB_PORT_7000_TCP_START=…                consecutive ones, and _END, _PORT_START, _PORT_END
//	DB_NAME=/web/db                         who links, and the alias
//	DB_ENV_VERSION=17                       the target's own, save HOME and PATH
func (l linked) env(who string) []string {
	alias := strings.ToUpper(strings.ReplaceAll(l.Alias, "-", "_"))
	addr := l.to.IPv4.Addr()
	if !addr.IsValid() {
		addr = l.to.IPv6.Addr()
	}
	key := func(p catenet.PortSpec) string {
		return fmt.Sprintf("%s_PORT_%d_%s", alias, p.Port, strings.ToUpper(string(p.Proto)))
	}
	url := func(p catenet.PortSpec) string {
		return fmt.Sprintf("%s://%s", p.Proto, netip.AddrPortFrom(addr, p.Port))
	}
	env := []string{fmt.Sprintf("%s_NAME=/%s/%s", alias, who, l.Alias)}
	ports := exposed(l.target)
	first := 0 // of consecutive ones
	for i, p := range ports {
		if i == 0 {
			env = append(env, alias+"_PORT="+url(p))
		}
		env = append(env, key(p)+"="+url(p), key(p)+"_ADDR="+addr.String(),
			fmt.Sprintf("%s_PORT=%d", key(p), p.Port), key(p)+"_PROTO="+string(p.Proto))
		if i+1 < len(ports) && ports[i+1].Proto == p.Proto && ports[i+1].Port == p.Port+1 {
			continue
		}
		if begin := ports[first]; first < i {
			env = append(env, key(begin)+"_START="+url(begin), fmt.Sprintf("%s_PORT_START=%d", key(begin), begin.Port),
				key(begin)+"_END="+url(p), fmt.Sprintf("%s_PORT_END=%d", key(begin), p.Port))
		}
		first = i + 1
	}
	if l.target.Process == nil {
		return env
	}
	for _, kv := range l.target.Process.Env {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "HOME" && name != "PATH" {
			env = append(env, fmt.Sprintf("%s_ENV_%s=%s", alias, name, value))
		}
	}
	return env
}
