package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

func auditKey(t *testing.T) *chain.Key {
	t.Helper()
	k, err := chain.NewKey("audit key", bytes.Repeat([]byte{7}, 32))
	no(t, err)
	return k
}

// chained gives rows their places behind head.
func chained(head chain.Point, rows []backup.Entry) []backup.Entry {
	rows = slices.Clone(rows)
	for i := range rows {
		head = chain.Point{Seq: head.Seq + 1, Hash: chain.Next(head.Hash, head.Seq+1, rows[i])}
		rows[i].Seq, rows[i].Hash = head.Seq, head.Hash
	}
	return rows
}

// checkpoint signs the chain where it ends, with rows behind it.
func (w *World) checkpoint(t *testing.T, s chain.State, rows []backup.Entry, cut backup.Cut) *backup.Checkpoint {
	t.Helper()
	head := s.Head
	if len(rows) > 0 {
		head = chain.Point{Seq: rows[len(rows)-1].Seq, Hash: rows[len(rows)-1].Hash}
	}
	c := auditKey(t).Sign(backup.Checkpoint{Number: s.Checkpoint.Number + 1, Seq: head.Seq, Hash: head.Hash, Cut: cut, At: w.Now()})
	return &c
}

// sealAll seals and signs what is there.
func (w *World) sealAll(t *testing.T) {
	t.Helper()
	s, err := w.AuditState(t.Context(), 10_000)
	no(t, err)
	rows := chained(s.Head, s.Unsealed)
	won, err := w.SealAudit(t.Context(), s.Head, rows, w.checkpoint(t, s, rows, s.Checkpoint.Cut))
	no(t, err)
	if !won {
		t.Fatal("somebody else seals")
	}
}

func (w *World) verified(t *testing.T) chain.Report {
	t.Helper()
	v := chain.NewVerifier(chain.Want{Keys: []string{auditKey(t).Fingerprint()}})
	no(t, w.ExportAudit(t.Context(), v))
	return v.Report()
}

