// Package api is what goes over the wire between catenet's programs: bodies of
// requests and replies that the vocabulary itself does not have, the statuses
// of errors, and the frames of exec. The routes are described in openapi.yaml,
// which a test holds against the server.
package api

import (
	"time"

	"github.com/catenet/catenet"
)

// MaxBody is the size of the largest request body, in bytes. A container that
// publishes all 65,535 ports, each on an IPv6 address, fits in.
const MaxBody = 8 << 20

// The media types of bodies.
const (
	TypeJSON   = "application/json"
	TypeStream = "application/x-ndjson" // one JSON value a line, each flushed when it is there
)

// NetworkCreated answers the creation of a network, and its update.
type NetworkCreated struct {
	Network  catenet.Network `json:"network"`
	Warnings []string        `json:"warnings,omitempty"`
}

// NetworkRemoved answers a removal of which there is something to say.
type NetworkRemoved struct {
	Warnings []string `json:"warnings"`
}

// Pruned names the networks that a prune removed.
type Pruned struct {
	Removed []string `json:"removed"`
}

// ConnectRequest joins a sandbox to a network.
type ConnectRequest struct {
	Sandbox  string               `json:"sandbox"`           // ref
	Endpoint catenet.EndpointSpec `json:"endpoint,omitzero"` // its network is the one of the path
}

// DisconnectRequest takes a sandbox out of a network.
type DisconnectRequest struct {
	Sandbox string `json:"sandbox"` // ref
	Force   bool   `json:"force,omitempty"`
}

// WaitReply tells how a container ended. Its header comes as soon as the end is
// being waited for; with Error, the wait broke off after that.
type WaitReply struct {
	ExitCode int    `json:"exit_code"` // 128 + signal if a signal ended it
	Error    *Error `json:"error,omitempty"`
}

// LogLine is one line of a log stream, with its newline; a line of more than
// 16 KiB comes in pieces. It is in base64 on the wire, because a log need not be
// UTF-8. A line with Error is the last one and tells why the stream broke off.
type LogLine struct {
	Stream string    `json:"stream,omitempty"` // stdout, stderr
	Time   time.Time `json:"time,omitzero"`
	Line   []byte    `json:"line,omitempty"`
	Error  *Error    `json:"error,omitempty"`
}
