package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// garbage is how much may lie around before it is collected, for what is alive in the heap: Go adds, in proportion, some for
	// stacks and global variables, which it looks through too. Go's default is as much as is alive, which for a server that
	// keeps next to nothing means a collection every few hundred requests.
	garbage = 32 << 20
	// mostGarbage is for a server that keeps a lot in memory. In between it is Go's default, as much as is alive.
	mostGarbage = 48 << 20
	fairShare   = 100 // percent of what is alive

	lookEvery = time.Second
)

// collectGarbage sets how often garbage is collected, by what is alive, until ctx ends. Whoever sets GOGC himself is left to it.
// What starting up has left behind is given back first, when ready says that it is over: an idle server would keep it for good.
func collectGarbage(ctx context.Context, ready <-chan struct{}) {
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	debug.FreeOSMemory()
	_ = unmapFiles() // without /proc the server is larger, and nothing else
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	now := fairShare
	for {
		metrics.Read(alive)
		if next := garbagePercent(alive[0].Value.Uint64()); next < now*9/10 || next > now*11/10 {
			debug.SetGCPercent(next)
			now = next
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// garbagePercent is how much garbage may lie around, in percent of what is alive.
func garbagePercent(alive uint64) int {
	alive = max(alive, 1<<20)
	least, most := int(garbage*100/alive), int(mostGarbage*100/alive)
	return min(max(least, fairShare), max(most, 1))
}
