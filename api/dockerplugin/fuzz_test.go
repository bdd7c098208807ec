package dockerplugin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/apitest"
	"github.com/catenet/catenet/test/bounds"
)

// promising is an engine in memory that promises whatever it is asked.
type promising struct {
	*apitest.Engine
	claims map[netip.Prefix]catenet.Claim
	leases map[netip.Addr]catenet.Lease
}

func newPromising() promising {
	return promising{apitest.New(), make(map[netip.Prefix]catenet.Claim), make(map[netip.Addr]catenet.Lease)}
}

func (e promising) ClaimPool(_ context.Context, ask catenet.Pool, _ bool) (catenet.Claim, error) {
	if !ask.Subnet.IsValid() {
		ask.Subnet = netip.MustParsePrefix("10.9.0.0/16")
	}
	c := catenet.Claim{Pool: ask}
	e.claims[ask.Subnet] = c
	return c, nil
}

func (e promising) ReleasePool(_ context.Context, subnet netip.Prefix) error {
	delete(e.claims, subnet)
	return nil
}

func (e promising) Claims(context.Context) (all []catenet.Claim, err error) {
	for _, c := range e.claims {
		all = append(all, c)
	}
	return all, nil
}

func (e promising) LeaseGateway(_ context.Context, subnet netip.Prefix, want netip.Addr) (netip.Addr, error) {
	if !want.IsValid() {
		want = subnet.Addr().Next()
	}
	return want, nil
}

func (e promising) LeaseAddress(_ context.Context, l catenet.Lease) (catenet.Lease, error) {
	if !l.Address.IsValid() {
		l.Address = l.Subnet.Addr().Next().Next()
	}
	e.leases[l.Address] = l
	return l, nil
}

func (e promising) ReleaseAddress(_ context.Context, _ netip.Prefix, a netip.Addr) error {
	delete(e.leases, a)
	return nil
}

func (e promising) ReleaseHolder(context.Context, string) error { return nil }

func (e promising) Leases(context.Context) (all []catenet.Lease, err error) {
	for _, l := range e.leases {
		all = append(all, l)
	}
	return all, nil
}

func newPlugin() *Plugin {
	return New(Options{Engine: newPromising(), Log: slog.New(slog.DiscardHandler), Forward: func(context.Context, bool) error { return nil }})
}

// ask makes one request, and returns what was answered.
func ask(p *Plugin, call, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+call, strings.NewReader(body)))
	return w
}

// TestEveryCallIsAnswered: each there is, with nothing, with null and with what
// makes no sense: by an answer or an error, and never by another status.
func TestEveryCallIsAnswered(t *testing.T) {
	t.Parallel()
	p := newPlugin()
	for call := range calls() {
		for _, body := range []string{"", "null", "{}", `{"NetworkID":"x","EndpointID":"y","PoolID":"z"}`} {
			w := ask(p, call, body)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != mediaType {
				t.Errorf("%s %q: %d %s", call, body, w.Code, w.Body)
			}
			// What cleans up is never refused.
			cleans := slices.ContainsFunc([]string{"Delete", "Leave", "Revoke", "Release", "Free", "Get"}, func(s string) bool { return strings.Contains(call, "."+s) })
			if cleans && strings.Contains(w.Body.String(), `"Err"`) {
				t.Errorf("%s %q is refused: %s", call, body, w.Body)
			}
		}
		if w := ask(p, call, "{"); len(w.Body.String()) == 0 {
			t.Errorf("%s of half a request: no answer", call)
		}
	}
	// Sent again after they were cut off: nobody knows what is meant.
	for _, call := range []string{"IpamDriver.RequestPool", "IpamDriver.RequestAddress", "NetworkDriver.CreateNetwork", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join", "NetworkDriver.ProgramExternalConnectivity"} {
		if w := ask(p, call, ""); !strings.Contains(w.Body.String(), "cut off") {
			t.Errorf("%s without a body is answered with %s", call, w.Body)
		}
	}
	if w := ask(p, "NetworkDriver.CreateNetwork", strings.Repeat(" ", maxBody+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body without end: %d", w.Code)
	}
}

// FuzzCall: whatever dockerd sends, it is answered.
func FuzzCall(f *testing.F) {
	const id = "00000000000000000000000000000000000000000000000000000000000000aa"
	f.Add("NetworkDriver.CreateNetwork", `{"NetworkID":"`+id+`","Options":{"com.docker.network.generic":{"catenet.driver":"bridge"}},"IPv4Data":[{"AddressSpace":"catenet","Pool":"10.9.0.0/16","Gateway":"10.9.0.1/16","AuxAddresses":{"a":"10.9.0.9/16"}}]}`)
	f.Add("NetworkDriver.CreateEndpoint", `{"NetworkID":"`+id+`","EndpointID":"`+id+`","Interface":{"Address":"10.9.0.2/16"}}`)
	f.Add("NetworkDriver.Join", `{"NetworkID":"`+id+`","EndpointID":"`+id+`","SandboxKey":"/run/x"}`)
	f.Add("NetworkDriver.ProgramExternalConnectivity", `{"EndpointID":"`+id+`","Options":{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostPort":8080,"HostIP":"127.0.0.1"}]}}`)
	f.Add("IpamDriver.RequestPool", `{"AddressSpace":"catenet","Pool":"10.9.0.0/16","SubPool":"10.9.1.0/24","V6":false,"Options":{"catenet.network":"bridge"}}`)
	f.Add("IpamDriver.RequestAddress", `{"PoolID":"10.9.0.0/16","Address":"","Options":{"RequestAddressType":"com.docker.network.gateway"}}`)
	f.Fuzz(func(t *testing.T, call, body string) {
		if _, known := calls()[call]; !known {
			return
		}
		p := newPlugin()
		bounds.Parse(t, len(body), func() {
			if w := ask(p, call, body); w.Code != http.StatusOK {
				t.Errorf("%s %q: %d %s", call, body, w.Code, w.Body)
			}
		})
	})
}
