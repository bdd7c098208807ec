// Package catenet is the vocabulary of the catenet engine: networks,
// sandboxes, endpoints, published ports, events and errors.
//
// A catenet is a network of networks. The words here are libnetwork's own:
// a network is a named thing that containers join, a sandbox is one
// container's network namespace, and an endpoint is a sandbox's place in one
// network.
//
// Everything in this package is passive data on the standard library alone:
// no back-pointers, no saving, no kernel. Every room of the engine, the API
// and the command line speaks it, and nothing here knows any of them.
package catenet
