package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/catenet/catenet/test/etcdserver"
	"github.com/catenet/catenet/test/lab"
)

// alone is one host, and an etcd at its loopback address.
type alone struct {
	*lab.Lab
	host *lab.Host
	etcd *etcdserver.Server
}

func newAlone(t *testing.T, certs *etcdserver.Certs) *alone {
	t.Helper()
	a := &alone{Lab: lab.New(t)}
	a.host = a.Host("a")
	a.Lab.Join(a.host, a.Host("b"), "192.0.2.0/24")
	a.etcd = etcdserver.Start(t, etcdserver.Options{NS: a.host.NS.Path, Host: "127.0.0.1", Certs: certs})
	a.host.Daemon()
	return a
}

// create asks for a network with the options of one and others.
func (a *alone) create(options ...string) []string {
	args := []string{"network", "create", "-d", "flannel", "-o", "iface=eth0", "-o", "subnet-file=" + a.file()}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	return append(args, "wide")
}

func (a *alone) file() string { return a.host.Dir + "/subnet.env" }

// works has such a network come and go.
func (a *alone) works(options ...string) {
	a.T.Helper()
	a.host.Catenet(a.create(options...)...)
	a.host.Catenet("network", "rm", "wide")
}

// refused has such a network be refused, with these words, and nothing be left of it.
func (a *alone) refused(words []string, options ...string) {
	a.T.Helper()
	a.host.Refused(words, a.create(options...)...)
	links := a.host.MustRun("ip", "-br", "link")
	if _, err := os.Stat(a.file()); err == nil || strings.Contains(links, "flannel") || strings.Contains(a.host.Catenet("network", "ls"), "wide") {
		a.T.Errorf("refused for %q, it has left: file %v, links\n%s", words, err, links)
	}
}

// etcdctl asks etcd, if it speaks without TLS.
func (a *alone) etcdctl(args ...string) string {
	a.T.Helper()
	return a.host.MustRun("env", append([]string{"ETCDCTL_API=3", "etcdctl", "--endpoints=" + a.etcd.Endpoint}, args...)...)
}

// A config that is wrong is refused by the name of its key, before anything is written,
// and an etcd that is not there is said to be not there.
func TestFlannelConfigIsRefused(t *testing.T) {
	t.Parallel()
	a := newAlone(t, nil)
	at := "etcd=" + a.etcd.Endpoint
	a.refused([]string{"no flannel config at /coreos.com/network/config", `{"Network"`}, at)
	for _, c := range []struct {
		config string
		words  []string
	}{
		{`{"Network": "10.5.0.0/16"`, []string{"no JSON"}},
		{`{"Backend": {"Type": "vxlan"}}`, []string{"Network", "10.5.0.0/16"}},
		{`{"Network": "10.5.0.0/16", "Backend": {"Type": "teleport"}}`, []string{"Backend.Type", "teleport", "vxlan"}},
		{`{"Network": "10.5.0.0/16", "Backend": {"Type": "ipip"}}`, []string{"Backend.Type", "ipip", "vxlan"}},
		{`{"Network": "10.5.0.0/16", "Backend": {"Type": "wireguard"}}`, []string{"Backend.Type", "wireguard"}},
		{`{"Network": "10.5.0.0/16", "SubnetLen": 16}`, []string{"SubnetLen", "18 to 30"}},
		{`{"Network": "10.5.0.0/16", "SubnetLen": "24"}`, []string{"SubnetLen", "number"}},
		{`{"Network": "10.5.0.0/16", "SubnetMin": "10.6.0.0"}`, []string{"SubnetMin"}},
		{`{"Network": "10.5.0.0/16", "EnableIPv6": true}`, []string{"IPv6Network"}},
		{`{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": 16777216}}`, []string{"Backend.VNI"}},
	} {
		a.refused(c.words, at, "write-config="+c.config)
		if left := a.etcdctl("get", "--prefix", "/"); left != "" {
			t.Errorf("what is wrong was written: %s", left)
		}
		a.etcdctl("put", registry+"/config", c.config)
		a.refused(c.words, at)
		if left := a.etcdctl("get", "--prefix", subnets) + strings.TrimPrefix(a.etcdctl("lease", "list"), "found 0 leases\n"); left != "" {
			t.Errorf("%s was refused, and in etcd there is %s", c.config, left)
		}
		a.etcdctl("del", registry+"/config")
	}
	a.etcdctl("put", registry+"/config", `{"Network": "10.5.0.0/16"}`)
	a.works(at)
	a.refused([]string{"etcd", "refused"}, "etcd=http://127.0.0.1:2300")
	a.etcd.Freeze()
	a.refused([]string{"etcd does not answer"}, at)
}

