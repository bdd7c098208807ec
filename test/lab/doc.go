// Package lab builds whole hosts for tests: network namespaces joined by
// wires, each able to run the real daemon with folders of its own, and at the
// end of each test a ledger that proves that nothing is left.
//
//	l := lab.New(t)
//	a, out := l.Host("a"), l.Host("out")
//	l.Join(a, out, "192.0.2.0/24")
//	a.Daemon()
//	a.Catenet("run", "-d", "--name", "web", "-p", "80:80", "--", "busybox", "httpd", "-f")
//	out.MustRun("curl", "http://"+a.Addr4.String())
//
// Labs share nothing, so tests that use them run in parallel. A host is
// entered by nsenter --net: ip netns exec would mount a fresh /sys, which
// hides the cgroups.
package lab
