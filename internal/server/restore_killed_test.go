package server

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/store"
)

// Killed at whatever moment, a restore leaves the database that was there, or the one that was restored, or, between two
// renamings, one that is refused; and it can be begun again.
func TestAKilledRestore(t *testing.T) {
	if dir := os.Getenv("GATEHOUSE_TEST_RESTORE"); dir != "" {
		restoreUntilKilled(t, dir, os.Getenv("GATEHOUSE_TEST_BACKUP"))
		return
	}
	w := newWorld(t, unlimited)
	path := w.backUp()
	w.stop()
	meta := func() (store.Meta, error) {
		db, err := store.Open(t.Context(), store.Config{Path: DatabasePath(w.dir)})
		if err != nil {
			return store.Meta{}, err
		}
		defer db.Close()
		return db.Meta(t.Context())
	}
	before, err := meta()
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []struct {
		said  string        // after which word of the child's
		after time.Duration // and how much later
	}{{"examined", 0}, {"loaded", 0}, {"loaded", time.Millisecond}, {"loaded", 5 * time.Millisecond}, {"loaded", 20 * time.Millisecond}} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledRestore$")
		child.Env = append(os.Environ(), "GATEHOUSE_TEST_RESTORE="+w.dir, "GATEHOUSE_TEST_BACKUP="+path)
		pipe, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		met := false
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			if lines.Text() == when.said && !met {
				met = true
				time.Sleep(when.after)
				child.Process.Kill()
			}
		}
		child.Wait()
		if !met {
			t.Fatalf("the child never said %q", when.said)
		}
		after, err := meta()
		if errors.Is(err, store.ErrInterrupted) {
			continue
		}
		if err != nil {
			t.Fatalf("killed %v after %q it leaves %v", when.after, when.said, err)
		}
		if when.after == 0 && after.Incarnation != before.Incarnation && when.said == "examined" {
			t.Errorf("killed after %q it has put another database there", when.said)
		}
		before = after
	}
	restored, err := restoreInto(t, w.config(), path, Restore{Replace: true, AcceptRevived: true})
	if err != nil {
		t.Fatal(err)
	}
	if after, err := meta(); err != nil || after.Incarnation != restored.Incarnation {
		t.Errorf("begun again it leaves %s, %v; want %s", after.Incarnation, err, restored.Incarnation)
	}
}

// restoreUntilKilled says how far it is.
func restoreUntilKilled(t *testing.T, dir, path string) {
	c, err := config.Load(config.Options{Dir: t.TempDir(), Flags: map[string]string{"data_dir": dir}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = restoreInto(t, c, path, Restore{Replace: true, AcceptRevived: true, Progress: func(doing string, _, _ int64) { fmt.Println(doing) }})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("restored")
}
