package tun

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/kernel"
	"github.com/catenet/catenet/test/vm"
)

// TestOlderKernel: sockets and waiting are as on a new one.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	vm.Run(t, vm.Guest{Modules: []string{"veth", "tun"}}, "TestTrains", "TestWhyNotSent", "TestWhatArrives", "TestTheEnd")
}

// condition is of one argument of a system call: it has these bits, or this value.
type condition struct {
	argument int // from 0
	jump     uint16
	value    uint32
}

// refusal has the kernel refuse a system call with arguments of which all conditions
// hold.
type refusal struct {
	call  uint32
	when  [2]condition
	errno unix.Errno
}

const (
	equals = unix.BPF_JEQ
	has    = unix.BPF_JSET
)

// TestWhatTheKernelRefuses is done without, or said to be needed.
func TestWhatTheKernelRefuses(t *testing.T) {
	t.Parallel()
	offloads := func(bits uint32) refusal {
		return refusal{unix.SYS_IOCTL, [2]condition{{1, equals, unix.TUNSETOFFLOAD}, {2, has, bits}}, unix.EINVAL}
	}
	for name, c := range map[string]struct {
		refusal  refusal
		tcp, udp bool   // how packets may be cut
		size     int    // of what arrives, which was sent by 100 bytes
		said     string // in the log
	}{
		"segments of UDP": {offloads(unix.TUN_F_USO4), true, false, 450, "no segmentation of UDP"},
		"all offloads":    {offloads(unix.TUN_F_CSUM), false, false, 450, "no offloads"},
		"UDP_GRO":         {refusal{unix.SYS_SETSOCKOPT, [2]condition{{1, equals, unix.IPPROTO_UDP}, {2, equals, unix.UDP_GRO}}, unix.ENOPROTOOPT}, true, true, 100, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.spec.Lanes = 1
			tunnel, err := s.refused(c.refusal)
			if err != nil {
				t.Fatal(err)
			}
			defer tunnel.Close()
			if tcp, udp := tunnel.Segments(kernel.SegmentTCP), tunnel.Segments(kernel.SegmentUDP); tcp != c.tcp || udp != c.udp {
				t.Errorf("segments of TCP %t, of UDP %t", tcp, udp)
			}
			if !strings.Contains(s.said.String(), c.said) {
				t.Errorf("it says: %s", s.said.String())
			}
			if n, arrivals := s.five(tunnel.Lanes()[0]); n == 0 || len(arrivals[0].Data) != c.size {
				t.Errorf("of 450 bytes %d arrive at once", len(arrivals[0].Data))
			}
		})
	}
	s := newSite(t)
	_, err := s.refused(refusal{unix.SYS_IOCTL, [2]condition{{1, equals, unix.TUNSETIFF}, {1, equals, unix.TUNSETIFF}}, unix.EINVAL})
	if catenet.KindOf(err) != catenet.KindUnsupported {
		t.Errorf("no device that is good enough: %v", err)
	}
}

// refused opens a tunnel on a thread for which the kernel refuses something, by a
// filter of seccomp(2). The thread ends with its goroutine.
func (s *site) refused(r refusal) (tunnel kernel.Tunnel, err error) {
	s.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = s.ns.Do(func() error {
			if err = r.hold(); err == nil {
				tunnel, err = s.tunnels.OpenTunnel(s.t.Context(), s.spec)
			}
			return nil
		})
	}()
	<-done
	return tunnel, err
}

// hold makes it so for this thread, from now on.
func (r refusal) hold() error {
	const call, arguments = 0, 16 // in struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(how uint16, value uint32, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | how, K: value, Jf: otherwise}
	}
	one, two := r.when[0], r.when[1]
	program := []unix.SockFilter{
		load(call), jump(unix.BPF_JEQ, r.call, 5),
		load(arguments + 8*uint32(one.argument)), jump(one.jump, one.value, 3),
		load(arguments + 8*uint32(two.argument)), jump(two.jump, two.value, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(r.errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}
