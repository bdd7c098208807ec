package etcd

import (
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

func TestConfigIsChecked(t *testing.T) {
	for _, good := range []Config{
		{Endpoints: []string{"http://192.0.2.1:2379", "http://[2001:db8::1]:2379/"}},
		{Endpoints: []string{"https://etcd.example:2379"}, CA: "ca", Cert: "c", Key: "k", User: "u", Password: "p"},
		{Endpoints: []string{"https://etcd.example:2379"}},
		{Endpoints: []string{"unix:///run/etcd.sock"}},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "no etcd server"},
		{Config{Endpoints: []string{"192.0.2.1:2379"}}, "no URL"},
		{Config{Endpoints: []string{"http://192.0.2.1"}}, "no URL"},
		{Config{Endpoints: []string{"http://192.0.2.1:2379/v3"}}, "no URL"},
		{Config{Endpoints: []string{"http://u:p@192.0.2.1:2379"}}, "no URL"},
		{Config{Endpoints: []string{"ftp://192.0.2.1:2379"}}, "no URL"},
		{Config{Endpoints: []string{"unix://etcd.sock"}}, "no URL"},
		{Config{Endpoints: []string{"http://a:1", "https://b:1"}}, "by http and by https"},
		{Config{Endpoints: []string{"https://a:1"}, Cert: "c"}, "certificate for etcd needs its key"},
		{Config{Endpoints: []string{"http://a:1"}, CA: "ca"}, "without TLS"},
		{Config{Endpoints: []string{"http://a:1"}, User: "u"}, "needs a password"},
	} {
		err := c.cfg.Validate()
		if !catenet.IsInvalid(err) || !strings.Contains(err.Error(), c.says) || catenet.HintOf(err) == "" {
			t.Errorf("%+v: %v (hint %q), want %q", c.cfg, err, catenet.HintOf(err), c.says)
		}
	}
}
