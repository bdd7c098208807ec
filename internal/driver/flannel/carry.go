package flannel

import (
	"context"
	"errors"
	"net/netip"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/internal/transport"
)

// carrier carries a network's packets between the TUN device and the other hosts: the
// udp backend.
type carrier struct {
	tunnel kernel.Tunnel
	table  transport.Table
	route  kernel.Reach // of all of the network, into the device
	port   uint16       // the same on all hosts

	traffic func() catenet.Traffic
	stop    context.CancelFunc
	ended   chan struct{} // closed when nothing is carried any more
	err     error         // why; once it has ended
}

// carry begins with the peers that are known: what waits in the queues that an earlier
// daemon has left is for them.
func (d Driver) carry(ctx context.Context, networkID string, p held, known map[string]way) (*carrier, error) {
	tunnel, err := d.openTunnel(ctx, networkID, p)
	if err != nil {
		return nil, err
	}
	c := &carrier{tunnel: tunnel, route: kernel.Reach{Link: p.Device, Subnet: p.config.Network}, port: uint16(p.config.Backend.Port), ended: make(chan struct{})}
	t, err := transport.New(tunnel, &c.table, p.Subnets.IPv4.Addr(), d.log)
	if err == nil {
		err = c.set(known)
	}
	if err != nil {
		return nil, errors.Join(err, tunnel.Close())
	}
	c.traffic = t.Traffic
	t.SetLocal(p.Subnets.IPv4)
	ctx, c.stop = context.WithCancel(ctx)
	go func() {
		defer close(c.ended)
		c.err = t.Run(ctx)
	}()
	return c, nil
}

// end is closed when packets are carried no longer. A nil carrier has no end.
func (c *carrier) end() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.ended
}

// close ends it; the device stays.
func (c *carrier) close() error {
	c.stop()
	<-c.ended
	return c.tunnel.Close()
}

// change lets some peers come, and those of some subnets go.
func (c *carrier) change(ways map[string]way, gone []netip.Prefix) error {
	return c.table.Change(c.peers(ways), gone)
}

// set makes these the peers, all of them.
func (c *carrier) set(ways map[string]way) error { return c.table.Set(c.peers(ways)...) }

func (c *carrier) peers(ways map[string]way) (all []transport.Peer) {
	for _, w := range ways {
		all = append(all, transport.Peer{Subnet: w.IPv4, Via: netip.AddrPortFrom(w.PublicIP, c.port)})
	}
	return all
}
