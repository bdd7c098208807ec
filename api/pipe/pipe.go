// Package pipe hands what a small program was called with to the daemon, and
// what the daemon answers back: all meaning is in the daemon. Such a program is
// started once for each container, and net/http alone would take it longer to
// get going than the whole request takes: so this is one HTTP/1.1 exchange
// (RFC 9112) by hand, on a unix socket.
package pipe

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DefaultHost is where the daemon listens unless CATENET_HOST says otherwise.
const DefaultHost = "unix:///run/catenet/catenet.sock"

// ExitHeader is the header of an answer that tells the exit code: an answer
// without it did not come from whom the call was for.
const ExitHeader = "Catenet-Exit"

// patience is how long the daemon may leave a request without any sign of life.
// One that starts lets requests wait until it has restored everything.
const patience = 2 * time.Minute

// MaxStdin is the largest standard input that a call may have, in bytes: the
// daemon takes no more.
const MaxStdin = 8 << 20

// ErrAway says that nobody took the call: it can be made again as it is. After
// any other error of Send nobody knows how far it came.
var ErrAway = errors.New("the daemon is away")

// ErrRefused says that there is somebody, who does not take such calls.
var ErrRefused = errors.New("the daemon did not take the call")

// errSlow says that the daemon, if it lives, has the call still before it.
var errSlow = errors.New("the daemon did not answer in time")

// Call is what a program was called with.
type Call struct {
	Path  string   // of the daemon's API, like /v1/cni
	Args  []string // behind the program's name
	Env   []string // KEY=VALUE, those that matter
	Stdin []byte
}

// Answer is what the program is to write and to exit with.
type Answer struct {
	Stdout []byte
	Exit   int // 0 to 255
}

// Env returns those variables of the environment whose names begin with prefix.
func Env(prefix string) (env []string) {
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, prefix) {
			env = append(env, kv)
		}
	}
	return env
}

// Socket returns the path of the daemon's socket: that of host, which may have
// unix:// before it; "" is CATENET_HOST, or else DefaultHost.
func Socket(host string) string {
	if host == "" {
		host = os.Getenv("CATENET_HOST")
	}
	if host == "" {
		host = DefaultHost
	}
	return strings.TrimPrefix(host, "unix://")
}

// Send makes one call to the daemon at host, as Socket reads it.
func Send(host string, c Call) (Answer, error) { return send(host, c, patience) }

func send(host string, c Call, limit time.Duration) (Answer, error) {
	conn, err := dial(Socket(host), limit)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	if _, werr := conn.Write(c.request()); werr != nil {
		err = errors.New("send to the daemon: " + werr.Error())
	}
	// There may be an answer to a request that was cut off.
	b, rerr := io.ReadAll(conn)
	a, bad := parse(b)
	switch {
	case bad == nil:
		return a, nil
	case errors.Is(bad, ErrRefused):
		return a, bad
	case errors.Is(rerr, syscall.EAGAIN):
		return a, errSlow
	case err != nil:
		return a, err
	case rerr != nil:
		return a, errors.New("read from the daemon: " + rerr.Error())
	}
	return a, bad
}

// Read reads standard input of a program, which is not to be longer than
// MaxStdin.
func Read(in io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, MaxStdin+1))
	if err == nil && len(b) > MaxStdin {
		err = errors.New("it is longer than " + strconv.Itoa(MaxStdin) + " bytes")
	}
	return b, err
}

// dial connects to the socket at path. Reading and writing that takes longer
// than limit fails from then on.
func dial(path string, limit time.Duration) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	conn := os.NewFile(uintptr(fd), path)
	tv := syscall.NsecToTimeval(limit.Nanoseconds())
	for _, which := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, which, &tv); err != nil {
			conn.Close()
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	if err != nil {
		conn.Close()
		return nil, awayError{&os.PathError{Op: "connect to", Path: path, Err: err}}
	}
	return conn, nil
}

// awayError is ErrAway with its cause.
type awayError struct{ cause error }

func (e awayError) Error() string   { return ErrAway.Error() + ": " + e.cause.Error() }
func (e awayError) Unwrap() []error { return []error{ErrAway, e.cause} }

// refusedError is ErrRefused with what was answered.
type refusedError string

func (e refusedError) Error() string { return ErrRefused.Error() + ": " + string(e) }
func (e refusedError) Unwrap() error { return ErrRefused }

// request is the call as it goes over the wire.
func (c Call) request() []byte {
	target := c.Path
	sep := "?"
	for _, p := range []struct {
		name   string
		values []string
	}{{"arg", c.Args}, {"env", c.Env}} {
		for _, v := range p.values {
			target += sep + p.name + "=" + escape(v)
			sep = "&"
		}
	}
	head := "POST " + target + " HTTP/1.1\r\nHost: catenet\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(c.Stdin)) + "\r\n\r\n"
	return append([]byte(head), c.Stdin...)
}

// escape writes a value for a query (RFC 3986, 2.3: what is unreserved stands
// for itself).
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
	}
	return b.String()
}

// parse reads an answer: all of it, or it is none.
func parse(b []byte) (Answer, error) {
	head, body, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole {
		return Answer{}, errors.New("the daemon went away before it had answered")
	}
	length, exit := -1, -1
	for _, line := range strings.Split(string(head), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		switch {
		case err != nil:
		case strings.EqualFold(name, "Content-Length"):
			length = n
		case strings.EqualFold(name, ExitHeader):
			exit = n
		}
	}
	switch {
	case length != len(body):
		return Answer{}, errors.New("the daemon went away before it had answered")
	case exit < 0 || exit > 255:
		status, _, _ := bytes.Cut(head, []byte("\r\n"))
		return Answer{}, refusedError(string(status) + " " + string(bytes.TrimSpace(body)))
	}
	return Answer{Stdout: body, Exit: exit}, nil
}
