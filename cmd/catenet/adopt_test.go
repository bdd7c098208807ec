package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/catenet/catenet/api/apitest"
)

// TestASignalLeavesNoNetworkNowhere has one come when dockerd has just removed
// the first of many networks: it is made here, and the last is left alone.
func TestASignalLeavesNoNetworkNowhere(t *testing.T) {
	const many = 500
	e := apitest.New()
	defer e.Close()
	host, _ := apitest.Serve(t, e)
	removed := 0 // by one request after the other
	mux := http.NewServeMux()
	mux.HandleFunc("GET /networks", func(w http.ResponseWriter, _ *http.Request) {
		all := make([]string, many)
		for i := range all {
			all[i] = fmt.Sprintf(`{"Id": "n%03d"}`, i)
		}
		fmt.Fprintf(w, "[%s]", strings.Join(all, ","))
	})
	mux.HandleFunc("GET /networks/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"Id": %[1]q, "Name": %[1]q, "Driver": "bridge", "Options": {"com.docker.network.bridge.name": "lo"}}`, r.PathValue("id"))
	})
	mux.HandleFunc("DELETE /networks/{id}", func(http.ResponseWriter, *http.Request) {
		if removed++; removed == 1 {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT) // it is our own process
		}
	})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	dockerd := &http.Server{Handler: mux}
	go dockerd.Serve(l)
	defer dockerd.Close()
	t.Setenv("DOCKER_HOST", "unix://"+l.Addr().String())
	var out, errOut bytes.Buffer
	code := run([]string{"-H", host, "adopt", "--replace", "docker"}, nil, &out, &errOut)
	if code != 1 || !strings.Contains(errOut.String(), "interrupted before n") {
		t.Errorf("exit code %d: %s", code, &errOut)
	}
	made := strings.Count(out.String(), ": made, and removed there: ")
	if made == 0 || made != removed || removed == many {
		t.Errorf("%d of %d removed there, %d made here:\n%s", removed, many, made, &out)
	}
}
