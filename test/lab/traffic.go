package lab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// Ping is a stream of echo requests at 1,000 a second.
type Ping struct {
	p *Process
	h *Host
}

// Ping starts echo requests from this host, or from inside a namespace of it
// where netns is not "", at 1,000 a second, for so many seconds at the most. Errors that
// hosts on the way send back do not end it, as those that -w asks for would.
func (h *Host) Ping(netns, to string, seconds int) *Ping {
	h.lab.T.Helper()
	args := []string{"-n", "-i", "0.001", "-W", "1", "-c", strconv.Itoa(1000 * seconds), to}
	if netns != "" {
		return &Ping{h.Start("nsenter", append([]string{"--net=" + netns, "--", "ping"}, args...)...), h}
	}
	return &Ping{h.Start("ping", args...), h}
}

// Answered returns how many have been answered so far, at the least: ping
// prints many at a time.
func (p *Ping) Answered() int { return strings.Count(p.p.Output(), " bytes from ") }

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// Stop ends the stream and returns how many were sent and how many were
// never answered. The last one may be still on its way when the stream ends;
// it is no loss.
func (p *Ping) Stop() (sent, lost int) {
	p.h.lab.T.Helper()
	p.p.Signal(syscall.SIGINT)
	out := p.p.Wait()
	m := pingSummary.FindStringSubmatch(out)
	if m == nil {
		p.h.lab.T.Fatalf("ping printed no summary:\n%s", out)
	}
	sent, _ = strconv.Atoi(m[1]) // digits, says the pattern
	got, _ := strconv.Atoi(m[2])
	if lost = sent - got; lost == 1 {
		lost = 0
	}
	return sent, lost
}

// Serve starts a TCP server that answers every connection with a line of
// text: who serves, then the client's address as the server sees it.
func (h *Host) Serve(netns string, port int, who string) {
	h.lab.T.Helper()
	h.serve(netns, "TCP6-LISTEN", "-Hltn", port, who)
}

// ServeUDP is Serve for datagrams.
func (h *Host) ServeUDP(netns string, port int, who string) {
	h.lab.T.Helper()
	h.serve(netns, "UDP6-RECVFROM", "-Hlun", port, who)
}

// ServeSCTP is Serve for SCTP associations.
func (h *Host) ServeSCTP(netns string, port int, who string) {
	h.lab.T.Helper()
	h.serve(netns, "SCTP6-LISTEN", "-HlnS", port, who)
}

// serve starts a server of socat's kind, and returns once ss(8) lists it by
// these flags.
func (h *Host) serve(netns, kind, flags string, port int, who string) {
	h.lab.T.Helper()
	if netns == "" {
		netns = h.NS.Path
	}
	h.Start("nsenter", "--net="+netns, "--", "socat", fmt.Sprintf("%s:%d,ipv6only=0,reuseaddr,fork", kind, port),
		fmt.Sprintf("SYSTEM:echo %s $SOCAT_PEERADDR", who))
	h.lab.Eventually(patience, func() string {
		if !strings.Contains(h.in(netns, "ss", flags).Stdout, fmt.Sprintf(":%d ", port)) {
			return fmt.Sprintf("nothing listens on port %d as %s", port, kind)
		}
		return ""
	})
}

// in runs a command in a namespace, the host's own if it is "".
func (h *Host) in(netns, name string, args ...string) Result {
	if netns == "" {
		return h.Run(name, args...)
	}
	return h.Run("nsenter", append([]string{"--net=" + netns, "--", name}, args...)...)
}

// Ask connects to a server of Serve from a namespace of this host ("" is its
// own) and returns the line it answers, or "" if there is none within two
// seconds. proto and to are as for Connect.
func (h *Host) Ask(netns, proto, to string) string {
	c, err := h.Connect(netns, proto, to)
	if err != nil {
		return ""
	}
	defer c.Close()
	line := ""
	if proto == "udp" {
		line, err = askAgain(c)
	} else if err = c.SetDeadline(time.Now().Add(2 * time.Second)); err == nil {
		line, err = bufio.NewReader(c).ReadString('\n')
	}
	if err != nil {
		return ""
	}
	return plain(line)
}

// Connect connects from a namespace of this host ("" is its own), within two
// seconds. proto is tcp, udp or sctp; to is an address and port, an IPv6
// address in brackets.
func (h *Host) Connect(netns, proto, to string) (c net.Conn, err error) {
	if netns == "" {
		netns = h.NS.Path
	}
	err = kerneltest.In(netns, func() (err error) {
		if proto == "sctp" {
			c, err = associate(to)
		} else {
			c, err = net.DialTimeout(proto, to, 2*time.Second)
		}
		return err
	})
	return c, err
}

// associate is net.Dial for SCTP, which package net does not have; it takes
// the socket for one of TCP, as it is used in the same way (RFC 6458, section 4).
func associate(to string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, err
	}
	family, addr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())})
	if at.Addr().Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "association")
	defer f.Close() // the connection has a descriptor of its own
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, addr); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// askAgain sends a datagram, and again while nobody answers: UDP promises
// nothing.
func askAgain(c net.Conn) (line string, err error) {
	buf := make([]byte, 512)
	for range 4 {
		if _, err := c.Write([]byte("?\n")); err != nil {
			return "", err
		}
		if err := c.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return "", err
		}
		n, rerr := c.Read(buf)
		if rerr == nil {
			return string(buf[:n]), nil
		}
		err = rerr
	}
	return "", err
}

// plain writes the addresses in a line as everybody does: socat gives
// [0000:0000:0000:0000:0000:ffff:c000:0201] for 192.0.2.1.
func plain(line string) string {
	words := strings.Fields(line)
	for i, w := range words {
		if a, err := netip.ParseAddr(strings.Trim(w, "[]")); err == nil {
			words[i] = a.Unmap().String()
		}
	}
	return strings.Join(words, " ")
}
