package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
)

const (
	racers = 16
	rounds = 10
)

func raceCreate(t *testing.T, w *World) {
	oneWins(t, race(racers, func(i int) error {
		return w.Create(t.Context(), store.Birth{Incarnation: fmt.Sprint(i), SealCheck: []byte("x"), MasterKey: "m"})
	}), auth.ErrConflict)
}

func raceReferences(t *testing.T, w *World) {
	oneWins(t, race(racers, func(int) error {
		_, err := w.CreateAccount(t.Context(), "Acme", "C-1", act)
		return err
	}), auth.ErrConflict)
	all, err := w.Accounts(t.Context(), auth.AccountQuery{})
	no(t, err)
	if len(all) != 1 || all[0].ID != auth.FirstAccount {
		t.Errorf("got %+v, want one account, and no number lost", all)
	}
}

// raceGeneration: of many refreshes of one token, without a key or with different keys, exactly one succeeds.
func raceGeneration(t *testing.T, w *World) {
	s := w.login(t, w.credential(t, w.account(t).ID).ID)
	for round := range int64(rounds) {
		oneWins(t, race(racers, func(i int) error {
			key := ""
			if i%2 == 0 {
				key = fmt.Sprintf("key %d of %d", i, round)
			}
			_, _, err := w.RotateSession(t.Context(), s.ID, w.spend(round, key))
			return err
		}), auth.ErrSpent)
	}
	got, err := w.Session(t.Context(), s.ID)
	no(t, err)
	if got.Generation != rounds || !got.EndedAt.IsZero() {
		t.Errorf("got %+v, want generation %d, alive", got, rounds)
	}
}

// raceReplay: under the same key all succeed, with the same row.
func raceReplay(t *testing.T, w *World) {
	s := w.login(t, w.credential(t, w.account(t).ID).ID)
	for round := range int64(rounds) {
		var mu sync.Mutex
		first := 0
		for _, err := range race(racers, func(int) error {
			got, replayed, err := w.RotateSession(t.Context(), s.ID, w.spend(round, "key"))
			mu.Lock()
			defer mu.Unlock()
			if !replayed {
				first++
			}
			if err == nil && got.Generation != round+1 {
				err = fmt.Errorf("got generation %d, want %d", got.Generation, round+1)
			}
			return err
		}) {
			no(t, err)
		}
		if first != 1 {
			t.Errorf("got %d first uses, want 1", first)
		}
	}
}

// raceRefreshLogout: whatever the order, once both are answered nothing from before can be refreshed.
func raceRefreshLogout(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	kill := []func(auth.Session) error{
		func(auth.Session) error { _, err := w.RevokeContract(ctx, a.ID, auth.B2B, act); return err },
		func(s auth.Session) error {
			_, err := w.RevokeSession(ctx, s.ID, a.ID, w.Now().Add(time.Hour), "x", act)
			return err
		},
		func(auth.Session) error {
			_, _, err := w.RotateSecret(ctx, c.ID, digest("first"), "p", time.Time{}, true, act)
			if errors.Is(err, auth.ErrConflict) {
				return nil
			}
			return err
		},
	}
	for round := range 3 * rounds {
		s := w.login(t, c.ID)
		w.wait(time.Millisecond)
		errs := race(2, func(i int) error {
			if i == 0 {
				return kill[round%len(kill)](s)
			}
			_, _, err := w.RotateSession(ctx, s.ID, w.spend(0, ""))
			return err
		})
		no(t, errs[0])
		if errs[1] != nil {
			is(t, "the refresh that lost", errs[1], auth.ErrEnded)
		}
		for generation := range int64(2) {
			if _, err := w.refresh(t, s.ID, generation, ""); !errors.Is(err, auth.ErrEnded) && !errors.Is(err, auth.ErrBadRefresh) {
				t.Errorf("afterwards generation %d: got %v", generation, err)
			}
		}
	}
}

// raceLoginLogout: a session is either from before a logout, and dead, or has a position that lives; and what a login got
// that was sent after the logout was answered always lives.
func raceLoginLogout(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	for range rounds {
		var mu sync.Mutex
		var started []auth.Session
		for _, err := range race(racers, func(i int) error {
			if i%4 == 0 {
				r, err := w.RevokeContract(ctx, a.ID, auth.B2B, act)
				if err != nil {
					return err
				}
				s, err := w.StartSession(ctx, w.newSession(c.ID))
				if err == nil && s.Position < r.Position {
					err = fmt.Errorf("a login after the logout at %d got position %d", r.Position, s.Position)
				}
				return err
			}
			s, err := w.StartSession(ctx, w.newSession(c.ID))
			mu.Lock()
			defer mu.Unlock()
			started = append(started, s)
			return err
		}) {
			no(t, err)
		}
		now, err := w.Account(ctx, a.ID)
		no(t, err)
		for _, s := range started {
			_, err := w.refresh(t, s.ID, 0, "")
			if dead := s.Position < now.DeadBelow[auth.B2B.Index()]; dead != errors.Is(err, auth.ErrEnded) {
				t.Errorf("position %d, dead below %d: got %v", s.Position, now.DeadBelow[auth.B2B.Index()], err)
			}
		}
	}
	_, _, changes, err := w.Changes(ctx, 0)
	no(t, err)
	for i, change := range changes {
		if change.Number != auth.Position(i+1) {
			t.Fatalf("change %d has number %d: numbers have no gaps", i, change.Number)
		}
	}
}

