//go:build !linux

package store

import "golang.org/x/sys/unix"

// steady is the clock that runs on while the machine is suspended: on macOS this is it.
const steady = unix.CLOCK_MONOTONIC
