package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api/notify"
	"github.com/catenet/catenet/internal/names"
)

type someCounts struct{}

func (someCounts) Info(context.Context) (catenet.Info, error) {
	return catenet.Info{Networks: 4, Running: 2, Obstacles: []catenet.Obstacle{{}}}, nil
}

func (someCounts) Networks(context.Context) ([]catenet.NetworkStatus, error) {
	return []catenet.NetworkStatus{{
		Network: catenet.Network{NetworkSpec: catenet.NetworkSpec{Name: "front"}},
		Use:     []catenet.PoolUse{{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Used: 3, Free: 251}},
		Traffic: &catenet.Traffic{Carried: map[string]uint64{"packets sent": 7}, Dropped: map[string]uint64{"TTL expired": 2}},
	}}, nil
}

func (someCounts) Counts() names.Counts {
	return names.Counts{Queries: 9, Cached: 4, Forwarded: 3, Failed: 1}
}

func TestMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if _, err := listenMetrics(t.Context(), addr, nil); !catenet.IsInvalid(err) {
		t.Errorf("a taken port: %v", err)
	}
	serveMetrics(t.Context(), l, someCounts{}, someCounts{})
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`catenet_things{thing="networks"} 4`, `catenet_things{thing="running"} 2`, `catenet_obstacles 1`,
		`catenet_dns_queries_total{what="all"} 9`, `catenet_dns_queries_total{what="cached"} 4`,
		`catenet_dns_queries_total{what="forwarded"} 3`, `catenet_dns_queries_total{what="failed"} 1`,
		`catenet_pool_addresses{network="front",state="free",subnet="10.1.0.0/24"} 251`,
		`catenet_carried_total{network="front",what="packets sent"} 7`, `catenet_dropped_packets_total{network="front",reason="TTL expired"} 2`, `go_goroutines `,
	} {
		if !strings.Contains(string(body), line) {
			t.Errorf("no %q in\n%s", line, body)
		}
	}
}

func TestNotifyTellsTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := notify.State("READY=1"); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 64)
	if n, err := l.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify.State("READY=1"); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}
