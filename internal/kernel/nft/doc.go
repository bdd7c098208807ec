// Package nft speaks nf_tables over netlink: tables, chains, rules, sets and
// maps as plain data, committed in one transaction and dumped back.
//
// It is a codec of our own because an nft process costs some 3 ms a
// transaction and cannot own a table: the flag `owner` ties a table to the
// netlink socket that made it, which a daemon has to hold open.
//
//	table.go   what a ruleset is made of
//	expr.go    what a rule is made of
//	batch.go   changes, and Diff: those that turn one ruleset into another
//	encode.go  changes as netlink messages
//	decode.go  netlink messages as rulesets
//	attrs.go   their attributes (package wire)
//	socket.go  the socket: messages there and back
//	conn.go    commit, dump, probe
//	errors.go  what the kernel refused, in words
//	watch.go   being told of what others change
//	forward.go others' chains that refuse what is forwarded
//	redirect.go the one rule of a sandbox
//	memory.go  an in-memory kernel for tests
//
// The numbers are those of linux/netfilter/nf_tables.h; what they mean is
// told best by nft(8) and by the kernel's net/netfilter/nf_tables_api.c.
package nft
