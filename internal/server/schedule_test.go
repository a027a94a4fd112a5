package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/store"
)

func (w *world) metric(name string) string {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.adminHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(rec.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (w *world) backups() []string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "elsewhere", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// Over a week of days a server makes a backup a day, and keeps the last three; each can be restored.
func TestScheduledBackups(t *testing.T) {
	w := newWorld(t, unlimited)
	if age := w.metric("gatehouse_backup_age_seconds"); age != "+Inf" {
		t.Errorf("before there is any backup its age is %s", age)
	}
	w.configure(unlimited + "backup: {schedule: 24h, keep: 3, dir: " + filepath.Join(w.dir, "elsewhere") + "}\n")
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	made := make(map[string]bool)
	for day := range 7 {
		for range 3 { // it looks more often than there is something to do
			if err := w.backUpOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.move(time.Hour)
		}
		for _, path := range w.backups() {
			made[path] = true
		}
		if got, want := len(w.backups()), min(day+1, 3); got != want {
			t.Fatalf("on day %d there are %d, want %d", day, got, want)
		}
		if len(made) != day+1 {
			t.Fatalf("until day %d there were %d", day, len(made))
		}
		w.move(22 * time.Hour)
	}
	if age := w.metric("gatehouse_backup_age_seconds"); !strings.HasPrefix(age, "89") && !strings.HasPrefix(age, "90") { // 25 hours
		t.Errorf("the age of the last one is %s", age)
	}
	all := w.backups()
	if _, err := w.restore(all[len(all)-1], Restore{Replace: true, AcceptRevived: true}); err != nil {
		t.Error(err)
	}
}

// A backup that fails is told and tried again; nothing that is good goes for it, and what was left half is cleared away.
func TestAScheduledBackupThatFails(t *testing.T) {
	w := newWorld(t, unlimited)
	dir := filepath.Join(w.dir, "elsewhere")
	w.configure(unlimited + "backup: {schedule: 1h, keep: 1, dir: " + dir + "}\n")
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.backUpOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := w.backups()
	half := filepath.Join(dir, ".gatehouse-20260101T000000.000Z.backup.123")
	for path, old := range map[string]time.Duration{half: backupLease + time.Hour, filepath.Join(dir, "notes.txt"): 24 * time.Hour} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-old)); err != nil {
			t.Fatal(err)
		}
	}
	w.move(2 * time.Hour)
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.backUpOnce(t.Context()); err == nil {
		t.Fatal("a backup was made where there is no folder")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, dir); err != nil {
		t.Fatal(err)
	}
	if found := w.backups(); len(found) != 3 || found[1] != good[0] {
		t.Errorf("after it failed there lies %v", found)
	}
	if err := w.backUpOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := w.backups(); len(found) != 2 || found[0] == good[0] {
		t.Errorf("after the next one there lies %v", found)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("what was left half lies there still")
	}
}

// Of many replicas one makes the backup; if it dies, another does after a while.
func TestOneReplicaMakesTheBackup(t *testing.T) {
	w := newWorld(t, unlimited)
	db := w.Opened().DB
	claims := func() (won []string) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				id := fmt.Sprintf("replica-%d", i)
				ok, err := db.ClaimBackup(t.Context(), id, time.Hour, time.Minute)
				if err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					won = append(won, id)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		return won
	}
	first := claims()
	if len(first) != 1 {
		t.Fatalf("%d replicas make the backup", len(first))
	}
	if again := claims(); len(again) != 1 || again[0] != first[0] {
		t.Errorf("%v has it, and then %v", first, again)
	}
	w.move(2 * time.Minute) // it died
	if second := claims(); len(second) != 1 {
		t.Errorf("after it died %d replicas make the backup", len(second))
	}
	if err := db.BackupTaken(t.Context(), store.BySchedule, db.Now()); err != nil {
		t.Fatal(err)
	}
	if late := claims(); len(late) != 0 {
		t.Errorf("once it is made %v make another", late)
	}
	if err := db.BackupTaken(t.Context(), store.ByCommand, db.Now().Add(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.move(time.Hour)
	if next := claims(); len(next) != 1 {
		t.Errorf("when the next is due %d replicas make it: one by a command stands for none", len(next))
	}
}
