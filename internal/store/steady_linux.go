package store

import "golang.org/x/sys/unix"

// steady is the clock that runs on while the machine is suspended.
const steady = unix.CLOCK_BOOTTIME
