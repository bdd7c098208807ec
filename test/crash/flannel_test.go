package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/test/etcdserver"
)

// registry is where networks of flannel are; below it each host has the same subnet
// whenever it takes one.
const registry = "/coreos.com/network"

// flannels are what a network of flannel goes through, with each way to other hosts.
func flannels() (all []operation) {
	for name, backend := range map[string]string{
		// One of the two others is on a wire of this host: its route stays where the
		// network's device goes.
		"vxlan": `{"Type": "vxlan", "DirectRouting": true}`,
		"udp":   `{"Type": "udp"}`,
	} {
		config := fmt.Sprintf(`{"Network": "10.93.0.0/16", "SubnetMin": "10.93.7.0", "SubnetMax": "10.93.7.0", "Backend": %s}`, backend)
		peer := func(i int, host string) string {
			if name == "udp" {
				return fmt.Sprintf(`{"PublicIP":"%s","PublicIPv6":null}`, host)
			}
			return fmt.Sprintf(`{"PublicIP":"%s","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0e:00:00:00:00:%02x"}}`, host, i)
		}
		none := func(s *site) {
			s.noNetwork("new")
			s.wire()
			s.put("/config", config)
			s.put("/subnets/10.93.8.0-24", peer(8, "192.0.2.8"))
			s.put("/subnets/10.93.9.0-24", peer(9, "198.51.100.9"))
			s.registered()
		}
		made := func(s *site) {
			none(s)
			s.must(s.createFlannel())
			s.settled("made", nil)
			s.registered()
		}
		create := operation{name: "create a network of flannel by " + name, before: none, do: (*site).createFlannel, after: (*site).registered}
		if name == "udp" { // what else it passes the other does too
			create.only = "tun.persist"
		}
		all = append(all, create,
			operation{name: "remove a network of flannel by " + name, before: made, do: (*site).removeNew, after: (*site).registered},
			operation{name: "catenetd --purge of a network of flannel by " + name, only: "etcd.revoke", partly: true, before: func(s *site) {
				s.furnish()
				made(s)
				s.h.Kill()
			}, do: (*site).purgeAgain})
	}
	return all
}

// etcd is a real one, started once, by which the site's network is shared.
func (s *site) etcd() *clientv3.Client {
	s.T.Helper()
	if s.store == nil {
		server := etcdserver.Start(s.T, etcdserver.Options{})
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Unix}})
		s.must(err)
		s.T.Cleanup(func() { c.Close() })
		s.store, s.endpoint = c, server.Unix
	}
	return s.store
}

// put writes into the registry.
func (s *site) put(key, value string) {
	s.T.Helper()
	_, err := s.etcd().Put(ctx, registry+key, value)
	s.must(err)
}

func (s *site) createFlannel() error {
	_, _, err := s.truth.Client.CreateNetwork(ctx, catenet.NetworkSpec{Name: "new", Driver: "flannel",
		Options: map[string]string{"etcd": s.endpoint, "subnet-file": s.subnetFile(), "iface": "eth7"}})
	return err
}

func (s *site) subnetFile() string { return filepath.Join(s.h.Dir, "subnet.env") }

// registered waits until etcd has of this host what it has of the network, and the
// subnet file tells of it: all or nothing.
func (s *site) registered() {
	s.T.Helper()
	s.Eventually(soon, func() string {
		there := false
		if !s.h.DaemonEnds(0) {
			_, err := s.truth.Client.Network(ctx, "new")
			if there = err == nil; err != nil && !catenet.IsNotFound(err) {
				return err.Error()
			}
		}
		keys, err := s.etcd().Get(ctx, registry+"/subnets/", clientv3.WithPrefix())
		s.must(err)
		var ours []string
		for _, kv := range keys.Kvs {
			if kv.Lease != 0 {
				ours = append(ours, string(kv.Key))
			}
		}
		leases, err := s.etcd().Leases(ctx)
		s.must(err)
		_, err = os.Stat(s.subnetFile())
		if want := map[bool]int{true: 1}[there]; len(ours) != want || len(leases.Leases) != want || there == errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("there is the network: %v, and of this host %q with %d leases, and the subnet file: %v\n%s", there, ours, len(leases.Leases), err, s.h.Log())
		}
		return ""
	})
}

// purgeAgain takes away what a daemon left, records and all, until it is done.
func (s *site) purgeAgain() (err error) {
	s.T.Helper()
	r := s.catenetd("--purge")
	if r.Code == -1 {
		err = errors.New("killed")
		r = s.catenetd("--purge")
	}
	if r.Code != 0 {
		s.T.Fatal(r.Text())
	}
	s.empty()
	s.registered()
	return err
}
