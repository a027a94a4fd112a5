// Package beside is for tests and benchmarks that run other programs beside themselves: whether this machine has them, where
// they can listen, what they said, and who clears up after them. It knows none of them: which they are, and how one sees that
// they are up, is left to its callers.
//
// The invariants: what is missing on a machine skips a test, and in CI, where nothing may be missing, fails it, so that no
// test is left out there without anybody's noticing; and what a guard was given to do is done, even if its program is killed.
package beside

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Need is where the program of this name is, from the Debian package of that name. Without it the test ends.
func Need(t testing.TB, program, from string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	// Servers lie in a folder that is on root's path alone.
	if path, e := exec.LookPath(filepath.Join("/usr/sbin", program)); e == nil {
		return path
	}
	Lack(t, "%v: install it with: sudo apt-get install --no-install-recommends %s", err, from)
	return ""
}

// Lack ends a test that this machine has not all for.
func Lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
