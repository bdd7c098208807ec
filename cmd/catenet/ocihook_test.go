package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/catenet/catenet"
)

func TestOCIState(t *testing.T) {
	st, err := readState(strings.NewReader(`{"ociVersion":"1.0.2","id":"web","status":"creating","pid":7,"bundle":"/b","annotations":{
		"catenet.network": "front:ip=10.1.0.9  back\n", "catenet.publish": "80:80 81:81/udp", "catenet.hostname": "h", "catenet.label": "a=b", "other": "x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, asked, err := st.spec()
	want := catenet.SandboxSpec{
		Name: "web", Owner: catenet.OwnerOCI, RuntimeID: "web", PID: 7, Hostname: "h", Labels: map[string]string{"a": "b"},
		Networks: []catenet.EndpointSpec{{Network: "front", IPv4: netip.MustParseAddr("10.1.0.9")}, {Network: "back"}},
		Ports:    []catenet.PortSpec{{Proto: catenet.TCP, HostPort: 80, HostPortEnd: 80, Port: 80}, {Proto: catenet.UDP, HostPort: 81, HostPortEnd: 81, Port: 81}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); err != nil || !asked || diff != "" {
		t.Error(asked, err, diff)
	}
	long := ociState{ID: strings.Repeat("0123456789abcdef", 4)}
	if got, asked, err := long.spec(); err != nil || asked || got.Name != "0123456789ab" {
		t.Errorf("a container that asks for nothing is called %q (%v, %v)", got.Name, asked, err)
	}
}

// FuzzOCIState: whatever a runtime says, either it is refused or it names a
// container and networks that can be asked for.
func FuzzOCIState(f *testing.F) {
	f.Add(`{"id":"web","pid":7,"bundle":"/b","annotations":{"catenet.network":"front:ip=10.1.0.9,alias=a back","catenet.publish":"80:80"}}`)
	f.Add(`{"id":"web","annotations":{"catenet.publish-all":"true","catenet.dns":"192.0.2.1","catenet.help":"true"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		st, err := readState(strings.NewReader(text))
		if err != nil {
			return
		}
		spec, _, err := st.spec()
		if err != nil {
			return
		}
		if spec.Owner != catenet.OwnerOCI || spec.Mode != "" || len(spec.Networks) == 0 || catenet.ValidateRef("container", spec.RuntimeID) != nil {
			t.Errorf("%s gives %+v", text, spec)
		}
	})
}
