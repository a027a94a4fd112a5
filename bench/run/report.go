package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"
)

// A result is one scenario as it went.
type result struct {
	Scenario string
	Sides    [2]string
	Pairs    [][2]turn
	Memory   [2][2]int64 // of each side at the end and at its peak, in bytes
	Target   float64
	ByRate   bool  // the target is one of requests per second
	Limit    int64 // of the second side's memory; 0: none
}

// A figure is a median and what it was taken from.
type figure struct{ median, min, max float64 }

func newFigure[T cmp.Ordered](pairs [][2]turn, of func([2]turn) T, number func(T) float64) figure {
	all := make([]T, len(pairs))
	for i, p := range pairs {
		all[i] = of(p)
	}
	slices.Sort(all)
	n := len(all)
	return figure{(number(all[(n-1)/2]) + number(all[n/2])) / 2, number(all[0]), number(all[n-1])}
}

func same(f float64) float64 { return f }

// ratio is how much of the first side's cheapness the second keeps: 1 is as cheap, 0.5 takes twice the time.
func (r *result) ratio() figure {
	return newFigure(r.Pairs, func(p [2]turn) float64 { return float64(p[0].CPU) / float64(p[1].CPU) }, same)
}

// rates is the same by requests per second.
func (r *result) rates() figure {
	return newFigure(r.Pairs, func(p [2]turn) float64 { return p[1].Rate / p[0].Rate }, same)
}

func (r *result) cpu(side int) figure {
	return newFigure(r.Pairs, func(p [2]turn) time.Duration { return p[side].CPU },
		func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) })
}

func (r *result) rate(side int) figure {
	return newFigure(r.Pairs, func(p [2]turn) float64 { return p[side].Rate }, same)
}

// judged is the ratio that is held against the target.
func (r *result) judged() figure {
	if r.ByRate {
		return r.rates()
	}
	return r.ratio()
}

// missed says which targets were not reached.
func (r *result) missed() []string {
	var missed []string
	if got := r.judged().median; got < r.Target {
		missed = append(missed, fmt.Sprintf("%s: ratio %.3f, wanted at least %.2f", r.Scenario, got, r.Target))
	}
	if peak := r.Memory[1][1]; r.Limit > 0 && peak >= r.Limit {
		missed = append(missed, fmt.Sprintf("%s: %s of memory, wanted under %s", r.Scenario, mb(peak), mb(r.Limit)))
	}
	return missed
}

func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.Scenario)
	fmt.Fprintf(w, "  %-16s %28s %28s %12s\n", "", "CPU a request", "requests a second", "memory")
	for i, name := range r.Sides {
		cpu, rate := r.cpu(i), r.rate(i)
		fmt.Fprintf(w, "  %-16s %9.1f us (%6.1f - %6.1f) %9.0f (%6.0f - %6.0f) %12s\n",
			name, cpu.median, cpu.min, cpu.max, rate.median, rate.min, rate.max, mb(r.Memory[i][1]))
	}
	ratio, rates := r.ratio(), r.rates()
	verdict := "reached"
	if len(r.missed()) > 0 {
		verdict = "MISSED"
	}
	by := "CPU"
	if r.ByRate {
		by = "rate"
	}
	wanted := fmt.Sprintf("wanted: a ratio by %s of at least %.2f", by, r.Target)
	if r.Limit > 0 {
		wanted += ", in under " + mb(r.Limit)
	}
	fmt.Fprintf(w, "  %-16s %9.3f    (%6.3f - %6.3f) %9.3f (%6.3f - %6.3f)\n", "ratio", ratio.median, ratio.min, ratio.max, rates.median, rates.min, rates.max)
	if r.Target > 0 {
		fmt.Fprintf(w, "  %s: %s\n", wanted, verdict)
	}
	fmt.Fprintln(w)
}

func mb(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
