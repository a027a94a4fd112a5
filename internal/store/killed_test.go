package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// TestKilled kills a process that writes, at a random moment, and looks for everything it had acknowledged.
func TestKilled(t *testing.T) {
	if path := os.Getenv("GATEHOUSE_TEST_KILLED"); path != "" {
		writeUntilKilled(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db := newDB(t, path)
	a, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	c := auth.Credential{ID: "c1", Account: a.ID, Kind: auth.Login, Secrets: []auth.Secret{{Number: 1, Digest: []byte("d"), Pepper: "p", CreatedAt: time.Now()}}}
	if err := db.CreateCredential(t.Context(), c, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for round := range 4 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "GATEHOUSE_TEST_KILLED="+path, "GATEHOUSE_TEST_ROUND="+strconv.Itoa(round))
		pipe, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		generations := make(map[string]int64)
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			if id, generation, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(id, "session") {
				g, err := strconv.ParseInt(generation, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				generations[id] = max(generations[id], g)
			}
			if n == 100+round*37 {
				child.Process.Kill() // its own child: SIGKILL, in the middle of whatever it does
			}
		}
		child.Wait()
		if len(generations) == 0 {
			t.Fatal("the child acknowledged nothing")
		}
		after, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := after.Check(t.Context()); err != nil {
			t.Error(err)
		}
		for id, acknowledged := range generations {
			s, err := after.Session(t.Context(), auth.SessionID(id))
			if err != nil || s.Generation < acknowledged || s.Generation > acknowledged+1 || !s.EndedAt.IsZero() {
				t.Errorf("round %d: %s was acknowledged at generation %d; got %+v and %v", round, id, acknowledged, s, err)
			}
		}
		after.Close()
	}
}

// writeUntilKilled logs in and refreshes, and prints each generation once it has been acknowledged.
func writeUntilKilled(t *testing.T, path string) {
	db, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			id := auth.SessionID(fmt.Sprintf("session-%s-%d", os.Getenv("GATEHOUSE_TEST_ROUND"), worker))
			until := db.Now().Add(time.Hour)
			login := auth.NewSession{ID: id, Credential: "c1", SecretDigest: []byte("d"), Expires: until, AccessExpires: until}
			if _, err := db.StartSession(t.Context(), login); err != nil {
				t.Error(err)
				return
			}
			for generation := int64(0); ; generation++ {
				fmt.Printf("%s %d\n", id, generation)
				if _, _, err := db.RotateSession(t.Context(), id, auth.Spend{Generation: generation, Until: until, AccessUntil: until}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
