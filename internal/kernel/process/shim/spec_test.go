package shim

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/catenet/catenet/internal/kernel/proc"

	"golang.org/x/sys/unix"
)

func TestSpecTravels(t *testing.T) {
	for _, s := range []*Spec{
		{},
		{
			Netns: "/run/n", Hostname: "h", HostUTS: true, Rootfs: "/r", WorkDir: "/w",
			Args: []string{"a", "", "c\nd"}, Env: []string{"A=1", "A=2"}, Hide: []string{"/x", "/y"},
			Files:  []Bind{{"/t", "/s"}, {"/t2", "/s2"}},
			Inside: proc.Identity{PID: 7, Start: 1 << 60},
		},
	} {
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadSpec(bytes.NewReader(b))
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v, want %+v", got, err, s)
		}
		for cut := range b { // a daemon that died while it wrote
			if got, err := ReadSpec(bytes.NewReader(b[:cut])); err == nil {
				t.Fatalf("cut off at %d of %d: %+v", cut, len(b), got)
			}
		}
	}
}

func TestReportTravels(t *testing.T) {
	if err := ParseReport([]byte(started)); err != nil {
		t.Error(err)
	}
	if err := ParseReport(nil); !errors.Is(err, ErrNoReport) {
		t.Errorf("nothing: %v", err)
	}
	want := &Failure{Kind: Invalid, Msg: "wrong\x00 with a zero byte", Hint: "right", Errno: unix.ENOSPC}
	if got := ParseReport(want.encode()); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	want.Msg = strings.Repeat("long", maxReport)
	if b := want.encode(); len(b) != maxReport || ParseReport(b) == nil {
		t.Errorf("a report of %d bytes", len(b))
	}
}
