package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// TestWakes: a commit by a command that runs beside the server is noticed, a login is not.
func TestWakes(t *testing.T) {
	db := newDB(t, "")
	wakes := db.Wakes()
	beside, err := Open(t.Context(), Config{Path: db.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	next := func(what string) {
		t.Helper()
		select {
		case <-wakes:
		case <-time.After(ample):
			t.Errorf("%s woke nobody", what)
		}
	}
	next("the beginning")
	a, err := beside.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, before, _, err := db.Changes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := beside.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{}); err != nil {
			t.Fatal(err)
		}
		next("a command")
		if _, head, _, err := db.Changes(t.Context(), before); err != nil || head != before+1 {
			t.Errorf("after the wake: got head %d and %v, want %d", head, err, before+1)
		}
	}
}

// TestCommandUnderLoad: a command gets its turn while a server writes without a pause, and waits for one that holds on.
func TestCommandUnderLoad(t *testing.T) {
	server := newDB(t, "")
	a, err := server.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 32 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := server.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{}); err != nil {
					t.Errorf("the server: %v", err)
				}
			}
		})
	}
	command, err := Open(t.Context(), Config{Path: server.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	for range 20 {
		if _, err := command.RevokeContract(t.Context(), a.ID, auth.Orders, auth.Act{}); err != nil {
			t.Errorf("the command: %v", err)
		}
	}
	stop()
	load.Wait()

	release := hold(t, command)
	done := make(chan error)
	go func() {
		_, err := server.CreateAccount(t.Context(), "Beta", "", auth.Act{})
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("two wrote at once: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("once the other was done: %v", err)
	}
}

// TestManyChanges: whoever is far behind gets the log in pieces, each of one moment.
func TestManyChanges(t *testing.T) {
	db := newDB(t, "")
	const many = 2*mostChanges + 5
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		for range many {
			if _, err := t.append(auth.Change{Of: auth.ChangedKeys, At: db.Now()}); err != nil {
				return none, err
			}
		}
		return none, nil
	}); err != nil {
		t.Fatal(err)
	}
	<-db.wake.c
	var at auth.Position
	for _, want := range []auth.Position{mostChanges, 2 * mostChanges, many} {
		_, head, changes, err := db.Changes(t.Context(), at)
		if err != nil || head != want || len(changes) != int(want-at) || changes[0].Number != at+1 {
			t.Fatalf("after %d: got head %d, %d changes and %v, want head %d", at, head, len(changes), err, want)
		}
		at = head
		select {
		case <-db.wake.c:
			if at == many {
				t.Error("woken once more at the end")
			}
		default:
			if at != many {
				t.Error("not woken for the rest")
			}
		}
	}
}
