package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
)

// Plugin asks a daemon what dockerd asks of its network plugin. Each request is
// sent once: one that is cut off is an error.
type Plugin struct{ http http.Client }

// NewPlugin asks at the socket that --docker-plugin names.
func NewPlugin(socket string) *Plugin {
	return &Plugin{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close closes the connection that is kept.
func (p *Plugin) Close() { p.http.CloseIdleConnections() }

// Ask is a request.
type Ask map[string]any

// Call makes a call, and returns what was answered.
func (p *Plugin) Call(what string, q Ask) (map[string]any, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	// Who can only read it once does not send it again by himself.
	res, err := p.http.Post("http://catenet/"+what, "", io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if answer["Err"] != nil {
		return nil, fmt.Errorf("%s: %w: %v", what, ErrRefused, answer["Err"])
	}
	return answer, nil
}

// ErrRefused is of a call that was answered with an error.
var ErrRefused = errors.New("refused")

// all makes calls until one fails.
func (p *Plugin) all(calls ...func() (map[string]any, error)) error {
	for _, call := range calls {
		if _, err := call(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plugin) later(what string, q Ask) func() (map[string]any, error) {
	return func() (map[string]any, error) { return p.Call(what, q) }
}

// Claim claims a subnet.
func (p *Plugin) Claim(subnet netip.Prefix) error {
	return p.all(p.later("IpamDriver.RequestPool", Ask{"AddressSpace": "catenet", "Pool": subnet}))
}

// Gateway leases the gateway of a claimed subnet.
func (p *Plugin) Gateway(subnet netip.Prefix) error {
	return p.all(p.later("IpamDriver.RequestAddress", Ask{"PoolID": subnet, "Options": Ask{"RequestAddressType": "com.docker.network.gateway"}}))
}

// Pool is Claim and Gateway.
func (p *Plugin) Pool(subnet netip.Prefix) error {
	if err := p.Claim(subnet); err != nil {
		return err
	}
	return p.Gateway(subnet)
}

// NoPool is its opposite.
func (p *Plugin) NoPool(subnet netip.Prefix) error {
	return p.all(p.later("IpamDriver.ReleaseAddress", Ask{"PoolID": subnet, "Address": subnet.Addr().Next()}),
		p.later("IpamDriver.ReleasePool", Ask{"PoolID": subnet}))
}

// Address leases an address; zero is any.
func (p *Plugin) Address(subnet netip.Prefix, want netip.Addr) (netip.Addr, error) {
	q := Ask{"PoolID": subnet}
	if want.IsValid() {
		q["Address"] = want
	}
	answer, err := p.Call("IpamDriver.RequestAddress", q)
	if err != nil {
		return want, err
	}
	a, err := netip.ParsePrefix(fmt.Sprint(answer["Address"]))
	return a.Addr(), err
}

// NoAddress gives it back.
func (p *Plugin) NoAddress(subnet netip.Prefix, a netip.Addr) error {
	return p.all(p.later("IpamDriver.ReleaseAddress", Ask{"PoolID": subnet, "Address": a}))
}

// Network makes a network of a claimed subnet.
func (p *Plugin) Network(id string, subnet netip.Prefix) error {
	gateway := netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits())
	return p.all(p.later("NetworkDriver.CreateNetwork", Ask{"NetworkID": id, "IPv4Data": []Ask{{"AddressSpace": "catenet", "Pool": subnet, "Gateway": gateway}}}))
}

// NoNetwork removes it.
func (p *Plugin) NoNetwork(id string) error {
	return p.all(p.later("NetworkDriver.DeleteNetwork", Ask{"NetworkID": id}))
}

// Join makes an endpoint at a leased address, and joins it to the namespace that
// is to be at path. It returns the name of the link that waits.
func (p *Plugin) Join(network, id string, a netip.Prefix, path string) (link string, err error) {
	err = p.all(p.later("NetworkDriver.CreateEndpoint", Ask{"NetworkID": network, "EndpointID": id, "Interface": Ask{"Address": a}}))
	if err != nil {
		return "", err
	}
	answer, err := p.Call("NetworkDriver.Join", Ask{"NetworkID": network, "EndpointID": id, "SandboxKey": path})
	if err != nil {
		return "", err
	}
	of, _ := answer["InterfaceName"].(map[string]any)
	return fmt.Sprint(of["SrcName"]), nil
}

// Publish publishes a TCP port of an endpoint at the same number of the host.
func (p *Plugin) Publish(network, id string, port uint16) error {
	return p.all(p.later("NetworkDriver.ProgramExternalConnectivity", Ask{"NetworkID": network, "EndpointID": id,
		"Options": Ask{"com.docker.network.portmap": []Ask{{"Proto": 6, "Port": port, "HostPort": port, "HostPortEnd": port}}}}))
}

// Leave ends an endpoint.
func (p *Plugin) Leave(network, id string) error {
	q := Ask{"NetworkID": network, "EndpointID": id}
	return p.all(p.later("NetworkDriver.RevokeExternalConnectivity", q), p.later("NetworkDriver.Leave", q), p.later("NetworkDriver.DeleteEndpoint", q))
}
