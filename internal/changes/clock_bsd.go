//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package changes

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that nobody sets. On macOS it runs while the machine sleeps, as on Linux; on the others it may stand
// still. Only its differences mean anything.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("changes: the kernel has no CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(t.Nano())
}
