package names

import "time"

// view is what a sandbox sees. It is never changed, only replaced.
type view struct {
	networks []*network // in the order in which they are asked
	extra    map[string][]*host
	search   []string   // as query.name; nil: the host's
	set      *upstreams // nil: the host's
	outside  bool       // something is forwarded at all
	counts   *counters  // of the sandbox
}

// setView makes the view of a sandbox from its configuration and the networks
// that there are. n.mu is held.
func (n *Names) setView(s *sandbox, conf Sandbox) {
	v := &view{search: wireNames(conf.DNS.Search), extra: map[string][]*host{}, counts: &s.counts}
	for _, id := range conf.Networks {
		if w := n.networks[id]; w != nil {
			v.networks = append(v.networks, w)
			v.outside = v.outside || !w.internal
		}
	}
	for _, e := range conf.ExtraHosts {
		if k := encodeName(e.Name); k != "" {
			h := &host{v4: e.Addr}
			if e.Addr.Is6() {
				h = &host{v6: e.Addr}
			}
			v.extra[k] = append(v.extra[k], h)
		}
	}
	switch {
	case conf.Behind != nil:
		v.set, v.outside = n.acquireBehind(conf.ID, conf.Behind), true // who is there knows what may go outside
	case len(conf.DNS.Servers) > 0:
		v.set = n.acquire(servers(conf.DNS.Servers, nil))
	}
	old := s.view.Swap(v)
	if old != nil {
		n.release(old.set)
	}
	s.conf = conf
}

// find returns the hosts behind a name that have an address of the type
// asked for, and whether anything goes by that name. Extra hosts come first,
// as they do in /etc/hosts; then the name itself in each network, then in
// each network whose name it ends with.
func (v *view) find(name []byte, qtype uint16) (hosts []*host, known bool) {
	if hosts := v.extra[string(name)]; hosts != nil {
		return hosts, true
	}
	for _, w := range v.networks {
		if hosts := w.table.get(name); hosts != nil {
			if has(hosts, qtype) {
				return hosts, true
			}
			known = true
		}
	}
	for _, w := range v.networks {
		short, ok := cutSuffix(name, w.suffix)
		if !ok {
			continue
		}
		if hosts := w.table.get(short); hosts != nil {
			if has(hosts, qtype) {
				return hosts, true
			}
			known = true
		}
	}
	return nil, known
}

// searched is find for what is left of a name without a search domain.
func (v *view) searched(name []byte, search []string, qtype uint16) (hosts []*host, known bool) {
	for _, domain := range search {
		if short, ok := cutSuffix(name, domain); ok {
			if hosts, known = v.find(short, qtype); known {
				return hosts, true
			}
		}
	}
	return nil, false
}

// owner returns the name of the endpoint that has the address in q, a PTR
// query.
func (v *view) owner(q *query) (host, network string, ok bool) {
	addr, ok := reverseAddr(q.name())
	if !ok {
		return "", "", false
	}
	for _, w := range v.networks {
		if h := w.table.byAddr(addr); h != nil && h.ptr != "" {
			return h.ptr, w.suffix, true
		}
	}
	return "", "", false
}

// around returns what lies beyond the view: its upstreams and its search
// domains, each its own or else the host's.
func (n *Names) around(v *view, now time.Time) (*upstreams, []string) {
	if v.set != nil && v.search != nil {
		return v.set, v.search
	}
	h := n.host(now)
	set, search := v.set, v.search
	if set == nil {
		set = h.set
	}
	if search == nil {
		search = h.search
	}
	return set, search
}

// quick answers the query q, whose message is m, in m's place, if nothing has
// to be waited for. limit is the largest answer, in bytes; m has that room or
// is moved. Otherwise it returns the upstreams that have to be asked.
func (n *Names) quick(v *view, q *query, m []byte, limit int) ([]byte, *upstreams) {
	if hosts, known := v.find(q.name(), q.qtype); known {
		return q.addresses(m, hosts, limit), nil
	}
	if q.qtype == typePTR {
		if host, network, ok := v.owner(q); ok {
			return q.pointer(m, host, network), nil
		}
	}
	now := time.Now()
	set, search := n.around(v, now)
	if !v.outside || len(set.list) == 0 {
		if hosts, known := v.searched(q.name(), search, q.qtype); known {
			return q.addresses(m, hosts, limit), nil
		}
		if !v.outside {
			return q.status(m, rcodeNXDomain), nil
		}
		v.counts.failed.Add(1)
		return q.status(m, rcodeServFail), nil
	}
	var key [maxWireName + 16]byte
	if r := n.cache.get(set.appendKey(key[:0], q), now); r != nil {
		v.counts.cached.Add(1)
		return deliver(v, q, m, r, search, limit, now), nil
	}
	return nil, set
}

// deliver makes m the answer that r gives; where upstream knows no such name
// or has failed (nil), the search domains get their turn.
func deliver(v *view, q *query, m []byte, r *reply, search []string, limit int, now time.Time) []byte {
	if r == nil || r.rcode != rcodeOK {
		if hosts, known := v.searched(q.name(), search, q.qtype); known {
			return q.addresses(m, hosts, limit)
		}
	}
	if r == nil {
		v.counts.failed.Add(1)
		return q.status(m, rcodeServFail)
	}
	return r.write(q, m, limit, now)
}
