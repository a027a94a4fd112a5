//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package client

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

// lockFile waits for the lock on path and takes it. The kernel gives it back if the process dies.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		// Not the flock that waits: nothing would end it with ctx.
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = sleep(ctx, 5*time.Millisecond+rand.N(20*time.Millisecond))
		}
		if err != nil {
			f.Close()
			return nil, err
		}
	}
}

// exposed says whether others than the owner may do anything with a file.
func exposed(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// syncDir makes sure that a rename in dir outlives a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