func raceRotateSecret(t *testing.T, w *World) {
	c := w.credential(t, w.account(t).ID)
	for round := range rounds {
		oneWins(t, race(racers, func(i int) error {
			s, _, err := w.RotateSecret(t.Context(), c.ID, digest(fmt.Sprintf("%d of %d", i, round)), "p", w.Now().Add(time.Hour), i%2 == 0, act)
			if err == nil && s.Number != round+2 {
				err = fmt.Errorf("got number %d, want %d", s.Number, round+2)
			}
			return err
		}), auth.ErrConflict)
		w.wait(time.Hour)
	}
}

func raceEndRotation(t *testing.T, w *World) {
	ctx := t.Context()
	c := w.credential(t, w.account(t).ID)
	for range rounds {
		w.wait(time.Minute)
		_, _, err := w.RotateSecret(ctx, c.ID, digest("next"), "p", w.Now().Add(time.Hour), false, act)
		no(t, err)
		oneWins(t, race(racers, func(i int) error {
			var err error
			if i%2 == 0 {
				_, err = w.FinishRotation(ctx, c.ID, act)
			} else {
				_, err = w.UndoRotation(ctx, c.ID, act)
			}
			return err
		}), auth.ErrConflict)
	}
}

// raceRevoke: each revocation happens once, is written down once, and everybody else learns that it had been done.
func raceRevoke(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	c := w.credential(t, a.ID)
	s := w.login(t, c.ID)
	no(t, w.AddKey(ctx, key("k", auth.SigningRing, w.Now()), "", act))
	head, acts := w.head(t), len(w.trail(t))
	for name, do := range map[string]func() (auth.Revoked, error){
		"credential": func() (auth.Revoked, error) { return w.RevokeCredential(ctx, c.ID, act) },
		"session": func() (auth.Revoked, error) {
			return w.RevokeSession(ctx, s.ID, a.ID, w.Now().Add(time.Hour), "x", act)
		},
		"key":     func() (auth.Revoked, error) { return w.RevokeKey(ctx, "k", nil, act) },
		"suspend": func() (auth.Revoked, error) { return w.SuspendAccount(ctx, a.ID, false, act) },
	} {
		var mu sync.Mutex
		did := 0
		for _, err := range race(racers, func(int) error {
			r, err := do()
			mu.Lock()
			defer mu.Unlock()
			if !r.Already {
				did++
			}
			return err
		}) {
			no(t, err)
		}
		head++
		acts++
		if did != 1 || w.head(t) != head || len(w.trail(t)) != acts {
			t.Errorf("%s: %d did it, head %d, %d acts; want 1, %d, %d", name, did, w.head(t), len(w.trail(t)), head, acts)
		}
	}
}

// raceLastEntry: two who each take one of the last two entries must not open the account between them.
func raceLastEntry(t *testing.T, w *World) {
	ctx := t.Context()
	a := w.account(t)
	for range rounds {
		var entries []auth.AllowEntry
		for i := range racers {
			entries = append(entries, auth.AllowEntry{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)})
		}
		_, err := w.AllowIP(ctx, a.ID, entries, act)
		no(t, err)
		lost := 0
		for _, err := range race(racers, func(i int) error {
			_, err := w.RemoveIP(ctx, a.ID, []netip.Prefix{entries[i].Prefix}, false, act)
			return err
		}) {
			if err != nil {
				is(t, "the last one", err, auth.ErrConflict)
				lost++
			}
		}
		got, err := w.Account(ctx, a.ID)
		no(t, err)
		if lost != 1 || len(got.Allowlist) != 1 {
			t.Errorf("%d lost and %d entries are left, want 1 and 1", lost, len(got.Allowlist))
		}
	}
}

func raceKeys(t *testing.T, w *World) {
	ctx := t.Context()
	after := auth.KeyID("")
	for round := range rounds {
		w.wait(time.Minute)
		oneWins(t, race(racers, func(i int) error {
			return w.AddKey(ctx, key(auth.KeyID(fmt.Sprintf("k%d.%d", round, i)), auth.SigningRing, w.Now()), after, act)
		}), auth.ErrConflict)
		rows, err := w.Keys(ctx)
		no(t, err)
		if len(rows) != round+1 {
			t.Fatalf("got %d keys, want %d", len(rows), round+1)
		}
		after = rows[round].ID
	}
}

func raceUseOnce(t *testing.T, w *World) {
	for round := range rounds {
		oneWins(t, race(racers, func(int) error {
			first, err := w.UseOnce(t.Context(), fmt.Append(nil, "assertion ", round), w.Now().Add(time.Minute))
			if err == nil && !first {
				err = auth.ErrConflict
			}
			return err
		}), auth.ErrConflict)
	}
}

// raceAnswers: whoever asks, and whoever gives up while others ask, nobody gets another's answer.
func raceAnswers(t *testing.T, w *World) {
	a := w.account(t)
	var ids []auth.CredentialID
	for range racers {
		ids = append(ids, w.credential(t, a.ID).ID)
	}
	for _, err := range race(racers, func(i int) error {
		for n := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			if n%3 == 0 {
				time.AfterFunc(time.Duration(n)*10*time.Microsecond, cancel)
			}
			h, err := w.Holder(ctx, auth.Login, ids[i])
			if err == nil && h.ID != ids[i] || err != nil && !errors.Is(err, auth.ErrOverloaded) {
				cancel()
				return fmt.Errorf("holder: got %s and %w, want %s", h.ID, err, ids[i])
			}
			n := w.newSession(ids[i])
			s, err := w.StartSession(ctx, n)
			if err == nil && (s.ID != n.ID || s.Credential != ids[i]) || err != nil && !errors.Is(err, auth.ErrOverloaded) {
				cancel()
				return fmt.Errorf("login: got %+v and %w, want %s", s, err, n.ID)
			}
			cancel()
		}
		return nil
	}) {
		no(t, err)
	}
}
