// Package notify tells the service manager how a program is doing, as
// sd_notify(3) does.
package notify

import (
	"net"
	"os"
)

// State tells the service manager a state, such as "READY=1", if there is one that
// listens: one datagram to the socket named in NOTIFY_SOCKET.
func State(state string) error {
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
