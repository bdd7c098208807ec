package kerneltest

import "testing"

func TestTwoNamespacesReachEachOther(t *testing.T) {
	a, b := New(t), New(t)
	Connect(a, "e0", "192.0.2.1/24", b, "e0", "192.0.2.2/24")
	a.Run("ping", "-c1", "-W2", "192.0.2.2")
}
