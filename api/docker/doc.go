// Package docker translates between Docker's Engine API for networks and the
// vocabulary, both ways, and knows in which words Docker's daemon refuses:
// scripts read them. It is data in, data out; api/server serves the routes.
//
// What is said here of Docker is so in its API documentation
// (https://docs.docker.com/reference/api/engine/) or, for wording and statuses,
// in moby's daemon/network.go and daemon/libnetwork.
package docker
