package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Contender does one piece of work once and returns its figure. What it has
// to prepare and to clear away stays outside of the figure.
type Contender struct {
	Name string
	Once func(ctx context.Context, round int) (float64, error)
}

// Series is the figures of each contender, round by round.
type Series [][]float64

// interleave lets the contenders work turn by turn. The order turns with the
// rounds, so that nobody always comes after the same one; the first round
// warms up and does not count.
func interleave(ctx context.Context, rounds int, cs ...Contender) (Series, error) {
	s := make(Series, len(cs))
	for round := range rounds + 1 {
		for i := range cs {
			k := (i + round) % len(cs)
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			v, err := cs[k].Once(ctx, round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cs[k].Name, err)
			}
			if round > 0 {
				s[k] = append(s[k], v)
			}
		}
	}
	return s, nil
}

// Median returns the middle figure of one contender.
func (s Series) Median(i int) float64 { return median(s[i]) }

// Ratio returns the median, over the rounds, of a's figure by b's.
func (s Series) Ratio(a, b int) float64 {
	pairs := make([]float64, len(s[a]))
	for r := range pairs {
		pairs[r] = s[a][r] / s[b][r]
	}
	return median(pairs)
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile returns the figure below which a share q of all lies.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// timed is the figure of work whose cost is its time, in milliseconds.
func timed(work func() error) (float64, error) {
	start := time.Now()
	err := work()
	return float64(time.Since(start)) / float64(time.Millisecond), err
}

func ms(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}
