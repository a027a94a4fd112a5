package server

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// sealed has everything in the audit trail sealed and signed, sooner than the server would, and returns what it is.
func (w *world) sealed() chain.Report {
	w.t.Helper()
	if err := w.sealer.Seal(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r, err := w.Opened().VerifyAudit(w.t.Context(), chain.Want{})
	if err != nil || r.Checkpoint == nil || r.After > 0 {
		w.t.Fatalf("not sealed: %+v, %v", r, err)
	}
	return r
}

// One session: a server seals, is stopped, backed up and restored; whatever is kept of it elsewhere holds, or says why not.
func TestTheAuditTrailProvesItself(t *testing.T) {
	w := newWorld(t, unlimited)
	_, key, _ := w.issue(auth.APIKey)
	if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key); a.Code != 201 {
		t.Fatal(a.Code)
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // by itself, within a second
		r, err := w.Opened().VerifyAudit(t.Context(), chain.Want{})
		if err == nil && r.Checkpoint != nil {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("nobody seals: %+v, %v", r, err)
		}
	}
	first := w.sealed()
	signer := chain.Fingerprint(first.Checkpoint.Public)
	kept := chain.Point{Seq: first.Checkpoint.Seq, Hash: first.Checkpoint.Hash}
	if lag := w.metric("gatehouse_audit_seal_lag_seconds"); lag == "" {
		t.Error("no metric of the lag")
	}
	path := w.backUp()

	// What comes after the backup is exported, and the server stopped a moment later: the last act is sealed too.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.Registry().SuspendAccount(t.Context(), operator, w.account, false)
	must(err)
	w.stop()
	if !strings.Contains(w.log.String(), signer) {
		t.Error("the log does not say which key signed")
	}
	c := w.config()
	op, err := Open(t.Context(), c, OpenOptions{})
	must(err)
	second, err := op.VerifyAudit(t.Context(), chain.Want{Keys: []string{signer}, Points: []chain.Point{kept}})
	must(err)
	if second.After != 0 || second.Rows <= first.Rows {
		t.Errorf("after an orderly stop: %+v", second)
	}
	latest := chain.Point{Seq: second.Checkpoint.Seq, Hash: second.Checkpoint.Hash}
	var journal bytes.Buffer
	must(op.DB.ExportAudit(t.Context(), backup.NewExporter(&journal)))
	must(op.Close())

	// A journal that somebody changed is not replayed.
	forged := strings.Replace(journal.String(), `"account.suspend"`, `"account.resume"`, 1)
	var broken *chain.Broken
	if _, err := restoreInto(t, c, path, Restore{Replace: true, Journal: strings.NewReader(forged)}); !errors.As(err, &broken) {
		t.Errorf("a forged journal: %v", err)
	}

	// What the journal brings keeps its place, so that what was kept of it holds. No key of before is there.
	_, err = restoreInto(t, c, path, Restore{Replace: true, Journal: &journal})
	must(err)
	op, err = Open(t.Context(), c, OpenOptions{})
	must(err)
	if _, err := op.VerifyAudit(t.Context(), chain.Want{}); !errors.As(err, &broken) || broken.Checkpoint == 0 {
		t.Errorf("restored, and no server ran: %v", err)
	}
	r, err := op.VerifyAudit(t.Context(), chain.Want{Keys: []string{signer}, Points: []chain.Point{kept, latest}})
	must(err)
	if r.Last != latest.Seq || r.Unchained != 1 { // the restore itself
		t.Errorf("restored: %+v", r)
	}
	must(op.Close())
	w.start(unlimited)
	third := w.sealed()
	if chain.Fingerprint(third.Checkpoint.Public) == signer {
		t.Error("the restored database signs with the key of before")
	}
	if _, err := w.Opened().VerifyAudit(t.Context(), chain.Want{Points: []chain.Point{kept, latest}}); err != nil {
		t.Error(err)
	}
	acts, err := w.Registry().Audit(t.Context(), operator, auth.AuditQuery{Action: "audit-key.create", Most: 1})
	must(err)
	if len(acts) != 1 || !strings.Contains(acts[0].Act.Detail, chain.Fingerprint(third.Checkpoint.Public)) {
		t.Errorf("the trail does not tell of its new key: %+v", acts)
	}
	w.stop()

	// Without the journal what came after the backup is lost, and what was kept of it says so.
	_, err = restoreInto(t, c, path, Restore{Replace: true, AcceptRevived: true})
	must(err)
	w.start(unlimited)
	w.sealed()
	if _, err := w.Opened().VerifyAudit(t.Context(), chain.Want{Points: []chain.Point{kept}}); err != nil {
		t.Error(err)
	}
	if _, err := w.Opened().VerifyAudit(t.Context(), chain.Want{Points: []chain.Point{latest}}); !errors.As(err, &broken) {
		t.Errorf("what was lost is not missed: %v", err)
	}
}

// A server whose housekeeping comes when acts are old removes them, and what is left is whole.
func TestOldActsGo(t *testing.T) {
	w := newWorld(t, unlimited+"\naudit: {retention: 24h}\n")
	w.sealed()
	w.move(25 * time.Hour)
	if _, err := w.Registry().CreateAccount(t.Context(), operator, "Another", ""); err != nil {
		t.Fatal(err)
	}
	w.sealed()
	if err := w.cleanOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	acts, err := w.Registry().Audit(t.Context(), operator, auth.AuditQuery{Action: "account.create"})
	if err != nil || len(acts) != 1 {
		t.Errorf("got %+v, %v; want the young one", acts, err)
	}
	if r := w.sealed(); r.Cut == 0 || r.First != r.Cut+1 {
		t.Errorf("got %+v", r)
	}
}
