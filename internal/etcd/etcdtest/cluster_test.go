package etcdtest

import (
	"testing"
	"testing/synctest"
)

func TestClusterConforms(t *testing.T) {
	Conform(t, synctest.Test, func(*testing.T) World {
		c := New()
		cl := c.Client()
		return World{Store: cl, Compact: c.Compact, Away: func() { cl.Cut(true) }}
	})
}
