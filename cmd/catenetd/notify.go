package main

import (
	"log/slog"
	"net"
	"os"
)

// tell is notify for what nobody needs to wait for.
func tell(log *slog.Logger, state string) {
	if err := notify(state); err != nil {
		log.Warn("tell the service manager", "err", err)
	}
}

// notify tells the service manager our state, if there is one that listens:
// one datagram to the socket named in NOTIFY_SOCKET, see sd_notify(3).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
