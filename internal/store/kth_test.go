package store

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// A flow is a method that writes, on what [lives] has put there.
type flow struct {
	name string
	run  func(db *DB) error
	want error // nil, or an outcome that is committed and told as an error
}

// lives fills an empty database, and returns what may become of it: every method that writes, but those of otherwise.
func lives(t *testing.T, db *DB) []flow {
	t.Helper()
	ctx := t.Context()
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
	a, err := db.CreateAccount(ctx, "Acme", "C-1", auth.Act{})
	must(err)
	suspended, err := db.CreateAccount(ctx, "Beta", "", auth.Act{})
	must(err)
	_, err = db.SuspendAccount(ctx, suspended.ID, false, auth.Act{})
	must(err)
	credential := func(id auth.CredentialID) auth.Credential {
		first := auth.Secret{Number: 1, Digest: []byte("d1"), Pepper: "p", CreatedAt: at}
		return auth.Credential{ID: id, Account: a.ID, Kind: auth.Login, Scope: "a b", CreatedAt: at, Secrets: []auth.Secret{first}}
	}
	must(db.CreateCredential(ctx, credential("c1"), auth.Act{}))
	must(db.CreateCredential(ctx, credential("rotating"), auth.Act{}))
	_, _, err = db.RotateSecret(ctx, "rotating", []byte("d2"), "p", at.Add(time.Hour), false, auth.Act{})
	must(err)
	for _, id := range []auth.SessionID{"s1", "narrowed", "used"} {
		_, err = db.StartSession(ctx, login(id))
		must(err)
	}
	_, _, err = db.RotateSession(ctx, "used", spend)
	must(err)
	next := spend
	next.Generation = 1
	_, _, err = db.RotateSession(ctx, "used", next)
	must(err)
	office := netip.MustParsePrefix("192.0.2.0/24")
	_, err = db.AllowIP(ctx, a.ID, []auth.AllowEntry{{Prefix: office}}, auth.Act{})
	must(err)
	must(db.AddKey(ctx, auth.KeyRow{ID: "k1", Ring: auth.SigningRing, Sealed: []byte("s"), MasterKey: "master 1"}, "", auth.Act{}))
	must(db.Register(ctx, auth.Replica{ID: "r1"}))
	must(db.WriteUsage(ctx, []auth.UsageRow{{Account: a.ID, Hour: at, Count: 1}}, nil))
	must(db.WriteRefusals(ctx, []auth.Refusal{{At: at, RequestIDs: []string{"r"}}}))
	inhabited(t, db)
	var told auth.Act
	told.Terms.Once = &auth.Once{Key: []byte("told"), Request: []byte("r"), Until: until, Answer: func(any) string { return "[]" }}
	_, err = db.CreateAccount(ctx, "Told", "", told)
	must(err)
	_, err = db.ClaimWebhooks(ctx, "r1", time.Hour)
	must(err)
	_, _, err = db.WebhookActs(ctx, 1)
	must(err)
	must(db.QueueWebhooks(ctx, 0, 0, []auth.WebhookMessage{{Endpoint: "e", ID: "1"}, {Endpoint: "e", ID: "2"}}))
	webhook, err := db.NextWebhook(ctx, "e")
	must(err)

	act := auth.Act{Action: "test"}
	// What is done under a key, as its changer believes, is there with its answer or not at all.
	under := act
	under.Terms = auth.Terms{
		Account: func(auth.Account) bool { return true }, Credential: func(auth.Credential) bool { return true },
		Once: &auth.Once{Key: []byte("key"), Request: []byte("r"), Until: until, Answer: func(any) string { return "{}" }},
	}
	short := "a"
	return []flow{
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
		{"add a key of the trail", func(db *DB) error {
			return db.AddAuditKey(ctx, auth.KeyRow{ID: "ak", Ring: auth.AuditRing, Sealed: []byte("s"), MasterKey: "master 1"}, "", act)
		}, nil},
		{"note", func(db *DB) error { return db.Note(ctx, act, auth.Subject{Account: a.ID}) }, nil},
		{"seal the trail", func(db *DB) error {
			s, err := db.AuditState(ctx, 2)
			if err != nil {
				return err
			}
			for i := range s.Unsealed {
				s.Unsealed[i].Seq, s.Unsealed[i].Hash = int64(i+1), backup.Hash{byte(i + 1)}
			}
			won, err := db.SealAudit(ctx, s.Head, s.Unsealed, &backup.Checkpoint{
				Number: 1, Seq: 2, Hash: backup.Hash{2}, At: at, Key: "ak", Public: []byte("p"), Signature: []byte("s"),
			})
			if err == nil && !won {
				return errors.New("somebody else has sealed it")
			}
			return err
		}, nil},
		{"change a role", func(db *DB) error { return db.ChangePersonRole(ctx, 0, "p_jane", auth.RoleViewer, true, act) }, nil},
		{"hash a password anew", func(db *DB) error { return db.RehashPassword(ctx, "p_jane", "hash", "another") }, nil},
		{"set recovery codes", func(db *DB) error {
			return db.SetRecoveryCodes(ctx, "p_jane", []auth.RecoveryCode{{Digest: []byte("x"), Pepper: "p"}, {Digest: []byte("y"), Pepper: "p"}}, act)
		}, nil},
		{"start a dashboard's session", func(db *DB) error {
			return db.StartDashboardSession(ctx, auth.DashboardSession{ID: "ds_3", Digest: []byte("ds_3"), Person: "p_jane", Stage: auth.StageFull}, auth.Spent{Step: 9}, act)
		}, nil},
		{"see a dashboard's session", func(db *DB) error { return db.SeeDashboardSession(ctx, []byte("ds_2"), until, until) }, nil},
		{"end a dashboard's session", func(db *DB) error {
			return db.EndDashboardSession(ctx, auth.Person{ID: "p_jane"}, "ds_2", act)
		}, nil},
		{"end dashboards' sessions", func(db *DB) error {
			_, err := db.EndDashboardSessions(ctx, auth.Person{ID: "p_jane"}, "", act)
			return err
		}, nil},
		{"add a passkey", func(db *DB) error {
			return db.AddPasskey(ctx, "p_jane", auth.Passkey{ID: []byte("new"), PublicKey: []byte("k")}, act)
		}, nil},
		{"use a passkey", func(db *DB) error { return db.UsePasskey(ctx, []byte("key"), 7, true) }, nil},
		{"rename a passkey", func(db *DB) error { return db.RenamePasskey(ctx, "p_jane", []byte("key"), "x", act) }, nil},
		{"add an OpenID", func(db *DB) error { return db.AddOpenID(ctx, "p_jane", auth.OpenID{Issuer: "i", Subject: "t"}, act) }, nil},
		{"use an OpenID", func(db *DB) error { _, err := db.UseOpenID(ctx, auth.Operator, "i", "s"); return err }, nil},
		{"remove an OpenID", func(db *DB) error { return db.RemoveOpenID(ctx, "p_jane", "i", "s", act) }, nil},
		{"create an operator token", func(db *DB) error {
			return db.CreateOperatorToken(ctx, auth.OperatorToken{ID: "ot_2", Name: "x", Digest: []byte("d"), Pepper: "p", CreatedAt: at}, act)
		}, nil},
		{"use an operator token", func(db *DB) error { return db.UseOperatorToken(ctx, "ot_1", until, netip.Addr{}) }, nil},
		{"revoke an operator token", func(db *DB) error { return db.RevokeOperatorToken(ctx, "ot_1", act) }, nil},
		{"amend what is repeated", func(db *DB) error { return db.AmendRepeat(ctx, []byte("told"), "{}") }, nil},
		{"claim a backup", func(db *DB) error { _, err := db.ClaimBackup(ctx, "r1", time.Hour, time.Hour); return err }, nil},
		{"backup taken", func(db *DB) error { return db.BackupTaken(ctx, BySchedule, at) }, nil},
		{"claim the webhooks", func(db *DB) error { _, err := db.ClaimWebhooks(ctx, "r2", 0); return err }, nil},
		{"queue webhooks", func(db *DB) error {
			return db.QueueWebhooks(ctx, 0, 7, []auth.WebhookMessage{{Endpoint: "e", ID: "3"}, {Endpoint: "e", ID: "4"}})
		}, nil},
		{"queue webhooks once", func(db *DB) error {
			return db.QueueWebhooksOnce(ctx, "what", until, []auth.WebhookMessage{{Endpoint: "e", ID: "3"}, {Endpoint: "e", ID: "4"}})
		}, nil},
		{"webhook delivered", func(db *DB) error { return db.WebhookDelivered(ctx, webhook.Number) }, nil},
		{"webhook failed", func(db *DB) error { return db.WebhookFailed(ctx, webhook.Number, until) }, nil},
		{"trim webhooks", func(db *DB) error { _, _, err := db.TrimWebhooks(ctx, at, 1, []string{"f"}); return err }, nil},
		{"write sightings", func(db *DB) error {
			return db.WriteSightings(ctx, []auth.Sighting{
				{Account: a.ID, Credential: "c1", From: netip.MustParsePrefix("192.0.2.1/32"), At: at, Count: 1},
				{Account: a.ID, Credential: "c1", From: netip.MustParsePrefix("192.0.2.2/32"), At: at, Count: 1},
			})
		}, nil},
	}
}

