package store

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Two refreshes race, and the disk stands still for longer than the leeway between them: the one that was late is late for that
// alone, and the session lives on. One that is asked for after the leeway is a theft.
func TestARaceAcrossAStallIsNoTheft(t *testing.T) {
	var offset atomic.Int64
	start := time.Now()
	db := newDBAt(t, "", func() time.Time { return start.Add(time.Duration(offset.Load())) })
	a, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	c := auth.Credential{ID: "c1", Account: a.ID, Kind: auth.Login, Secrets: []auth.Secret{{Number: 1, Digest: []byte("d"), Pepper: "p", CreatedAt: start}}}
	if err := db.CreateCredential(t.Context(), c, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	until := start.Add(time.Hour)
	s, err := db.StartSession(t.Context(), auth.NewSession{ID: "s1", Credential: "c1", SecretDigest: []byte("d"), Expires: until, AccessExpires: until})
	if err != nil {
		t.Fatal(err)
	}
	rotate := func() error {
		_, _, err := db.RotateSession(t.Context(), s.ID, auth.Spend{
			Until: until, AccessUntil: until, Leeway: 10 * time.Second, OnReuse: auth.RevokeSession, RevokedUntil: until,
		})
		return err
	}
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	release := hold(t, db)
	raced := make(chan error)
	go func() { raced <- rotate() }()
	waiting(db, 1)
	offset.Store(int64(11 * time.Second))
	release()
	if err := <-raced; !errors.Is(err, auth.ErrSpent) {
		t.Errorf("the one that raced: %v, want %v", err, auth.ErrSpent)
	}
	if err := rotate(); !errors.Is(err, auth.ErrReused) {
		t.Errorf("one that is asked for after the leeway: %v, want %v", err, auth.ErrReused)
	}
}
