package beside

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAProcessAndItsLog(t *testing.T) {
	var p *Process
	if p.Running() {
		t.Error("what was never started is running")
	}
	log := filepath.Join(t.TempDir(), "log")
	for _, said := range []string{"first", "second"} {
		cmd := exec.Command("sh", "-c", "echo "+said+"; cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if p, err = Start(cmd, log); err != nil {
			t.Fatal(err)
		}
		if !p.Running() {
			t.Error("it ended by itself")
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		<-p.Ended
		if p.Running() {
			t.Error("it is running after its end")
		}
	}
	if got := LogTail(log); got != "first\nsecond\n" {
		t.Errorf("the log holds %q", got)
	}
	if got := LogTail(filepath.Join(log, "none")); !strings.Contains(got, "none") {
		t.Errorf("without a log: %q", got)
	}
}

// A guard does what it was given when it is closed, and when whoever started it dies without a word.
func TestAGuard(t *testing.T) {
	const script = `echo "$1" >"$2"`
	if file := os.Getenv("BESIDE_ORPHAN"); file != "" {
		if _, err := Watch(script, "orphaned", file); err != nil {
			t.Fatal(err)
		}
		os.Exit(7)
	}
	dir := t.TempDir()
	closed, orphaned := filepath.Join(dir, "closed"), filepath.Join(dir, "orphaned")
	g, err := Watch(script, "closed", closed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(closed); err == nil {
		t.Error("it did not wait")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if got := LogTail(closed); got != "closed\n" {
		t.Errorf("closed, it left %q", got)
	}

	cmd := exec.Command(os.Args[0], "-test.run=^TestAGuard$")
	cmd.Env = append(os.Environ(), "BESIDE_ORPHAN="+orphaned)
	if said, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 7 {
		t.Fatalf("%s", said)
	}
	for late := time.Now().Add(time.Minute); LogTail(orphaned) != "orphaned\n"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("orphaned, it left %q", LogTail(orphaned))
		}
	}
}
