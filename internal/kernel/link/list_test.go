package link

import (
	"testing"

	"github.com/catenet/catenet/internal/kernel/kerneltest"
)

// TestDefaultLinkIsTheKernelsChoice: of several default routes the one with
// the lowest metric, whichever was there first.
func TestDefaultLinkIsTheKernelsChoice(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"-4", "-6"} {
		host, up := kerneltest.New(t), kerneltest.New(t)
		h := openIn(t, host, nil)
		for i, metric := range []string{"300", "100", "200"} {
			wan := "wan" + metric
			kerneltest.Connect(host, wan, "", up, wan, "")
			host.Run("ip", "link", "set", wan, "mtu", "2"+metric)
			host.Run("ip", family, "route", "add", "default", "dev", wan, "metric", metric)
			if i == 0 {
				continue
			}
			if name, mtu, err := h.DefaultLink(t.Context()); name != "wan100" || mtu != 2100 || err != nil {
				t.Errorf("%s: %q, %d, %v", family, name, mtu, err)
			}
		}
	}
}