// By TLS and by a password a node gets into etcd, and what keeps it out is named by its
// option.
func TestFlannelCredentials(t *testing.T) {
	t.Parallel()
	certs, others := etcdserver.NewCerts(t), etcdserver.NewCerts(t)
	a := newAlone(t, certs)
	const config = `write-config={"Network": "10.5.0.0/16"}`
	at, ca, cert, key := "etcd="+a.etcd.Endpoint, "etcd-ca="+certs.CA, "etcd-cert="+certs.ClientCert, "etcd-key="+certs.ClientKey
	a.works(at, ca, cert, key, config)
	for _, c := range []struct{ words, options []string }{
		{[]string{"etcd-ca"}, []string{at, cert, key}},
		{[]string{"etcd-ca"}, []string{at, cert, key, "etcd-ca=" + others.CA}},
		{[]string{"etcd-ca", "/none"}, []string{at, cert, key, "etcd-ca=/none"}},
		{[]string{"etcd-ca", "no certificate"}, []string{at, cert, key, "etcd-ca=" + certs.ClientKey}},
		{[]string{"etcd-cert"}, []string{at, ca}},
		{[]string{"etcd-cert"}, []string{at, ca, "etcd-cert=" + others.ClientCert, "etcd-key=" + others.ClientKey}},
		{[]string{"etcd-cert", "etcd-key"}, []string{at, ca, cert, "etcd-key=" + others.ClientKey}},
		{[]string{"etcd-key"}, []string{at, ca, cert}},
		{[]string{"http://127.0.0.1:2379"}, []string{"etcd=http://127.0.0.1:2379"}},
		{[]string{"option etcd-ca", "https"}, []string{"etcd=http://127.0.0.1:2379", ca}},
	} {
		a.refused(c.words, c.options...)
	}
	a.users([]string{at, ca, cert, key})
}

// users: etcd asks for a password as well. A node needs to read the config and to write
// the subnets, and nothing else.
func (a *alone) users(good []string) {
	t := a.T
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{a.etcd.Unix}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a.etcd.EnableAuth(client, "flannel", "secret", subnets)
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{a.etcd.Unix}, Username: "root", Password: "root"})
	if err == nil {
		_, err = root.RoleGrantPermission(t.Context(), "flannel", registry+"/config", "", clientv3.PermissionType(clientv3.PermRead))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	user := func(text string) string {
		path := filepath.Join(a.host.Dir, "user")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "etcd-user=" + path
	}
	for text, words := range map[string][]string{"flannel:wrong": {"etcd-user", "password"}, "nobody:secret": {"etcd-user", "password"}, "flannel": {"etcd-user", "NAME:PASSWORD"}} {
		a.refused(words, append(good, user(text))...)
	}
	a.refused([]string{"etcd-user", "/none"}, append(good, "etcd-user=/none")...)
	a.refused([]string{"etcd-user"}, good...)
	a.refused([]string{"etcd-user", "/elsewhere"}, append(good, user("flannel:secret"), "prefix=/elsewhere")...)
	a.host.Catenet(a.create(append(good, user("flannel:secret"))...)...)
	a.follows(root)
	if strings.Contains(a.host.Log(), "in trouble") {
		t.Error("with no more rights than it needs, the node is in trouble")
	}
	a.host.Catenet("network", "rm", "wide")
}

// follows has the host see another one come and go.
func (a *alone) follows(root *clientv3.Client) {
	a.T.Helper()
	const guest = subnets + "10.5.250.0-24"
	told := func(peers int) {
		a.T.Helper()
		a.Eventually(soon, func() string {
			var all []widely
			if a.host.Inspect(&all, "network", "inspect", "wide"); len(all[0].Peers) != peers {
				return fmt.Sprintf("%v are there, and not %d", all[0].Peers, peers)
			}
			return ""
		})
	}
	if _, err := root.Put(a.T.Context(), guest, `{"PublicIP":"192.0.2.250","PublicIPv6":null}`); err != nil {
		a.T.Fatal(err)
	}
	told(1)
	if _, err := root.Delete(a.T.Context(), guest); err != nil {
		a.T.Fatal(err)
	}
	told(0)
}
