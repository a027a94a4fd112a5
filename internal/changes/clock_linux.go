package changes

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that runs while the machine sleeps, and that nobody sets. Only its differences mean anything.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("changes: the kernel has no CLOCK_BOOTTIME: " + err.Error()) // Linux has had it since 2.6.39
	}
	return time.Duration(t.Nano())
}
