package link

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
	"github.com/catenet/catenet/internal/kernel/wire"
)

// TestADumpThatFailsIsNoShortList: the kernel says it in the message that ends
// the list.
func TestADumpThatFailsIsNoShortList(t *testing.T) {
	t.Parallel()
	h := openIn(t, kerneltest.New(t), nil)
	const none = 9999 // no link has this index
	err := h.with(t.Context(), func(c *conn) error {
		var b batch
		body := native.AppendUint32(make([]byte, 4, unix.SizeofIfAddrmsg), none)
		b.message("list addresses", unix.RTM_GETADDR, 0, body)
		if err := c.dump(&b, func() {}, func(wire.Message) {}); !errors.Is(err, unix.ENODEV) {
			t.Errorf("dump: %v", err)
		}
		addrs, err := c.addresses(none)
		if len(addrs) > 0 {
			t.Errorf("addresses: %v", addrs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
