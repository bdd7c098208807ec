package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/catenet/catenet"
)

// TestGuestsAreFoundByTheirOwnIDs: whoever asked for a sandbox finds it by the
// ID that its runtime has for it, unless that is another's name or ID.
func TestGuestsAreFoundByTheirOwnIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guest := func(name string, owner catenet.Owner, runtimeID string) string {
		t.Helper()
		st, err := w.attachSpec(catenet.SandboxSpec{Name: name, Owner: owner, RuntimeID: runtimeID})
		must(t, err)
		return st.ID
	}
	long := "k8s." + strings.Repeat("x", 100)
	a := guest("a", catenet.OwnerPodman, "Z123")
	b := guest("b", catenet.OwnerCNI, "Z124")
	c := guest("c", catenet.OwnerDocker, "a") // a's name
	d := guest("d", catenet.OwnerOCI, long)
	e := guest("e", catenet.OwnerCNI, "Z124-more")
	for ref, want := range map[string]string{"Z123": a, "Z124": b, "a": a, c[:20]: c, long: d, "k8s.xx": d, "Z124-": e} {
		if st, err := w.Sandbox(ctx, ref); err != nil || st.ID != want {
			t.Errorf("%s: %s, %v", ref, st.Name, err)
		}
	}
	for _, ref := range []string{"Z", "Z12"} {
		if _, err := w.Sandbox(ctx, ref); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%s: %v", ref, err)
		}
	}
	must(t, w.Remove(ctx, "Z124-more", false))
	if _, err := w.Sandbox(ctx, "Z124-more"); !catenet.IsNotFound(err) {
		t.Error(err)
	}
}

// TestGuestsAreNamespacesOfOthers: a sandbox of any owner but run is there
// after a start of the daemon, is neither started nor stopped by it, and has no
// files of ours.
func TestGuestsAreNamespacesOfOthers(t *testing.T) {
	t.Parallel()
	for _, owner := range catenet.Owners {
		if owner == catenet.OwnerRun {
			continue
		}
		t.Run(string(owner), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			st, err := w.attachSpec(catenet.SandboxSpec{Name: "g", Owner: owner, RuntimeID: "0123456789abcdef"})
			must(t, err)
			w.restart()
			got, err := w.Sandbox(ctx, "g")
			must(t, err)
			if got.Owner != owner || got.State != catenet.StateRunning || got.Endpoints[0].IPv4 != st.Endpoints[0].IPv4 {
				t.Errorf("after a start: %+v", got)
			}
			if foreign := owner != catenet.OwnerAttach; foreign && slices.ContainsFunc(got.Warnings, func(s string) bool { return strings.Contains(s, "/etc/netns") }) {
				t.Errorf("its files are its runtime's to write: %q", got.Warnings)
			}
			if err := w.Start(ctx, "g"); !catenet.IsInvalid(err) {
				t.Errorf("start: %v", err)
			}
			hint := map[catenet.Owner]string{
				catenet.OwnerAttach: "catenet detach g ", catenet.OwnerCNI: "ctr task kill", catenet.OwnerPodman: "podman stop 0123456789ab stops it; catenet detach g",
				catenet.OwnerDocker: "docker stop 0123456789ab stops", catenet.OwnerOCI: "runc kill 0123456789abcdef or",
			}[owner]
			if err := w.Stop(ctx, "g", 0); !catenet.IsInvalid(err) || !strings.Contains(catenet.HintOf(err), hint) {
				t.Errorf("stop: %v (%s)", err, catenet.HintOf(err))
			}
			must(t, w.Remove(ctx, "g", false))
		})
	}
	w := newWorld(t)
	for _, bad := range []catenet.SandboxSpec{{Name: "x", Owner: "lxc"}, {Name: "x", Owner: catenet.OwnerCNI, RuntimeID: "a/b"}} {
		if _, err := w.attachSpec(bad); !catenet.IsInvalid(err) || catenet.HintOf(err) == "" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
