package flanneld

import (
	"net/netip"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet/internal/etcd"
	"github.com/catenet/catenet/internal/flannel"
	"github.com/catenet/catenet/test/etcdserver"
)

// A node on a real etcd, by TLS: etcd is killed, and while the node is away peers
// come and go, and all that it has missed is compacted. Then its key is deleted.
func TestNodeOnEtcd(t *testing.T) {
	t.Parallel()
	certs := etcdserver.NewCerts(t)
	server := etcdserver.Start(t, etcdserver.Options{Certs: certs})
	cfg := etcd.Config{Endpoints: []string{server.Endpoint}, CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}
	store := open(t, cfg)
	registry := flannel.Registry{Store: store, Prefix: "/some/where"}
	Await(t, "etcd", func() bool {
		return flannel.WriteConfig(t.Context(), registry, `{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}`) == nil
	})
	join := func(ip string) *flannel.Part {
		n := ourNode()
		n.PublicIP = netip.MustParseAddr(ip)
		n.Lease = leaseOf(n.PublicIP)
		var part *flannel.Part
		Await(t, ip, func() bool {
			var err error
			part, err = flannel.Join(t.Context(), registry, n)
			return err == nil
		})
		return part
	}
	part := join("192.0.2.2")
	join("192.0.2.3")
	own := part.Status().Subnets
	peers := follow(t, part)
	Await(t, "the first peer", func() bool { return len(peers()) == 1 })

	server.Kill()
	Await(t, "word of the outage", func() bool { return part.Status().Trouble != nil })
	server.Start()
	Await(t, "leaving", func() bool {
		return flannel.Leave(t.Context(), registry, leaseOf(netip.MustParseAddr("192.0.2.3"))) == nil
	})
	join("192.0.2.4")
	compact(t, server.Unix)
	Await(t, "the second peer, after the outage", func() bool {
		p := peers()
		return len(p) == 1 && p[0].PublicIP.String() == "192.0.2.4" && part.Status().Trouble == nil
	})

	key := "/some/where/subnets/" + own.Key()
	before, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), key, before.Revision); err != nil {
		t.Fatal(err)
	}
	Await(t, "the key again", func() bool {
		after, err := store.Get(t.Context(), key)
		return err == nil && string(after.Value) == string(before.Value) && after.Lease != 0
	})
	if got := part.Status(); got.Subnets != own || !got.Owned {
		t.Errorf("at last %+v, at first %v", got, own)
	}
}

// A real etcd is restored from a backup: from before the node came, and behind
// what it has seen since. It has its key again, and sees who is there.
func TestEtcdIsRestored(t *testing.T) {
	t.Parallel()
	server := etcdserver.Start(t, etcdserver.Options{})
	store := open(t, etcd.Config{Endpoints: []string{server.Endpoint}})
	registry := flannel.Registry{Store: store}
	join := func(ip string) (part *flannel.Part) {
		n := ourNode()
		n.PublicIP = netip.MustParseAddr(ip)
		n.Lease = leaseOf(n.PublicIP)
		Await(t, ip, func() bool {
			err := flannel.WriteConfig(t.Context(), registry, `{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}`)
			if err == nil {
				part, err = flannel.Join(t.Context(), registry, n)
			}
			return err == nil
		})
		return part
	}
	join("192.0.2.3")
	server.Kill()
	restore := server.Snapshot()
	server.Start()
	part := join("192.0.2.2")
	own := part.Status().Subnets
	peers := follow(t, part)
	join("192.0.2.4")
	Await(t, "both peers", func() bool { return len(peers()) == 2 })
	_, before, err := store.List(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	restore()
	server.Start()
	Await(t, "the peer of then, and none from later", func() bool {
		p := peers()
		return len(p) == 1 && p[0].PublicIP.String() == "192.0.2.3" && part.Status().Trouble == nil
	})
	pair, err := store.Get(t.Context(), flannel.DefaultPrefix+"/subnets/"+own.Key())
	if s := part.Status(); err != nil || s.Subnets != own || !s.Owned || pair.Revision >= before {
		t.Errorf("the key is %+v (%v), the part %+v; before, etcd was at %d", pair, err, s, before)
	}
}

// compact has the server forget all that was before now.
func compact(t *testing.T, endpoint string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Get(t.Context(), "/")
	if err == nil {
		_, err = c.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
}
