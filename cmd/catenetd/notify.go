package main

import (
	"log/slog"

	"github.com/catenet/catenet/api/notify"
)

// tell tells the service manager our state, which nobody needs to wait for.
func tell(log *slog.Logger, state string) {
	if err := notify.State(state); err != nil {
		log.Warn("tell the service manager", "err", err)
	}
}
