package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// criImage is what pods are made of: busybox, which waits.
const criImage = "docker.io/library/busybox:local"

// criHost is a host whose containerd makes pods, and what a kubelet would say to it:
// the Container Runtime Interface (k8s.io/cri-api).
type criHost struct {
	*cniHost
	cri.RuntimeServiceClient
}

func newCRI(t *testing.T) *criHost {
	t.Helper()
	c := &criHost{cniHost: newCNI(t)}
	c.a.MustRun("cp", "/usr/lib/cni/loopback", filepath.Join(c.dir, "bin"))
	conn, err := grpc.NewClient("unix://"+c.dir+"/c.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.RuntimeServiceClient = cri.NewRuntimeServiceClient(conn)
	return c
}

// startRuntime starts containerd with its CRI plugin, and waits until that is ready
// to make pods, which it is once there is a network for them.
func (c *criHost) startRuntime() {
	c.T.Helper()
	const plugin = `[plugins."io.containerd.grpc.v1.cri"`
	c.containerdAs(plugin + `]
  sandbox_image = "` + criImage + `"
  netns_mounts_under_state_dir = true
  disable_cgroup = true
  restrict_oom_score_adj = true
` + plugin + `.containerd]
  snapshotter = "native"
` + plugin + `.cni]
  bin_dir = "` + c.dir + `/bin"
  conf_dir = "` + c.dir + `/conf"
`)
	c.Eventually(2*soon, func() string {
		st, err := c.Status(c.T.Context(), &cri.StatusRequest{})
		if err != nil {
			return err.Error()
		}
		for _, is := range st.Status.Conditions {
			if !is.Status {
				return is.String()
			}
		}
		return ""
	})
}

// pull gives containerd the image, as no registry would.
func (c *criHost) pull() {
	c.T.Helper()
	path := filepath.Join(c.dir, "image.tar")
	if err := os.WriteFile(path, criArchive(c.T), 0o600); err != nil {
		c.T.Fatal(err)
	}
	if r := c.ctr("-n", "k8s.io", "images", "import", "--snapshotter", "native", path); r.Code != 0 {
		c.T.Fatal(r.Text())
	}
}

// criArchive is the image, in the form of docker save (image-spec v1.2 of Docker's).
func criArchive(t testing.TB) []byte {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	layer := tarOf(t, map[string][]byte{"bin/busybox": busybox})
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return tarOf(t, map[string][]byte{
		"layer.tar": layer,
		"config.json": text(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": map[string]any{"Entrypoint": []string{"/bin/busybox", "tail", "-f", "/dev/null"}},
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
		}),
		"manifest.json": text([]map[string]any{{"Config": "config.json", "RepoTags": []string{criImage}, "Layers": []string{"layer.tar"}}}),
	})
}

func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pod is one of containerd's.
type pod struct {
	c             *criHost
	id, container string
	ip            string
}

// pod makes a pod, in which one container answers its name on port 80.
func (c *criHost) pod(config *cri.PodSandboxConfig) *pod {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		c.T.Helper()
		if err != nil {
			c.T.Fatalf("%s: %v\n%s", config.Metadata.Name, err, c.containerd.Output())
		}
	}
	run, err := c.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	must(err)
	p := &pod{c: c, id: run.PodSandboxId}
	c.T.Cleanup(func() { p.remove(context.Background()) })
	made, err := c.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.id, SandboxConfig: config, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "answers"},
		Image:    &cri.ImageSpec{Image: criImage},
		Command:  append([]string{"/bin/busybox"}, answers(config.Metadata.Name)...),
		Linux:    &cri.LinuxContainerConfig{},
	}})
	must(err)
	p.container = made.ContainerId
	_, err = c.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container})
	must(err)
	st, err := c.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	must(err)
	p.ip = st.Status.GetNetwork().GetIp()
	return p
}

// run runs busybox in the pod's container, and returns what it prints.
func (p *pod) run(args ...string) string {
	ctx, cancel := context.WithTimeout(p.c.T.Context(), time.Minute)
	defer cancel()
	r, err := p.c.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.container, Cmd: append([]string{"/bin/busybox"}, args...), Timeout: 10})
	if err != nil {
		return err.Error()
	}
	return string(r.Stdout) + string(r.Stderr)
}

// stop ends the pod's processes and its network.
func (p *pod) stop(ctx context.Context) error {
	_, err := p.c.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	return err
}

// remove takes the pod away, if that was not done yet.
func (p *pod) remove(ctx context.Context) {
	p.c.T.Helper()
	if p.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := p.stop(ctx)
	if err == nil {
		_, err = p.c.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id})
	}
	if err != nil {
		p.c.T.Errorf("remove pod: %v\n%s", err, p.c.containerd.Output())
	}
	p.id = ""
}
