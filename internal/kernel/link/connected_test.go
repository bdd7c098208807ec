package link

import "testing"

// Who flushes the host's routes takes those along that the kernel has made with a
// bridge's addresses. They come back as they were, without the addresses moving.
func TestConnectedRoutesComeBack(t *testing.T) {
	a := newAttached(t)
	a.attachDual(dualInside())
	right := a.state()
	losses := a.watched()
	a.host.Run("ip", "-4", "route", "flush", "proto", "kernel")
	told(t, losses, onHost("br0")(a))
	told(t, losses, onHost("br1")(a))
	a.host.Run("ip", "-6", "route", "del", "fd00:10::/64", "dev", "br1")
	told(t, losses, onHost("br1")(a))
	a.attach()
	a.attachDual(dualInside())
	if got := a.state(); got != right {
		t.Errorf("it is\n%s\nwant\n%s", got, right)
	}
	a.ctr.Run("ping", "-c1", "-W2", "10.9.0.1")
	a.ctr.Run("ping", "-6", "-c1", "-W2", "fd00:10::1")
	a.settled()
	if others := len(losses); others > 0 {
		t.Errorf("told of %d more losses", others)
	}
}
