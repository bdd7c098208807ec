package cni

import (
	"encoding/json"
	"testing"

	"github.com/catenet/catenet/api/pipe"
	"github.com/catenet/catenet/test/bounds"
)

// FuzzCall: no call takes more than it brings, and what is refused has a code
// and words that a runtime can read.
func FuzzCall(f *testing.F) {
	conf := func(more string) string { return `{"cniVersion":"1.1.0","name":"pods","type":"catenet",` + more + `}` }
	f.Add("ADD", "K8S_POD_NAME=web;IP=10.0.0.2", []byte(conf(`"bridge":"cni0","isGateway":true,"ipMasq":true,"mtu":1400,
		"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24","rangeStart":"10.1.0.9"}],[{"subnet":"fd00::/64"}]],"routes":[{"dst":"0.0.0.0/0"}]},
		"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"protocol":"TCP","hostIP":"::1"}],"ips":["10.1.0.7/24"],"bandwidth":{"ingressRate":1000000}}`)))
	f.Add("CHECK", "", []byte(conf(`"network":"n","prevResult":{"interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}`)))
	f.Add("GC", ";=;", []byte(conf(`"cni.dev/valid-attachments":[{"containerID":"a","ifname":"b"}]`)))
	f.Fuzz(func(t *testing.T, command, args string, stdin []byte) {
		bounds.Parse(t, len(command)+len(args)+len(stdin), func() {
			c, err := readCall(pipe.Call{Env: []string{"CNI_COMMAND=" + command, "CNI_ARGS=" + args, "CNI_CONTAINERID=c", "CNI_NETNS=/x", "CNI_IFNAME=eth0"}, Stdin: stdin})
			if err == nil {
				_, err = c.conf.spec()
			}
			if err == nil {
				_, _, _, err = c.wants()
			}
			if err == nil {
				_, err = c.previous()
			}
			if err == nil {
				return
			}
			var told struct {
				Code int
				Msg  string
			}
			if a := failure(c.conf.CNIVersion, err); json.Unmarshal(a.Stdout, &told) != nil || told.Code == 0 || told.Msg == "" || told.Code == codeInternal {
				t.Errorf("%v is told as %s", err, a.Stdout)
			}
		})
	})
}
