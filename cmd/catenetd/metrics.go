package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/internal/names"
)

// counts is what the metrics are made of.
type counts interface {
	Info(ctx context.Context) (catenet.Info, error)
	Networks(ctx context.Context) ([]catenet.NetworkStatus, error)
}

// lookups is what the resolver has counted.
type lookups interface{ Counts() names.Counts }

// engineCollector asks the engine and the resolver when it is scraped.
type engineCollector struct {
	engine   counts
	lookups  lookups
	dns      *prometheus.Desc
	things   *prometheus.Desc
	pool     *prometheus.Desc
	obstacle *prometheus.Desc
	carried  *prometheus.Desc
	dropped  *prometheus.Desc
}

func newCollector(e counts, l lookups) *engineCollector {
	return &engineCollector{
		engine:   e,
		lookups:  l,
		dns:      prometheus.NewDesc("catenet_dns_queries_total", "Queries that sandboxes sent to the resolver (all), those of them that the cache answered (cached), that went upstream (forwarded) and that were answered SERVFAIL (failed).", []string{"what"}, nil),
		things:   prometheus.NewDesc("catenet_things", "How many networks, sandboxes, running sandboxes, endpoints and published ports there are.", []string{"thing"}, nil),
		pool:     prometheus.NewDesc("catenet_pool_addresses", "Addresses of a network's pool, used and free.", []string{"network", "subnet", "state"}, nil),
		obstacle: prometheus.NewDesc("catenet_obstacles", "Rules of other firewalls that swallow packets of ours.", nil, nil),
		carried:  prometheus.NewDesc("catenet_carried_total", "What the daemon has carried between hosts of a network itself: packets, their bytes, and what was done to them.", []string{"network", "what"}, nil),
		dropped:  prometheus.NewDesc("catenet_dropped_packets_total", "Packets between hosts of a network that the daemon did not carry on, by reason.", []string{"network", "reason"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *engineCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.things
	ch <- c.pool
	ch <- c.obstacle
	ch <- c.dns
	ch <- c.carried
	ch <- c.dropped
}

// Collect implements prometheus.Collector.
func (c *engineCollector) Collect(ch chan<- prometheus.Metric) {
	q := c.lookups.Counts()
	for what, n := range map[string]uint64{"all": q.Queries, "cached": q.Cached, "forwarded": q.Forwarded, "failed": q.Failed} {
		ch <- prometheus.MustNewConstMetric(c.dns, prometheus.CounterValue, float64(n), what)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	info, err := c.engine.Info(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.things, err)
		return
	}
	for thing, n := range map[string]int{
		"networks": info.Networks, "sandboxes": info.Sandboxes, "running": info.Running,
		"endpoints": info.Endpoints, "ports": info.Ports,
	} {
		ch <- prometheus.MustNewConstMetric(c.things, prometheus.GaugeValue, float64(n), thing)
	}
	ch <- prometheus.MustNewConstMetric(c.obstacle, prometheus.GaugeValue, float64(len(info.Obstacles)))
	networks, err := c.engine.Networks(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.pool, err)
		return
	}
	for _, n := range networks {
		c.network(ch, n)
	}
}

// network is what is told of one network.
func (c *engineCollector) network(ch chan<- prometheus.Metric, n catenet.NetworkStatus) {
	for _, u := range n.Use {
		ch <- prometheus.MustNewConstMetric(c.pool, prometheus.GaugeValue, float64(u.Used), n.Name, u.Subnet.String(), "used")
		ch <- prometheus.MustNewConstMetric(c.pool, prometheus.GaugeValue, float64(u.Free), n.Name, u.Subnet.String(), "free")
	}
	if n.Traffic == nil {
		return
	}
	for what, k := range n.Traffic.Carried {
		ch <- prometheus.MustNewConstMetric(c.carried, prometheus.CounterValue, float64(k), n.Name, what)
	}
	for reason, k := range n.Traffic.Dropped {
		ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(k), n.Name, reason)
	}
}

// metricsSocket is what the listener for scrapes is called when it is handed
// over.
func metricsSocket(addr string) string { return "metrics " + addr }

// listenMetrics listens for scrapes at addr, or goes on with a listener that
// was handed over, if that is not nil.
func listenMetrics(ctx context.Context, addr string, given *os.File) (net.Listener, error) {
	if given != nil {
		defer given.Close()
		return net.FileListener(given)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, catenet.Invalidf("cannot serve metrics at %q: %w", addr, err).WithHint("--metrics wants HOST:PORT with a free port, like 127.0.0.1:9090")
	}
	return l, nil
}

// serveMetrics answers scrapes on l until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, e counts, q lookups) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(e, q), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go func() { _ = server.Serve(l) }() // ends with ErrServerClosed
}
