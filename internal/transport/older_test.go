package transport

import (
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/test/vm"
)

// TestOlderKernel: one that has no segmentation of UDP for TUN devices, and none for
// sockets where the link does no checksums.
func TestOlderKernel(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Guest{Modules: []string{"veth", "tun"}}) {
		return
	}
	a, b := wire(t)
	a.run()
	b.run()
	const some = 3 << 20 // the machine is slow
	for _, link := range []string{"with checksums", "without"} {
		t.Run(link, func(t *testing.T) {
			stream(t, a, b, some)
			echo(t, a, b, 0, 1, 1444, 1445, 9000)
			burst(t, a, b)
			if refused := a.tr.Traffic().Carried[refusals]; (refused > 0) != (link == "without") {
				t.Errorf("%d offloads were refused", refused)
			}
			a.withoutChecksums("e0")
		})
	}
}

// withoutChecksums has the processor do a link's checksums (SIOCETHTOOL of
// linux/sockios.h with ETHTOOL_STXCSUM).
func (n *node) withoutChecksums(link string) {
	n.t.Helper()
	n.host.MustDo(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		value := struct{ command, data uint32 }{0x17, 0}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], link)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if err = unix.Close(fd); errno != 0 {
			err = errors.Join(errno, err)
		}
		return err
	})
}