// TestEveryStatementFails fails, in each method that writes, each statement in turn. Whatever fails, the method says so,
// and nothing of it is there; and once the failure has passed the same call succeeds.
func TestEveryStatementFails(t *testing.T) {
	template := newDB(t, "")
	flows := lives(t, template)
	if err := template.Close(); err != nil {
		t.Fatal(err)
	}
	for _, flow := range flows {
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
				if err := db.Check(t.Context()); err != nil {
					t.Error(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// otherwise are the methods that write and are no flow, and why.
var otherwise = map[string]string{
	"Create":        "it wants an empty database",
	"InviteFirst":   "it wants one without operators",
	"Prune":         "it is one transaction after the other",
	"DropCut":       "it is one transaction after the other",
	"IndexAccounts": "it is one transaction after the other",
	"WebhookActs":   "it writes once in the life of a database",
}

// Whoever adds a method that writes adds a flow.
func TestEveryWriteIsAFlow(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]map[string]bool) // of each method of DB: what it calls
	tried := make(map[string]bool)            // what the flows call
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			switch {
			case f.Name.Name == "lives":
				ast.Inspect(f, func(n ast.Node) bool {
					if run, ok := n.(*ast.FuncLit); ok && types.ExprString(run.Type) == "func(db *DB) error" {
						called(run, tried)
					}
					return true
				})
			case f.Recv != nil && types.ExprString(f.Recv.List[0].Type) == "*DB" && !strings.HasSuffix(file, "_test.go"):
				calls[f.Name.Name] = make(map[string]bool)
				called(f, calls[f.Name.Name])
			}
		}
	}
	writes := map[string]bool{"update": true}
	for grew := true; grew; {
		grew = false
		for name, of := range calls {
			for callee := range of {
				if writes[callee] && !writes[name] {
					writes[name], grew = true, true
				}
			}
		}
	}
	for name := range writes {
		_, exempt := otherwise[name]
		if ast.IsExported(name) && tried[name] == exempt {
			t.Errorf("%s: a flow of lives: %v, among those that are none: %v", name, tried[name], exempt)
		}
	}
	for name := range otherwise {
		if !writes[name] {
			t.Errorf("%s writes nothing", name)
		}
	}
}

// called adds the functions and the methods of db that a function calls.
func called(f ast.Node, to map[string]bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch callee := types.ExprString(c.Fun); {
		case callee == "update":
			to[callee] = true
		case strings.HasPrefix(callee, "db."):
			to[strings.TrimPrefix(callee, "db.")] = true
		}
		return true
	})
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
