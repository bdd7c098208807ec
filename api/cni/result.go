package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/catenet/catenet"
)

// result is what ADD answers, and what a plugin further back in a chain is
// handed as prevResult: that one's lists are kept as they are, whatever is in
// them.
type result struct {
	CNIVersion string            `json:"cniVersion"`
	Interfaces []json.RawMessage `json:"interfaces,omitempty"`
	IPs        []json.RawMessage `json:"ips,omitempty"`
	Routes     []json.RawMessage `json:"routes,omitempty"`
	DNS        dnsConfig         `json:"dns"`
}

type resultInterface struct {
	Name    string `json:"name"`
	MAC     string `json:"mac,omitempty"`
	Sandbox string `json:"sandbox,omitempty"` // path of its namespace; "": the host's
}

type resultIP struct {
	Version   string `json:"version,omitempty"` // "4" or "6", before 1.0.0
	Address   string `json:"address"`
	Gateway   string `json:"gateway,omitempty"`
	Interface *int   `json:"interface,omitempty"` // its place in the list
}

type resultRoute struct {
	Dst      string `json:"dst"`
	GW       string `json:"gw,omitempty"`
	Priority int    `json:"priority,omitempty"` // from 1.1.0 on
}

// previous is the result of the plugin before in the chain; empty if there is
// none.
func (c call) previous() (r result, err error) {
	if len(c.conf.PrevResult) == 0 || string(c.conf.PrevResult) == "null" {
		return r, nil
	}
	if err = json.Unmarshal(c.conf.PrevResult, &r); err != nil {
		return r, coded(codeDecode, catenet.Invalidf("read prevResult: %w", err))
	}
	return r, nil
}

// interfaces reads the interfaces of a result.
func (r result) interfaces() (all []resultInterface, err error) {
	for _, raw := range r.Interfaces {
		var i resultInterface
		if err := json.Unmarshal(raw, &i); err != nil {
			return nil, coded(codeDecode, catenet.Invalidf("read prevResult: %w", err))
		}
		all = append(all, i)
	}
	return all, nil
}

// resultOf adds an attachment to what the chain has so far.
func (c call) resultOf(r result, n catenet.Network, ep catenet.Endpoint) (result, error) {
	r.CNIVersion = c.conf.CNIVersion
	var interfaces []any
	if ep.HostLink != "" {
		interfaces = append(interfaces, resultInterface{Name: ep.HostLink})
	}
	interfaces = append(interfaces, resultInterface{Name: ep.Interface, MAC: ep.MAC, Sandbox: c.netns})
	at := len(r.Interfaces) + len(interfaces) - 1
	var ips, routes []any
	for _, a := range []struct {
		addr    netip.Prefix
		gateway netip.Addr
		first   bool
		all     string
	}{{ep.IPv4, ep.Gateway4, ep.DefaultRoute4, "0.0.0.0/0"}, {ep.IPv6, ep.Gateway6, ep.DefaultRoute6, "::/0"}} {
		if !a.addr.IsValid() {
			continue
		}
		ip := resultIP{Address: a.addr.String(), Interface: &at}
		if !since(c.conf.CNIVersion, "1.0.0") {
			ip.Version = fmt.Sprint(map[int]int{32: 4, 128: 6}[a.addr.Addr().BitLen()])
		}
		if a.gateway.IsValid() {
			ip.Gateway = a.gateway.String()
		}
		ips = append(ips, ip)
		if a.first {
			routes = append(routes, resultRoute{Dst: a.all, GW: ip.Gateway})
		}
	}
	for _, route := range n.Routes {
		one := resultRoute{Dst: route.Dst.String(), GW: route.Gateway.String()}
		if since(c.conf.CNIVersion, "1.1.0") {
			one.Priority = route.Metric
		}
		routes = append(routes, one)
	}
	dns, err := c.dns()
	if err != nil {
		return r, err
	}
	if len(r.DNS.Nameservers) == 0 { // else what an earlier plugin says stands
		r.DNS = dnsConfig{Nameservers: []string{resolver}, Search: dns.Search, Options: dns.Options, Domain: c.conf.DNS.Domain}
	}
	for _, list := range []struct {
		to   *[]json.RawMessage
		more []any
	}{{&r.Interfaces, interfaces}, {&r.IPs, ips}, {&r.Routes, routes}} {
		for _, v := range list.more {
			b, err := json.Marshal(v)
			if err != nil {
				return r, err
			}
			*list.to = append(*list.to, b)
		}
	}
	return r, nil
}
