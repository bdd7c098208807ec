package truth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/miekg/dns"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// rules are what the elements of our table say.
func (v *view) rules() error {
	out, err := v.run("nft", "-j", "list", "table", "inet", "catenet")
	if err != nil {
		return err
	}
	type set struct {
		Name string `json:"name"`
		Elem []any  `json:"elem"`
	}
	var table struct {
		Objects []struct{ Set, Map *set } `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return err
	}
	for _, o := range table.Objects {
		s := o.Set
		if s == nil {
			s = o.Map
		}
		if s == nil {
			continue
		}
		for _, el := range s.Elem {
			v.element(s.Name, words(el))
		}
	}
	return nil
}

// element says what an element of a set is for, whose words are those of its
// key and its value.
func (v *view) element(set string, w []string) {
	switch set {
	case "bridges":
		v.say("rules for %s", w[0])
	case "subnets4", "subnets6":
		v.say("guarded %s/%s", w[0], w[1])
	case "any4":
		v.say("published %s 0.0.0.0:%s to %s:%s", w[0], w[1], w[2], w[3])
	case "any6":
		v.say("published %s [::]:%s to [%s]:%s", w[0], w[1], w[2], w[3])
	case "ports4":
		v.say("published %s %s:%s to %s:%s", w[1], w[0], w[2], w[3], w[4])
	case "ports6":
		v.say("published %s [%s]:%s to [%s]:%s", w[1], w[0], w[2], w[3], w[4])
	}
}

// words are the strings and numbers in a value of JSON.
func words(v any) (w []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case float64:
		return []string{strconv.Itoa(int(v))}
	case []any:
		for _, x := range v {
			w = append(w, words(x)...)
		}
	case map[string]any:
		for _, key := range []string{"concat", "prefix", "addr", "len"} {
			if x, ok := v[key]; ok {
				w = append(w, words(x)...)
			}
		}
	}
	return w
}

// place is how ports are written in the map of eBPF: an address in IPv6 form,
// a port in network order, a protocol's number.
type place struct {
	Addr  [16]byte
	Port  [2]byte
	Proto uint16
}

func (p place) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), uint16(p.Port[0])<<8|uint16(p.Port[1]))
}

// loopback are the ports that eBPF leads away.
func (v *view) loopback() error {
	ports, err := ebpf.LoadPinnedMap(filepath.Join(v.host.RunDir(), "bpf", "ports-1"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer ports.Close()
	var key, to place
	all := ports.Iterate()
	for all.Next(&key, &to) {
		proto := catenet.TCP
		if key.Proto == uint16(catenet.UDP.Number()) {
			proto = catenet.UDP
		}
		v.say("on loopback %s %s to %s", proto, key.addrPort(), to.addrPort())
	}
	return all.Err()
}

// answers are what a sandbox's resolver says of names.
func (v *view) answers(sb catenet.SandboxStatus, names []string) error {
	return kerneltest.In(sb.NetnsPath, func() error {
		c, err := net.Dial("udp", "127.0.0.11:53")
		if err != nil {
			return err
		}
		conn := &dns.Conn{Conn: c}
		defer conn.Close()
		for _, name := range names {
			addrs, err := ask(conn, name)
			if err != nil {
				return fmt.Errorf("ask for %s: %w", name, err)
			}
			if len(addrs) > 0 {
				v.say("in %s: %s is %s", sb.Name, name, sorted(addrs))
			}
		}
		return nil
	})
}

// ask returns the IPv4 addresses of a name.
func ask(conn *dns.Conn, name string) (addrs []string, err error) {
	q := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
	if err := errors.Join(conn.SetDeadline(time.Now().Add(10*time.Second)), conn.WriteMsg(q)); err != nil {
		return nil, err
	}
	reply, err := conn.ReadMsg()
	if err != nil {
		return nil, err
	}
	if reply.Id != q.Id {
		return nil, fmt.Errorf("an answer to another question: %s", strings.TrimSpace(reply.String()))
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			addrs = append(addrs, a.A.String())
		}
	}
	return addrs, nil
}
