package names

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// forgeries is how many forged answers are sent.
const forgeries = 1_000_000

// Addresses of TestForgeriesFromElsewhere.
var (
	forgedServer = netip.MustParseAddr("192.0.2.53")
	forgedHost   = netip.MustParseAddr("192.0.2.1")
)

const (
	rightAnswer  = "NOERROR 192.0.2.80"
	forgedAnswer = "203.0.113.66"
	// The host has but these ports to ask from: with its usual 28,000 hardly a
	// forgery would find one that somebody listens at.
	firstPort, ports = 40000, 2048
)

// TestForgeriesFromElsewhere: somebody who does not see the queries, but knows
// what is asked just now and of whom, sends answers in the server's name with
// guessed ports and IDs: to the right question, to another one, as fragments;
// and the server itself repeats old answers. None of it is taken or kept, and
// no lookup lacks its right answer.
func TestForgeriesFromElsewhere(t *testing.T) {
	host, outer := kerneltest.New(t), kerneltest.New(t)
	kerneltest.Connect(host, "eth0", forgedHost.String()+"/24", outer, "eth0", forgedServer.String()+"/24")
	host.Run("sysctl", "-qw", fmt.Sprintf("net.ipv4.ip_local_port_range=%d %d", firstPort, firstPort+ports-1))
	server := &slowServer{delay: 10 * time.Millisecond}
	server.listen(t, outer)
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+forgedServer.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := New(Options{Log: quiet(), ResolvConf: conf, StubResolvConf: conf + "-none", Dialer: insideOf{host}})
	t.Cleanup(func() { n.Close() })
	resolver := outside(t, n)

	var asked atomic.Pointer[string] // what somebody waits for just now
	first := "n.example."
	asked.Store(&first)
	done := make(chan struct{})
	var lookups, wrong atomic.Int64
	var asking sync.WaitGroup
	for w := range 8 {
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("w%d-%d.with-many-letters-to-guess.example.", w, i)
				asked.Store(&name)
				for range 2 { // from the server, then from the cache
					r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(question(name, dns.TypeA), resolver)
					if got := fmt.Sprint(err); err == nil {
						if got = data(r); got == rightAnswer {
							continue
						}
						t.Errorf("%s is %s", name, got)
					} else {
						t.Errorf("%s: %s", name, got)
					}
					wrong.Add(1)
				}
				lookups.Add(1)
			}
		})
	}
	begin := time.Now()
	sent := forge(t, outer, &asked)
	took := time.Since(begin)
	close(done)
	asking.Wait()
	t.Logf("%d forged answers in %v, %d lookups, %d wrong", sent, took.Round(time.Millisecond), lookups.Load(), wrong.Load())
	if byTCP := server.tcp.Load(); byTCP > lookups.Load()/20 {
		t.Errorf("%d queries by TCP: forgeries with wrong IDs are not merely passed over", byTCP)
	}
	if sent != forgeries || lookups.Load() < 100 {
		t.Errorf("%d forged answers, %d lookups: this test proves little", sent, lookups.Load())
	}
}

// insideOf opens sockets in a namespace.
type insideOf struct{ ns *kerneltest.NS }

func (d insideOf) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = d.ns.Do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// slowServer answers right, after a while, and repeats every tenth answer
// later.
type slowServer struct {
	delay time.Duration
	tcp   atomic.Int64 // queries that came so
}

func (s *slowServer) listen(t *testing.T, ns *kerneltest.NS) {
	t.Helper()
	at := netip.AddrPortFrom(forgedServer, 53).String()
	var pc net.PacketConn
	var l net.Listener
	ns.MustDo(func() (err error) {
		if pc, err = net.ListenPacket("udp4", at); err == nil {
			l, err = net.Listen("tcp4", at)
		}
		return err
	})
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
		go server.ActivateAndServe()
		t.Cleanup(func() { server.Shutdown() })
	}
}

func (s *slowServer) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	time.Sleep(s.delay)
	if w.RemoteAddr().Network() == "tcp" {
		s.tcp.Add(1)
	}
	r := replyTo(m, "@ 60 IN A 192.0.2.80")
	w.WriteMsg(r)
	if m.Id%10 == 0 && w.RemoteAddr().Network() == "udp" {
		time.Sleep(100 * time.Millisecond)
		w.WriteMsg(r)
	}
}

// forge sends the forged answers from the server's address and port. It
// returns how many the kernel took.
func forge(t *testing.T, ns *kerneltest.NS, asked *atomic.Pointer[string]) (sent int) {
	t.Helper()
	var fd int
	ns.MustDo(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW) // raw(7): with a header of ours
		return err
	})
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Addr: forgedHost.As4()}
	var name *string
	var packet []byte
	for i := range forgeries {
		if now := asked.Load(); now != name {
			name, packet = now, forged(*now)
		}
		switch kind := i % 100; {
		case kind < 90: // whole, to the right question
			aim(packet, 0)
		case kind < 94: // another question
			aim(packet, 0)
			packet[ipHeader+udpHeader+headerLen+1] ^= 1
		case kind < 97: // the first fragment, of which no second comes
			aim(packet, 0x2000)
		default: // a second one, for whichever first the host waits with
			aim(packet, uint16(1+i%8))
		}
		err := unix.Sendto(fd, packet, 0, to)
		if i%100 >= 90 && i%100 < 94 {
			packet[ipHeader+udpHeader+headerLen+1] ^= 1
		}
		if err != nil {
			t.Fatalf("forgery %d: %v", i, err)
		}
		sent++
	}
	return sent
}

const ipHeader, udpHeader = 20, 8

// forged is a packet that answers a question for an address: headers of IP and
// UDP (RFC 791, 768; without a checksum, which IPv4 leaves to the sender), and
// the message.
func forged(name string) []byte {
	r := replyTo(question(name, dns.TypeA), "@ 3600 IN A "+forgedAnswer)
	m, err := r.Pack()
	if err != nil {
		panic(err)
	}
	p := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(m))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	from, to := forgedServer.As4(), forgedHost.As4()
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	p = append(p, m...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[ipHeader:], 53)
	binary.BigEndian.PutUint16(p[ipHeader+4:], uint16(len(p)-ipHeader))
	return p
}

// aim guesses port and ID anew; fragment is the field of that name in the
// header, flags and offset.
func aim(p []byte, fragment uint16) {
	guess := rand.Uint64()
	binary.BigEndian.PutUint16(p[4:], uint16(guess))
	binary.BigEndian.PutUint16(p[6:], fragment)
	binary.BigEndian.PutUint16(p[ipHeader+2:], uint16(firstPort+guess>>16%ports))
	binary.BigEndian.PutUint16(p[ipHeader+udpHeader:], uint16(guess>>48))
}
