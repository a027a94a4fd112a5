package cluster

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/e2e/program"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	path, remove, err := program.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	binary = path
	return m.Run()
}

// full says whether the stories are told at full length.
func full() bool { return os.Getenv("GATEHOUSE_FULL") != "" }

// size is how often something is done: short, or most where the story is told at full length.
func size[N any](short, most N) N {
	if full() {
		return most
	}
	return short
}

// soon is how long something may take that is promised within d. At full length, on a machine that does nothing else, it is just
// that. Beside other tests the machine may be what is slow, and gets five seconds more.
func soon(d time.Duration) time.Duration { return size(d+5*time.Second, d) }
