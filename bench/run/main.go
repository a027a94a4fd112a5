// Command run measures what the server costs: it builds the server and its floor, starts both on throwaway data, has the
// same 64 clients ask the one and the other in turn, and prints by how much the server is dearer. README.md, one directory
// up, says how to read it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type bench struct {
	pairs    int
	requests int
	self     bool
	floor    string     // the program
	server   string     // likewise
	started  []*process // in the scenario that runs
	ending   []func() error
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	var b bench
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	flag.IntVar(&b.pairs, "pairs", 7, "pairs of turns; the figures are medians over them")
	flag.IntVar(&b.requests, "requests", 30_000, "requests of one turn")
	flag.BoolVar(&b.self, "self", false, "run the floor against itself, which shows how far the machine can be trusted")
	only := flag.String("only", "", "comma-separated, of: "+strings.Join(names, ", "))
	check := flag.Bool("check", false, "exit with status 1 if a target is missed")
	results := flag.String("results", filepath.Join("bench", "results"), "directory to write the results to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chosen, err := choose(*only)
	if err == nil && b.pairs < 1 || b.requests < connections {
		err = fmt.Errorf("at least 1 pair of %d requests", connections)
	}
	if err != nil {
		log.Print(err)
		os.Exit(2)
	}
	missed, err := b.run(ctx, chosen, *results)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range missed {
		log.Print("missed: ", m)
	}
	if *check && len(missed) > 0 {
		os.Exit(1)
	}
}

// choose returns the scenarios that are named in only, all if none is.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// run runs the scenarios, tells about each on standard output, and leaves the results, as text and as JSON, in a directory.
func (b *bench) run(ctx context.Context, chosen []scenario, results string) (missed []string, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b.floor, b.server = filepath.Join(dir, "floor"), filepath.Join(dir, "gatehouse")
	if err := build(ctx, b.floor, "./bench/floor"); err != nil {
		return nil, err
	}
	if !b.self {
		if err := build(ctx, b.server, "./cmd/gatehouse"); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(results, 0o755); err != nil {
		return nil, err
	}
	base := filepath.Join(results, time.Now().UTC().Format("20060102T150405Z"))
	text, err := os.Create(base + ".txt")
	if err != nil {
		return nil, err
	}
	defer text.Close()
	out := io.MultiWriter(os.Stdout, text)
	fmt.Fprintf(out, "%d pairs of %d requests, %d connections, %d processors, %s\n\n",
		b.pairs, b.requests, connections, runtime.NumCPU(), runtime.Version())
	var all []*result
	for i, s := range chosen {
		if b.self && (s.sides[0] != "floor" || !s.alone) {
			continue
		}
		r, err := b.scenario(ctx, s, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		r.write(out)
		missed = append(missed, r.missed()...)
		all = append(all, r)
	}
	j, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, err
	}
	return missed, os.WriteFile(base+".json", append(j, '\n'), 0o644)
}

// scenario runs one scenario on data of its own in dir, which is gone afterwards.
func (b *bench) scenario(ctx context.Context, s scenario, dir string) (r *result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer func() {
		for _, p := range b.started {
			err = errors.Join(err, p.stop())
		}
		for _, end := range b.ending {
			err = errors.Join(err, end())
		}
		b.started, b.ending = nil, nil
	}()
	if b.self {
		s = itself(s)
	}
	first, second, err := s.start(ctx, b, dir)
	if err != nil {
		return nil, err
	}
	sides := [2]*side{first, second}
	for _, side := range sides {
		if _, err := side.run(ctx, s.warm); err != nil {
			return nil, err
		}
	}
	r = &result{Scenario: s.name, Sides: s.sides, Target: s.target, ByRate: s.byRate, Limit: s.memory}
	for i := range b.pairs {
		var pair [2]turn
		for j := range 2 {
			j ^= i & 1 // each side goes first as often as the other: what drifts with time then cancels out
			if pair[j], err = sides[j].run(ctx, b.requests); err != nil {
				return nil, err
			}
		}
		r.Pairs = append(r.Pairs, pair)
	}
	for i, side := range sides {
		if r.Memory[i][0], r.Memory[i][1], err = side.memory(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// itself turns a scenario into one of the floor against the floor.
func itself(s scenario) scenario {
	mode := s.name
	s.sides, s.target = [2]string{"floor", "floor again"}, 0
	s.start = func(ctx context.Context, b *bench, dir string) (*side, *side, error) {
		var sides [2]*side
		for i := range sides {
			sub := filepath.Join(dir, fmt.Sprint(i))
			if err := os.Mkdir(sub, 0o700); err != nil {
				return nil, nil, err
			}
			p, err := startFloor(ctx, b.floor, mode, "-data", sub)
			if err != nil {
				return nil, nil, err
			}
			sides[i], err = b.join(p, func(address string, n int) (traffic, error) {
				switch mode {
				case "exchange":
					return newExchanges(newKeyring([]string{"gk_live_" + strings.Repeat("x", 51)}), n), nil
				case "login":
					return newLogins(login{"u_floor", strings.Repeat("x", 32)}), nil
				}
				return newRefreshes(ctx, address, login{"u_floor", strings.Repeat("x", 32)})
			})
			if err != nil {
				return nil, nil, err
			}
		}
		return sides[0], sides[1], nil
	}
	return s
}

// build compiles the package, as it is shipped, into the file binary.
func build(ctx context.Context, binary, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}
