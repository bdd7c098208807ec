package catenet

import "time"

// Event is something that happened, told after it was done.
type Event struct {
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"`                 // network, sandbox
	Action     string            `json:"action"`               // create, update, connect, disconnect, destroy, prune; start, die, rename, detach; repair
	ID         string            `json:"id"`                   // of what it happened to
	Attributes map[string]string `json:"attributes,omitempty"` // name, type, container, exitCode, …
}
