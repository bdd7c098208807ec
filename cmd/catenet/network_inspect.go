package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/client"
)

func (c *cli) networkInspect() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "inspect NAME...",
		Short: "Show networks, in docker's words",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := refs("network", args...); err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			return inspectAll(c, &f, args, func(ref string) (inspected, error) { return inspectNetwork(cmd.Context(), cl, ref) })
		},
	}
	f.formatFlag(cmd)
	return cmd
}

// inspectNetwork returns a network in docker's words.
func inspectNetwork(ctx context.Context, cl *client.Client, ref string) (inspected, error) {
	n, err := cl.Network(ctx, ref)
	if err != nil {
		return inspected{}, err
	}
	names := map[string]string{}
	if len(n.Endpoints) > 0 {
		sbs, err := cl.Sandboxes(ctx, true)
		if err != nil {
			return inspected{}, err
		}
		for _, sb := range sbs {
			names[sb.ID] = sb.Name
		}
	}
	return dockerShape(n, names), nil
}

// inspectAll shows what can be found, and tells of the rest.
func inspectAll[T any](c *cli, f *format, names []string, get func(string) (T, error)) error {
	var found []T
	var code error
	for _, name := range names {
		v, err := get(name)
		if err != nil {
			c.tell(err)
			code = exitError{1}
			continue
		}
		found = append(found, v)
	}
	if err := writeInspected(c.out, f, found); err != nil {
		return err
	}
	return code
}

// inspected is a network as docker network inspect shows it (Engine API 1.52).
type inspected struct {
	Name       string
	ID         string `json:"Id"`
	Created    time.Time
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       inspectedIPAM
	Internal   bool
	Attachable bool
	Ingress    bool
	ConfigFrom struct{ Network string }
	ConfigOnly bool
	Containers map[string]inspectedContainer
	Options    map[string]string
	Labels     map[string]string
	Status     inspectedStatus
}

type inspectedIPAM struct {
	Driver  string
	Options map[string]string
	Config  []inspectedPool
}

type inspectedPool struct {
	Subnet             netip.Prefix
	IPRange            netip.Prefix          `json:",omitzero"`
	Gateway            netip.Addr            `json:",omitzero"`
	AuxiliaryAddresses map[string]netip.Addr `json:",omitempty"`
}

type inspectedContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address netip.Prefix `json:",omitzero"`
	IPv6Address netip.Prefix `json:",omitzero"`
}

type inspectedStatus struct{ IPAM inspectedUse }

type inspectedUse struct {
	Subnets map[string]subnetUse
	Owners  map[string]string // by address; Docker has none
}

type subnetUse struct {
	IPsInUse            uint64
	DynamicIPsAvailable uint64
}

// dockerShape puts a network into docker's words; names are those of
// sandboxes by ID.
func dockerShape(n catenet.NetworkStatus, names map[string]string) inspected {
	out := inspected{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: n.Driver,
		EnableIPv4: !n.DisableIPv4, EnableIPv6: n.IPv6, Internal: n.Internal,
		IPAM:       inspectedIPAM{Driver: "default", Options: map[string]string{}, Config: []inspectedPool{}},
		Containers: map[string]inspectedContainer{},
		Options:    n.Options, Labels: n.Labels,
		Status: inspectedStatus{inspectedUse{map[string]subnetUse{}, map[string]string{}}},
	}
	if out.Options == nil {
		out.Options = map[string]string{}
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	for _, p := range n.Pools {
		out.IPAM.Config = append(out.IPAM.Config, inspectedPool{p.Subnet, p.Range, p.Gateway, p.Aux})
	}
	for _, u := range n.Use {
		out.Status.IPAM.Subnets[u.Subnet.String()] = subnetUse{u.Used, u.Free}
	}
	for _, o := range n.Owners {
		out.Status.IPAM.Owners[o.Address.String()] = o.Owner
	}
	for _, ep := range n.Endpoints {
		out.Containers[ep.SandboxID] = inspectedContainer{names[ep.SandboxID], ep.ID, ep.MAC, ep.IPv4, ep.IPv6}
	}
	return out
}
