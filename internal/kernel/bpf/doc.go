// Package bpf carries what processes of the host send to ports published on
// its loopback addresses, by eBPF programs on the root of the cgroup2
// hierarchy: connect and sendmsg lead a socket to the container instead, and
// recvmsg and getpeername tell it the address that it asked for. No packet
// passes through the daemon, and none has a loopback address that the
// firewall would have to route.
//
//	connect, sendmsg      destination in ports? → flows[socket, container] = destination
//	                                             destination = container
//	recvmsg, getpeername  flows[socket, source]? → source = what was asked for
//
// The programs act on sockets of the daemon's own network namespace only, by
// its cookie. Programs, links and maps are pinned in a bpffs of the daemon's
// own, so that they outlive it; its next start takes them over, and puts its
// own programs in place of the old ones in one step each.
//
// A socket that was bound to a loopback address before it connects is led to
// the container too, but the kernel does not route from there: such clients
// are not served. SCTP has none of these hooks and is passed over.
package bpf