func auditChain(t *testing.T, w *World) {
	ctx := t.Context()
	s, err := w.AuditState(ctx, 10)
	no(t, err)
	if diff := gocmp.Diff(chain.State{}, s); diff != "" {
		t.Errorf("an empty trail (-want +got):\n%s", diff)
	}
	a := w.account(t)
	c := w.credential(t, a.ID)
	jane := act
	jane.Person, jane.Detail = "p_jane", "not \xff text\x00, and not long"
	no(t, w.Note(ctx, jane, auth.Subject{Account: a.ID, Session: "s1", Person: "p_joe"}))
	if s, err = w.AuditState(ctx, 2); err != nil || len(s.Unsealed) != 2 {
		t.Fatalf("got %+v, %v; want two rows", s, err)
	}
	if s, err = w.AuditState(ctx, 10); err != nil || len(s.Unsealed) != 3 {
		t.Fatalf("got %+v, %v; want three rows", s, err)
	}
	want := backup.Entry{
		At: w.Now(), Actor: act.Actor, Action: act.Action, Account: int64(a.ID), Credential: string(c.ID), Secret: 1,
		RequestID: "reqid_1", Address: "192.0.2.1", Detail: "by hand",
	}
	got := s.Unsealed[1]
	if got.Number = 0; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// Two of three are sealed and signed, by whoever knows where the chain ends.
	two := chained(s.Head, s.Unsealed[:2])
	won, err := w.SealAudit(ctx, s.Head, two, w.checkpoint(t, s, two, backup.Cut{}))
	if err != nil || !won {
		t.Fatalf("got %v, %v", won, err)
	}
	if r := w.verified(t); r.Rows != 3 || r.First != 1 || r.Last != 2 || r.Checkpoint.Seq != 2 || r.After != 1 || r.Unchained != 1 {
		t.Errorf("got %+v", r)
	}
	if won, err := w.SealAudit(ctx, s.Head, two, nil); err != nil || won {
		t.Errorf("sealed twice: %v, %v", won, err)
	}
	s, err = w.AuditState(ctx, 10)
	no(t, err)
	if s.Head != (chain.Point{Seq: 2, Hash: two[1].Hash}) || s.Checkpoint.Number != 1 || !s.Checkpoint.At.Equal(w.Now()) || len(s.Unsealed) != 1 {
		t.Errorf("got %+v", s)
	}

	for name, head := range map[string]chain.Point{"another place": {Seq: 1, Hash: two[0].Hash}, "another hash": {Seq: 2, Hash: two[0].Hash}} {
		if won, err := w.SealAudit(ctx, head, chained(head, s.Unsealed), nil); err != nil || won {
			t.Errorf("sealed behind %s: %v, %v", name, won, err)
		}
	}

	// All or nothing: a row that is not there, a number that another checkpoint has.
	gone := chained(s.Head, append(slices.Clone(s.Unsealed), backup.Entry{Number: 4711, At: w.Now(), Action: "x"}))
	if won, err := w.SealAudit(ctx, s.Head, gone, nil); err == nil || won {
		t.Errorf("a row that is not there was sealed: %v, %v", won, err)
	}
	twice := s
	twice.Checkpoint.Number = 0
	if won, err := w.SealAudit(ctx, s.Head, chained(s.Head, s.Unsealed), w.checkpoint(t, twice, nil, backup.Cut{})); err != nil || won {
		t.Errorf("a checkpoint took the place of another: %v, %v", won, err)
	}
	if r := w.verified(t); r.Last != 2 || r.Checkpoints != 1 {
		t.Errorf("got %+v", r)
	}

	// A file that was exported says the same.
	w.sealAll(t)
	var file bytes.Buffer
	no(t, w.ExportAudit(ctx, backup.NewExporter(&file)))
	r, err := chain.VerifyFile(bytes.NewReader(file.Bytes()), chain.Want{Keys: []string{auditKey(t).Fingerprint()}})
	if err != nil || r.Rows != 3 || r.After != 0 || r.Checkpoints != 2 {
		t.Errorf("got %+v, %v\n%s", r, err, file.Bytes())
	}
	stop := errors.New("stop")
	if err := w.ExportAudit(ctx, backup.Acts(func(backup.Entry) error { return stop })); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// Pages are read by thousands of rows: no row is told twice or left out, and checkpoints come where they belong.
func auditPages(t *testing.T, w *World) {
	const rows = 2500
	for i := range rows {
		no(t, w.Note(t.Context(), act, auth.Subject{Account: auth.AccountID(i + 1)}))
		if i == 0 || i == 999 || i == 1000 || i == 1999 {
			w.sealAll(t)
		}
	}
	if r := w.verified(t); r.Rows != rows || r.Last != 2000 || r.Checkpoints != 4 || r.Unchained != 500 {
		t.Errorf("got %+v", r)
	}
	w.sealAll(t)
	if r := w.verified(t); r.Rows != rows || r.Last != rows || r.After != 0 {
		t.Errorf("got %+v", r)
	}

	// And where all of it is old.
	w.wait(time.Hour)
	cut, ok, err := w.NextCut(t.Context(), w.Now())
	if err != nil || !ok || cut.Seq != rows {
		t.Fatalf("got %+v, %v, %v", cut, ok, err)
	}
	s, err := w.AuditState(t.Context(), 1)
	no(t, err)
	if won, err := w.SealAudit(t.Context(), s.Head, nil, w.checkpoint(t, s, nil, cut)); err != nil || !won {
		t.Fatalf("got %v, %v", won, err)
	}
	no(t, w.DropCut(t.Context()))
	if r := w.verified(t); r.Rows != 0 || r.Cut != rows || r.Checkpoints != 1 {
		t.Errorf("got %+v", r)
	}
	no(t, w.Note(t.Context(), act, auth.Subject{}))
	w.sealAll(t)
	if r := w.verified(t); r.Rows != 1 || r.First != rows+1 || r.Checkpoints != 2 {
		t.Errorf("got %+v", r)
	}
}

// Old rows go from the chain's beginning, and what is left stays whole at any moment.
func auditCut(t *testing.T, w *World) {
	ctx := t.Context()
	note := func() { no(t, w.Note(ctx, act, auth.Subject{})) }
	cutTo := func(before time.Time) (backup.Cut, bool) {
		t.Helper()
		cut, ok, err := w.NextCut(ctx, before)
		no(t, err)
		return cut, ok
	}
	if _, ok := cutTo(w.Now().Add(time.Hour)); ok {
		t.Error("an empty trail is cut")
	}
	for range 1200 {
		note()
		w.wait(time.Millisecond)
	}
	if _, ok := cutTo(w.Now()); ok {
		t.Error("what is in no chain yet is cut off")
	}
	w.sealAll(t)
	first := w.Now()
	note()
	w.sealAll(t)
	for name, c := range map[string]struct {
		before time.Time
		want   int64
	}{
		"nothing is old": {first.Add(-1200 * time.Millisecond), 0}, "one row": {first.Add(-1199 * time.Millisecond), 1},
		"all but one": {first, 1200}, "all": {first.Add(time.Hour), 1201},
	} {
		if cut, ok := cutTo(c.before); ok != (c.want > 0) || ok && cut.Seq != c.want {
			t.Errorf("%s: got %+v, %v", name, cut, ok)
		}
	}
	cut, _ := cutTo(first)
	s, err := w.AuditState(ctx, 1)
	no(t, err)
	if won, err := w.SealAudit(ctx, s.Head, nil, w.checkpoint(t, s, nil, cut)); err != nil || !won {
		t.Fatalf("got %v, %v", won, err)
	}
	// Killed here, the rows are there, and told no more.
	if r := w.verified(t); r.Rows != 1 || r.Cut != 1200 || r.First != 1201 || r.Checkpoints != 3 {
		t.Errorf("got %+v", r)
	}
	no(t, w.DropCut(ctx))
	if got := w.trail(t); len(got) != 1 || got[0].Seq != 1201 {
		t.Errorf("got %d acts, want the last", len(got))
	}
	if r := w.verified(t); r.Rows != 1 || r.Cut != 1200 || r.First != 1201 || r.Checkpoints != 2 {
		t.Errorf("got %+v", r)
	}
	if _, ok := cutTo(first); ok {
		t.Error("there is something left to cut")
	}
	no(t, w.DropCut(ctx))
}

func auditQueries(t *testing.T, w *World) {
	ctx := t.Context()
	begin := w.Now()
	accounts := []auth.AccountID{100001, 100002, 0}
	for i := range 30 {
		a := auth.Act{Actor: "test", Action: fmt.Sprintf("act.%d", i%2)}
		about := auth.Subject{Account: accounts[i%3]}
		if i%5 == 0 {
			about.Credential = "c1"
		}
		if i%10 == 0 {
			a.Person = "p1"
		}
		if i%10 == 5 {
			about.Person = "p1"
		}
		no(t, w.Note(ctx, a, about))
		if i%2 == 1 { // two at each moment
			w.wait(time.Second)
		}
	}
	for name, c := range map[string]struct {
		q    auth.AuditQuery
		want int
	}{
		"all":           {auth.AuditQuery{}, 30},
		"seven":         {auth.AuditQuery{Most: 7}, 7},
		"an account's":  {auth.AuditQuery{Account: 100002}, 10},
		"a credential":  {auth.AuditQuery{Credential: "c1"}, 6},
		"a person":      {auth.AuditQuery{Person: "p1"}, 6},
		"an action":     {auth.AuditQuery{Action: "act.1"}, 15},
		"both":          {auth.AuditQuery{Action: "act.1", Account: 100001}, 5},
		"since":         {auth.AuditQuery{Since: begin.Add(10 * time.Second)}, 10},
		"until":         {auth.AuditQuery{Until: begin.Add(10 * time.Second)}, 20},
		"between":       {auth.AuditQuery{Since: begin.Add(time.Second), Until: begin.Add(3 * time.Second)}, 4},
		"nobody's":      {auth.AuditQuery{Account: 5}, 0},
		"of everything": {auth.AuditQuery{Account: 100001, Credential: "c1", Person: "p1", Action: "act.0", Since: begin, Until: begin.Add(time.Hour)}, 1},
	} {
		got, err := w.Audit(ctx, c.q)
		no(t, err)
		if len(got) != c.want {
			t.Errorf("%s: got %d, want %d", name, len(got), c.want)
		}
		// In pages of three, of which one row more is read, it is the same.
		var paged []auth.AuditEntry
		if page := c.q; c.q.Most == 0 {
			for page.Most = 3; ; {
				some, err := w.Audit(ctx, page)
				no(t, err)
				if paged = append(paged, some...); len(some) < 3 {
					break
				}
				page.Before = some[2].Place()
			}
			if diff := gocmp.Diff(got, paged, same); diff != "" {
				t.Errorf("%s, by pages (-want +got):\n%s", name, diff)
			}
		}
	}
}

func auditKeys(t *testing.T, w *World) {
	ctx := t.Context()
	row := func(id auth.KeyID, master string) auth.KeyRow {
		return auth.KeyRow{ID: id, Ring: auth.AuditRing, Algorithm: "EdDSA", Sealed: []byte("sealed " + id), MasterKey: master, CreatedAt: w.Now()}
	}
	if got, err := w.AuditKeys(ctx); err != nil || len(got) > 0 {
		t.Errorf("got %+v, %v; want none", got, err)
	}
	lost, first := row("lost", "master 0"), row("first", "master 1")
	no(t, w.AddAuditKey(ctx, lost, "", act))
	is(t, "another first", w.AddAuditKey(ctx, first, "", act), auth.ErrConflict)
	no(t, w.AddAuditKey(ctx, first, "lost", act))
	if n := len(w.trail(t)); n != 2 {
		t.Errorf("%d acts, want 2", n)
	}
	oneWins(t, race(16, func(i int) error {
		return w.AddAuditKey(ctx, row(auth.KeyID(fmt.Sprint("key ", i)), "master 1"), "first", act)
	}), auth.ErrConflict)

	n, err := w.Reseal(ctx, "master 1", "master 2", []byte("check 2"), func(k auth.Sealed) ([]byte, error) {
		if k.Table != "audit_keys" || k.MasterKey != "master 1" {
			t.Errorf("seals %+v anew", k)
		}
		return []byte("anew " + k.Row), nil
	}, act)
	if err != nil || n != 2 {
		t.Fatalf("got %d, %v; want 2", n, err)
	}
	got, err := w.AuditKeys(ctx)
	no(t, err)
	first.Sealed, first.MasterKey = []byte("anew first"), "master 2"
	if diff := gocmp.Diff([]auth.KeyRow{lost, first}, got[:2]); diff != "" || got[2].MasterKey != "master 2" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of those who seal at once one wins, and the others change nothing.
func raceSeal(t *testing.T, w *World) {
	for range 5 {
		no(t, w.Note(t.Context(), act, auth.Subject{}))
	}
	for round := range 4 {
		s, err := w.AuditState(t.Context(), 10)
		no(t, err)
		lost := auth.ErrConflict.Saying("lost")
		oneWins(t, race(16, func(i int) error {
			rows := chained(s.Head, s.Unsealed[:1+i%len(s.Unsealed)]) // they saw different things
			won, err := w.SealAudit(t.Context(), s.Head, rows, w.checkpoint(t, s, rows, backup.Cut{}))
			if err == nil && !won {
				err = lost
			}
			return err
		}), auth.ErrConflict)
		if r := w.verified(t); r.Checkpoints != int64(round+1) || r.After != r.Unchained {
			t.Errorf("got %+v", r)
		}
		no(t, w.Note(t.Context(), act, auth.Subject{}))
	}
}
