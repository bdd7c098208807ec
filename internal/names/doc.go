// Package names answers the lookups of containers and writes the files that
// their C libraries read.
//
// Each sandbox has a pair of sockets, UDP and TCP, opened inside its
// namespace by the kernel room and handed to [Names.Serve]. A query takes one
// of two ways:
//
//	UDP batch ─┐            ┌─ a record of a network that the sandbox sees
//	TCP stream ┴─► quick ───┼─ an answer of the cache
//	                 │      └─ "nobody knows": internal only, no upstream
//	                 └─► slow (a goroutine of its own, bounded)
//	                        ├─ unusual messages: miekg/dns reads them
//	                        └─ forward: one flight per question ─► race of upstreams ─► cache
//
// The quick way never waits and does not allocate; so a slow upstream never
// delays a local name. The slow way is bounded by sandbox and in total.
//
// What is answered here and how:
//
//   - A name that a visible network knows is ours for every type: A and AAAA
//     come from the record, any other type is NOERROR without an answer. An
//     NXDOMAIN from upstream for the same name would deny the name as a whole
//     (RFC 8020).
//   - The TTL of local records is 0. Asking costs microseconds, and any other
//     TTL is a time in which a container that was restarted is looked for at
//     its old address.
//   - A sandbox all of whose networks are internal sends nothing upstream: its
//     unknown names are NXDOMAIN. REFUSED and SERVFAIL would be taken for a
//     failure of the server and asked again (glibc), or waited for (musl,
//     which ignores REFUSED until its time is over).
//   - Everything else is forwarded, single labels too: with ndots:0 that is
//     how a host of the LAN is found. Without any upstream it is SERVFAIL at
//     once.
//   - A name that ends in a search domain is first asked upstream; only if
//     nobody there knows it, the domain is cut off and the rest looked up
//     here. So a container "www" does not hide www.example.com.
package names
