package program

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// Other starts another's server, which is found by its name, in dir, waits until answers returns nil, and stops it when the
// test is over. It skips the test where there is no such program, and fails it in CI.
func Other(t *testing.T, dir string, answers func() error, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(beside.Need(t, name, name), args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}
	said := new(beside.Said)
	cmd.Stdout, cmd.Stderr = said, said
	ended, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.Tail())
		}
	})
	for late := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		err := answers()
		if err == nil {
			return
		}
		select {
		case <-ended:
			err = errors.New(cmd.ProcessState.String())
		default:
			if time.Now().Before(late) {
				continue
			}
		}
		t.Fatalf("%s does not answer: %v; it said:\n%s", name, err, said.Tail())
	}
}
