package store

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// TestEveryStatementFails fails, in each method that writes, each statement in turn. Whatever fails, the method says so,
// and nothing of it is there; and once the failure has passed the same call succeeds.
func TestEveryStatementFails(t *testing.T) {
	ctx := t.Context()
	template := newDB(t, "")
	at := time.Now()
	login := func(id auth.SessionID) auth.NewSession {
		return auth.NewSession{ID: id, Credential: "c1", SecretDigest: []byte("d1"), Expires: at.Add(time.Hour), AccessExpires: at.Add(time.Hour)}
	}
	until := at.Add(time.Hour)
	spend := auth.Spend{Until: until, AccessUntil: until, Leeway: time.Minute, OnReuse: auth.RevokeSession, RevokedUntil: until}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := template.CreateAccount(ctx, "Acme", "C-1", auth.Act{})
	must(err)
	suspended, err := template.CreateAccount(ctx, "Beta", "", auth.Act{})
	must(err)
	_, err = template.SuspendAccount(ctx, suspended.ID, false, auth.Act{})
	must(err)
	credential := func(id auth.CredentialID) auth.Credential {
		first := auth.Secret{Number: 1, Digest: []byte("d1"), Pepper: "p", CreatedAt: at}
		return auth.Credential{ID: id, Account: a.ID, Kind: auth.Login, Scope: "a b", CreatedAt: at, Secrets: []auth.Secret{first}}
	}
	must(template.CreateCredential(ctx, credential("c1"), auth.Act{}))
	must(template.CreateCredential(ctx, credential("rotating"), auth.Act{}))
	_, _, err = template.RotateSecret(ctx, "rotating", []byte("d2"), "p", at.Add(time.Hour), false, auth.Act{})
	must(err)
	for _, id := range []auth.SessionID{"s1", "narrowed", "used"} {
		_, err = template.StartSession(ctx, login(id))
		must(err)
	}
	_, _, err = template.RotateSession(ctx, "used", spend)
	must(err)
	next := spend
	next.Generation = 1
	_, _, err = template.RotateSession(ctx, "used", next)
	must(err)
	office := netip.MustParsePrefix("192.0.2.0/24")
	_, err = template.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: office}}, auth.Act{})
	must(err)
	must(template.AddKey(ctx, auth.KeyRow{ID: "k1", Ring: auth.SigningRing, Sealed: []byte("s"), MasterKey: "master 1"}, "", auth.Act{}))
	must(template.Register(ctx, auth.Replica{ID: "r1"}))
	must(template.WriteUsage(ctx, []auth.UsageRow{{Account: a.ID, Hour: at, Count: 1}}, nil))
	must(template.WriteRefusals(ctx, []auth.Refusal{{At: at, RequestIDs: []string{"r"}}}))
	inhabited(t, template)
	must(template.Close())

	act := auth.Act{Action: "test"}
	// What is done under a key, as its changer believes, is there with its answer or not at all.
	under := act
	under.Terms = auth.Terms{
		Account: func(auth.Account) bool { return true }, Credential: func(auth.Credential) bool { return true },
		Once: &auth.Once{Key: []byte("key"), Request: []byte("r"), Until: until, Answer: func(any) string { return "{}" }},
	}
	short := "a"
	for _, flow := range []struct {
		name string
		run  func(db *DB) error
		want error // nil, or an outcome that is committed and told as an error
	}{
		{"create account", func(db *DB) error { _, err := db.CreateAccount(ctx, "New", "C-2", act); return err }, nil},
		{"create account under a key", func(db *DB) error { _, err := db.CreateAccount(ctx, "New", "", under); return err }, nil},
		{"replace an allowlist under a key", func(db *DB) error {
			_, err := db.ReplaceAllowlist(ctx, a.ID, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("::/0")}},
				auth.AllowlistTag([]auth.AllowEntry{{Prefix: office}}), under.Terms, []auth.Act{act, act})
			return err
		}, nil},
		{"replace an allowlist by itself under a key", func(db *DB) error {
			same := []auth.AllowEntry{{Prefix: office}}
			_, err := db.ReplaceAllowlist(ctx, a.ID, same, auth.AllowlistTag(same), under.Terms, nil)
			return err
		}, nil},
		{"rename account", func(db *DB) error { ref := "C-3"; _, err := db.RenameAccount(ctx, a.ID, "X", &ref, act); return err }, nil},
		{"suspend account", func(db *DB) error { _, err := db.SuspendAccount(ctx, a.ID, true, act); return err }, nil},
		{"resume account", func(db *DB) error { _, err := db.ResumeAccount(ctx, suspended.ID, act); return err }, nil},
		{"delete account", func(db *DB) error { _, err := db.DeleteAccount(ctx, a.ID, act); return err }, nil},
		{"limit account", func(db *DB) error {
			_, err := db.LimitAccount(ctx, a.ID, auth.Rate{Count: 1, Per: time.Second}, act)
			return err
		}, nil},
		{"allow addresses", func(db *DB) error {
			_, err := db.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: netip.MustParsePrefix("::/0")}, {Prefix: office, Note: "x"}}, act)
			return err
		}, nil},
		{"remove addresses", func(db *DB) error { _, err := db.RemoveIP(ctx, a.ID, []netip.Prefix{office}, true, act); return err }, nil},
		{"create credential", func(db *DB) error { return db.CreateCredential(ctx, credential("c2"), act) }, nil},
		{"update credential", func(db *DB) error {
			_, err := db.UpdateCredential(ctx, "c1", auth.CredentialUpdate{Scope: &short}, act)
			return err
		}, nil},
		{"revoke credential", func(db *DB) error { _, err := db.RevokeCredential(ctx, "c1", act); return err }, nil},
		{"rotate secret", func(db *DB) error {
			_, _, err := db.RotateSecret(ctx, "c1", []byte("x"), "p", at, true, act)
			return err
		}, nil},
		{"rotate secret under a key", func(db *DB) error {
			_, _, err := db.RotateSecret(ctx, "c1", []byte("x"), "p", until, false, under)
			return err
		}, nil},
		{"finish rotation", func(db *DB) error { _, err := db.FinishRotation(ctx, "rotating", act); return err }, nil},
		{"undo rotation", func(db *DB) error { _, err := db.UndoRotation(ctx, "rotating", act); return err }, nil},
		{"start session", func(db *DB) error { _, err := db.StartSession(ctx, login("new")); return err }, nil},
		{"refresh", func(db *DB) error { _, _, err := db.RotateSession(ctx, "s1", spend); return err }, nil},
		{"refresh with a shorter life", func(db *DB) error {
			s := spend
			s.MaxAge = time.Minute
			_, _, err := db.RotateSession(ctx, "s1", s)
			return err
		}, nil},
		{"reuse", func(db *DB) error { _, _, err := db.RotateSession(ctx, "used", spend); return err }, auth.ErrReused},
		{"revoke session", func(db *DB) error { _, err := db.RevokeSession(ctx, "s1", a.ID, at, "x", act); return err }, nil},
		{"logout", func(db *DB) error { _, err := db.RevokeContract(ctx, a.ID, auth.B2B, act); return err }, nil},
		{"add key", func(db *DB) error {
			return db.AddKey(ctx, auth.KeyRow{ID: "k2", Ring: auth.SigningRing, Sealed: []byte("s")}, "k1", act)
		}, nil},
		{"revoke key", func(db *DB) error {
			_, err := db.RevokeKey(ctx, "k1", &auth.KeyRow{ID: "k2", Ring: auth.SigningRing, Sealed: []byte("s")}, act)
			return err
		}, nil},
		{"delete keys", func(db *DB) error { return db.DeleteKeys(ctx, []auth.KeyID{"k1"}) }, nil},
		{"reseal", func(db *DB) error {
			_, err := db.Reseal(ctx, "master 1", "master 2", []byte("c"), func(auth.Sealed) ([]byte, error) { return []byte("anew"), nil }, act)
			return err
		}, nil},
		{"invite a person", func(db *DB) error {
			return db.InvitePerson(ctx, auth.Person{ID: "p_new", Account: a.ID, Email: "new@example.com"}, auth.Invitation{Person: "p_new", Digest: []byte("n"), ExpiresAt: until}, act)
		}, nil},
		{"join", func(db *DB) error {
			_, err := db.Join(ctx, []byte("joe's"), auth.Joining{Passkey: &auth.Passkey{ID: []byte("new"), PublicKey: []byte("k")}},
				auth.DashboardSession{ID: "ds_3", Digest: []byte("ds_3"), Stage: auth.StageFull}, act)
			return err
		}, nil},
		{"second factor", func(db *DB) error {
			return db.EnrollTOTP(ctx, []byte("ds_2"), auth.DashboardSession{ID: "ds_3", Digest: []byte("ds_3"), Person: "p_jane"},
				auth.Enrolment{TOTP: auth.Sealed{Text: []byte("s"), MasterKey: "master 1"}, Step: 8, Codes: []auth.RecoveryCode{{Digest: []byte("c"), Pepper: "p"}}}, act)
		}, nil},
		{"rotate a dashboard's session", func(db *DB) error {
			return db.RotateDashboardSession(ctx, []byte("ds_2"), auth.DashboardSession{ID: "ds_3", Digest: []byte("ds_3"), Person: "p_jane", Stage: auth.StageFull},
				auth.Spent{RecoveryCode: []byte("code")}, act)
		}, nil},
		{"reset a person", func(db *DB) error {
			return db.ResetPerson(ctx, 0, "p_jane", auth.Invitation{Digest: []byte("anew"), ExpiresAt: until}, act)
		}, nil},
		{"remove a person", func(db *DB) error { return db.RemovePerson(ctx, 0, "p_jane", true, act) }, nil},
		{"set a password", func(db *DB) error { return db.SetPersonPassword(ctx, "p_jane", "h", "", act) }, nil},
		{"remove a passkey", func(db *DB) error { return db.RemovePasskey(ctx, "p_jane", []byte("key"), act) }, nil},
		{"lifetime", func(db *DB) error {
			_, err := db.SetLifetime(ctx, auth.Lifetime{Type: "x", Longest: time.Hour})
			return err
		}, nil},
		{"register", func(db *DB) error { return db.Register(ctx, auth.Replica{ID: "r2"}) }, nil},
		{"follow", func(db *DB) error { _, _, _, err := db.Follow(ctx, "r1", "test", 3); return err }, nil},
		{"use once", func(db *DB) error { _, err := db.UseOnce(ctx, []byte("d"), until); return err }, nil},
		{"unregister", func(db *DB) error { return db.Unregister(ctx, "r1") }, nil},
		{"clear replicas", func(db *DB) error { return db.ClearReplicas(ctx) }, nil},
		{"write usage", func(db *DB) error {
			return db.WriteUsage(ctx, []auth.UsageRow{{Account: a.ID, Hour: at, Count: 1}}, []auth.SecretUse{{Credential: "c1", Secret: 1, Use: auth.Use{At: at}}})
		}, nil},
		{"write refusals", func(db *DB) error {
			return db.WriteRefusals(ctx, []auth.Refusal{{At: at, RequestIDs: []string{"x", "y"}}})
		}, nil},
	} {
		t.Run(flow.name, func(t *testing.T) {
			t.Parallel()
			for _, injected := range []failure{codeIO | 3<<8, codeNoMemory} {
				db := newDB(t, copyFile(t, template.Path()))
				f := inject(t, db)
				before := dump(t, db)
				failed := 0
				for k := 0; ; k++ {
					f.set(kth(k, injected))
					err := flow.run(db)
					asked := f.settled(t)
					f.set(nil)
					if k >= len(asked) || strings.HasPrefix(asked[k], "PRAGMA wal_checkpoint") {
						// Nothing was left to fail: this run went through.
						if err != nil && auth.AsError(err).Kind != auth.AsError(flow.want).Kind {
							t.Errorf("without a failure: got %v, want %v", err, flow.want)
						}
						if dump(t, db) == before {
							t.Error("it went through and changed nothing")
						}
						break
					}
					failed++
					if auth.AsError(err).Kind != auth.Unavailable {
						t.Errorf("with %q failing: got %v, want 503", asked[k], err)
					}
					if after := dump(t, db); after != before {
						t.Fatalf("with %q failing something is there:\n%s\nbefore:\n%s", asked[k], after, before)
					}
				}
				if failed < 3 {
					t.Errorf("only %d statements were there to fail", failed)
				}
				if err := db.Check(ctx); err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func copyFile(t *testing.T, path string) string {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	copied := filepath.Join(t.TempDir(), "gatehouse.db")
	to, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	return copied
}
