// Package shim is what runs beside the daemon for each container, in the
// program catenet-shim:
//
//	catenet-shim run DIR LOG   one for each container, as long as it lives
//	catenet-shim init          becomes the container's first process
//	catenet-shim exec          one for each further program, as long as it runs
//
// They are started by the daemon, or by each other, with open descriptors and
// are of no use to a person.
//
// The resident one stands on little: no fmt, no encoding/json, one thread
// that does all the work, no garbage collection in the usual case. Errors go
// to the daemon as a Failure, in words.
package shim
