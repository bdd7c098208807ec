package docker

import (
	"maps"

	"github.com/moby/moby/api/types/events"

	"github.com/catenet/catenet"
)

// Event puts an event into Docker's words; false for one that Docker does not
// have. A sandbox is a container there, and one that is detached is gone.
func Event(e catenet.Event) (events.Message, bool) {
	m := events.Message{
		Type: events.Type(e.Type), Action: events.Action(e.Action), Scope: catenet.ScopeLocal,
		Actor: events.Actor{ID: e.ID, Attributes: maps.Clone(e.Attributes)},
		Time:  e.Time.Unix(), TimeNano: e.Time.UnixNano(),
	}
	switch e.Type {
	case "sandbox":
		m.Type = events.ContainerEventType
		if e.Action == "detach" {
			m.Action = events.ActionDestroy
		}
	case "network":
		delete(m.Actor.Attributes, "container_name")
		if m.Action == events.ActionPrune {
			m.Actor.Attributes = map[string]string{"reclaimed": "0"}
		}
	}
	return m, e.Action != "repair"
}

// LegacyEvent is an event before version 1.52 of the API: a container's has
// more fields, which old clients read.
type LegacyEvent struct {
	events.Message
	ID     string        `json:"id,omitempty"`
	Status events.Action `json:"status,omitempty"`
	From   string        `json:"from,omitempty"`
}

// Legacy adds those fields.
func Legacy(m events.Message) LegacyEvent {
	out := LegacyEvent{Message: m}
	if m.Type == events.ContainerEventType {
		out.ID, out.Status, out.From = m.Actor.ID, m.Action, m.Actor.Attributes["image"]
	}
	return out
}
