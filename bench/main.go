// Command bench measures catenet against its peers on this machine and prints
// a table: what make bench runs. Figures move from machine to machine; what
// holds is a ratio taken in one run, so every row measures its contenders
// turn by turn and gives the median of the pairs.
//
// Everything happens in network namespaces of its own, and is gone when it
// ends. BENCH_ROUNDS changes how many pairs a row takes, arguments choose rows
// by a part of their name:
//
//	BENCH_ROUNDS=50 bin/catenet-bench attach dns
//
// It is no test: a figure below its goal is printed and fails nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Row is one measurement, or a few that share their set-up.
type Row struct {
	Name string
	Run  func(ctx context.Context, b *Bench) ([]Line, error)
}

// rows in the order of the table.
var rows = []Row{
	{"attach no port", attachPlain},
	{"attach 1 port", attachPorts(1, 10)},
	{"attach 50 ports", attachPorts(50, 25)},
	{"netavark setup no port", netavarkSetup(0, 5)},
	{"netavark setup 1 port", netavarkSetup(1, 10)},
	{"netavark setup 50 ports", netavarkSetup(50, 50)},
	{"publish with 2000 present", publishAmongMany},
	{"cni add", cniAdd},
	{"cni pods", cniPods},
	{"detach", detachOne},
	{"detach 100", detachHundred},
	{"crowd", crowd},
	{"docker connect", dockerConnect},
	{"docker run", dockerRun},
	{"stream", stream},
	{"across hosts routes", acrossRouted},
	{"across hosts vxlan", acrossVXLAN},
	{"peers", peersKnown},
	{"udp transport stream", tunnelStream},
	{"udp transport packets", tunnelPackets},
	{"udp transport latency", tunnelLatency},
	{"connections", connections},
	{"dns", lookups},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, filter []string) error {
	if os.Geteuid() != 0 {
		return errors.New("makes network namespaces: run it as root (sudo make bench)")
	}
	rounds := 0
	if s := os.Getenv("BENCH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("BENCH_ROUNDS=%q is no number above 0", s)
		}
		rounds = n
	}
	var lines []Line
	var failed []error
	for _, row := range rows {
		if !chosen(row.Name, filter) {
			continue
		}
		start := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s ", row.Name)
		got, err := measure(ctx, row, rounds)
		fmt.Fprintf(os.Stderr, "(%.0f s)\n", time.Since(start).Seconds())
		if err != nil {
			err = fmt.Errorf("%s: %w", row.Name, err)
			fmt.Fprintln(os.Stderr, "bench:", err)
			failed = append(failed, err)
			got = append(got, Line{Work: row.Name, Verdict: "not measured"})
		}
		lines = append(lines, got...)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(failed, printTable(os.Stdout, lines))...)
}

// measure runs one row on a bench of its own.
func measure(ctx context.Context, row Row, rounds int) (lines []Line, err error) {
	b, err := newBench(rounds)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return row.Run(ctx, b)
}

func chosen(name string, filter []string) bool {
	for _, f := range filter {
		if strings.Contains(name, f) {
			return true
		}
	}
	return len(filter) == 0
}
