package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What each role may, in full and by hand: whoever changes the table says so here too. "!" is what wants a step-up.
const allowed = `
operator owner      account.read account.create account.rename account.suspend account.resume account.delete! account.limit account.allow-ip account.remove-ip
operator owner      credential.read credential.create! credential.update credential.revoke credential.rotate! credential.rotate-finish credential.rotate-undo
operator owner      session.read session.revoke audit.read signing-key.read signing-key.rotate! signing-key.revoke! master-key.rotate! restore!
operator admin      account.read account.create account.rename account.suspend account.resume account.delete! account.limit account.allow-ip account.remove-ip
operator admin      credential.read credential.create! credential.update credential.revoke credential.rotate! credential.rotate-finish credential.rotate-undo
operator admin      session.read session.revoke audit.read signing-key.read
operator viewer     account.read credential.read session.read audit.read signing-key.read
member   owner      account.read account.allow-ip account.remove-ip
member   owner      credential.read credential.create! credential.update credential.revoke credential.rotate! credential.rotate-finish credential.rotate-undo
member   owner      session.read session.revoke audit.read
member   developer  account.read account.allow-ip
member   developer  credential.read credential.create! credential.update credential.revoke credential.rotate! credential.rotate-finish credential.rotate-undo
member   developer  session.read session.revoke audit.read
member   viewer     account.read credential.read session.read audit.read
operator owner      refusal.read usage.read webhook.read webhook.test
operator admin      refusal.read usage.read webhook.read webhook.test
operator viewer     refusal.read usage.read webhook.read
member   owner      refusal.read usage.read
member   developer  refusal.read usage.read
member   viewer     refusal.read usage.read
operator owner      operator.read operator.invite! operator.role! operator.remove! operator.reset! token.read token.create! token.revoke
operator owner      member.read member.invite! member.role! member.remove! member.reset!
operator admin      operator.read member.read member.invite! member.role! member.remove! member.reset!
operator viewer     operator.read member.read
member   owner      member.read member.invite! member.role! member.remove! member.reset!
member   developer  member.read
member   viewer     member.read
`

const own, another auth.AccountID = 100001, 100002

// Every action, by every role, on one's own account's things, another's and nobody's.
func TestWhoMay(t *testing.T) {
	may := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(allowed)) {
		words := strings.Fields(line)
		may[words[0]+" "+words[1]] = append(may[words[0]+" "+words[1]], words[2:]...)
	}
	roles := []auth.Role{"", auth.RoleOwner, auth.RoleAdmin, auth.RoleDeveloper, auth.RoleViewer, "root"}
	for _, rule := range rules {
		for _, side := range []string{"operator", "member"} {
			for _, role := range roles {
				actor := auth.Actor{Name: "somebody", Role: role, Person: "p"}
				if side == "member" {
					actor.Account = own
				}
				action := string(rule.action)
				plain := slices.Contains(may[side+" "+string(role)], action)
				proved := plain || slices.Contains(may[side+" "+string(role)], action+"!")
				for _, account := range []auth.AccountID{0, own, another} {
					mine := side == "operator" || account == own
					name := fmt.Sprintf("%s by %s %q on account %d", action, side, role, account)
					if err := May(actor, rule.action, account, start); (err == nil) != (plain && mine) {
						t.Errorf("%s: %v", name, err)
					}
					actor.ProvedAt = start.Add(-auth.StepUpWithin)
					if err := May(actor, rule.action, account, start); (err == nil) != (proved && mine) {
						t.Errorf("%s, who has just proved who they are: %v", name, err)
					}
					for _, at := range []time.Time{start.Add(-auth.StepUpWithin - time.Second), start.Add(time.Second)} {
						actor.ProvedAt = at
						if err := May(actor, rule.action, account, start); proved && mine && !plain && !errors.Is(err, ErrStepUp) {
							t.Errorf("%s, who proved it at %v: %v", name, at, err)
						}
					}
					actor.ProvedAt, actor.Machine = time.Time{}, true
					if err := May(actor, rule.action, account, start); (err == nil) != (proved && mine) {
						t.Errorf("%s, by a machine: %v", name, err)
					}
					for _, scopes := range [][]string{nil, {"x", rule.scope}, {rule.scope + "x"}} {
						actor.Token, actor.Scopes = "t", scopes
						if err := May(actor, rule.action, account, start); (err == nil) != (proved && mine && len(scopes) == 2) {
							t.Errorf("%s, by a token with %q: %v", name, scopes, err)
						}
					}
					actor.Token, actor.Scopes, actor.Machine = "", nil, false
				}
			}
		}
	}
	if err := May(auth.Actor{Role: auth.RoleOwner, Machine: true}, "account.invent", 0, start); err == nil {
		t.Error("an action that nobody knows is allowed")
	}
	seen := map[Action]bool{}
	for _, rule := range rules {
		if seen[rule.action] {
			t.Errorf("%s stands twice in the table", rule.action)
		}
		seen[rule.action] = true
	}
}

// A member who asks for what is another account's is told what is told of what does not exist, and that is written down in the
// trail of the member's own account.
func TestAnotherAccountIsNotThere(t *testing.T) {
	r, s := newRegistry(t)
	for _, c := range []auth.Credential{{ID: "mine", Account: own}, {ID: "theirs", Account: another}} {
		s.held[c.ID] = c
	}
	s.session = auth.Session{ID: "s", Account: another}
	ctx, prefix := t.Context(), []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	member := auth.Actor{Name: "member", Role: auth.RoleOwner, Account: own, Person: "p", ProvedAt: start, RequestID: "reqid_1"}
	asked := map[Action][]func() error{
		ReadAccounts: {func() error { _, err := r.Account(ctx, member, another.String()); return err }},
		ReadCredentials: {
			func() error { _, err := r.Credential(ctx, member, "theirs"); return err },
			func() error { _, err := r.Credential(ctx, member, "u_theirs"); return err },
			func() error { _, err := r.Find(ctx, member, "theirs:secret"); return err },
			func() error { _, err := r.Credentials(ctx, member, auth.CredentialQuery{Account: another}); return err },
			func() error { _, err := r.Ending(ctx, member, auth.EndingQuery{Account: another}); return err },
		},
		ReadAudit: {func() error { _, err := r.Audit(ctx, member, auth.AuditQuery{Account: another}); return err }},
		ReadSessions: {func() error {
			_, err := r.Sessions(ctx, member, auth.SessionQuery{Account: another, LiveOnly: true})
			return err
		}},
		ReadRefusals: {
			func() error { _, err := r.Refusals(ctx, member, auth.RefusalFilter{Account: another}); return err },
			func() error { _, _, err := r.RefusalReasons(ctx, member, another, start); return err },
		},
		ReadUsage: {func() error {
			_, err := r.Usage(ctx, member, auth.UsageQuery{Account: another, Since: start})
			return err
		}},
		CreateCredential: {func() error {
			_, err := r.CreateCredential(ctx, member, NewCredential{Account: another, Kind: auth.Login})
			return err
		}},
		UpdateCredential: {func() error { _, err := r.UpdateCredential(ctx, member, "theirs", auth.CredentialUpdate{}); return err }},
		RevokeCredential: {func() error { _, err := r.RevokeCredential(ctx, member, "theirs"); return err }},
		Rotate:           {func() error { _, err := r.RotateCredential(ctx, member, "theirs", start, true); return err }},
		FinishRotation:   {func() error { _, err := r.FinishRotation(ctx, member, "theirs"); return err }},
		UndoRotation:     {func() error { _, err := r.UndoRotation(ctx, member, "theirs"); return err }},
		AllowIP:          {func() error { _, err := r.AllowIP(ctx, member, another, prefix, "", time.Time{}); return err }},
		RemoveIP:         {func() error { _, err := r.RemoveIP(ctx, member, another, prefix, true); return err }},
		RevokeSession: {
			func() error { _, err := r.RevokeSession(ctx, member, "s", 0); return err },
			func() error { _, err := r.RevokeSession(ctx, member, "s", own); return err },
			func() error { _, err := r.RevokeSession(ctx, member, "s", another); return err },
		},
	}
	for action, each := range asked {
		for i, ask := range each {
			s.noted = nil
			if err := ask(); !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("%s, way %d: %v, want it not found", action, i, err)
			}
			want := []note{{auth.Act{Actor: "member", Action: "denied", Person: "p", RequestID: "reqid_1", Detail: string(action) + " of what is another account's"}, auth.Subject{Account: own}}}
			if diff := cmp.Diff(want, s.noted, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("%s, way %d, in the audit trail (-want +got):\n%s", action, i, diff)
			}
		}
	}
	for theirs, unknown := range map[string]string{"theirs": "unknown", "u_theirs": "u_unknown"} {
		_, one := r.Credential(ctx, member, theirs)
		_, other := r.Credential(ctx, member, unknown)
		if a, b := one.Error(), strings.Replace(other.Error(), unknown, theirs, 1); a != b {
			t.Errorf("another account's credential: %q, an unknown one: %q", a, b)
		}
	}
	if c, err := r.Credential(ctx, member, "mine"); err != nil || c.ID != "mine" {
		t.Errorf("one's own: %v, %v", c.ID, err)
	}
}

// What a client may do with everybody's tokens is no member's to give, not even to a credential of the own account.
func TestMembersGiveNoOperatorScopes(t *testing.T) {
	r, s := newRegistry(t)
	ctx, member := t.Context(), auth.Actor{Name: "member", Role: auth.RoleOwner, Account: own, Person: "p", ProvedAt: start}
	for _, scope := range []string{"gatehouse:introspect", "orders:read gatehouse:revoke", "gatehouse:revocations", "gatehouse:anything"} {
		for name, actor := range map[string]auth.Actor{"member": member, "operator": operator} {
			_, err := r.CreateCredential(ctx, actor, NewCredential{Account: own, Kind: auth.OAuth, Scopes: []string{scope}})
			if refused := err != nil && auth.AsError(err).Kind == auth.Forbidden; refused != (name == "member") || !refused && err != nil {
				t.Errorf("%s creates a client with %q: %v", name, scope, err)
			}
		}
	}
	s.held["mine"] = auth.Credential{ID: "mine", Account: own, Kind: auth.OAuth, Scope: "gatehouse:introspect orders:read"}
	for scope, refused := range map[string]bool{
		"gatehouse:introspect gatehouse:revoke": true, "gatehouse:revoke": true, "gatehouse:introspect": false, "orders:write": false,
	} {
		_, err := r.UpdateCredential(ctx, member, "mine", auth.CredentialUpdate{Scope: &scope})
		if (err != nil) != refused {
			t.Errorf("a member gives %q to a client that may introspect: %v", scope, err)
		}
	}
}

// A refusal that cannot be written down is one nevertheless.
func TestARefusalHoldsThoughItCannotBeNoted(t *testing.T) {
	r, s := newRegistry(t)
	s.noteErr = errors.New("the disk is full")
	_, err := r.CreateAccount(t.Context(), auth.Actor{Name: "n", Role: auth.RoleViewer}, "name", "")
	if err == nil || auth.AsError(err).Kind != auth.Forbidden {
		t.Errorf("got %v, want it forbidden", err)
	}
}

// Whoever is written down as denied was refused for good: a step-up is asked for without a note.
func TestAStepUpIsNoRefusal(t *testing.T) {
	r, s := newRegistry(t)
	_, err := r.RotateSigningKey(t.Context(), auth.Actor{Name: "n", Role: auth.RoleOwner, Person: "p", ProvedAt: start.Add(-time.Hour)})
	if !errors.Is(err, ErrStepUp) || len(s.noted) > 0 {
		t.Errorf("got %v and %v, want a step-up and no note", err, s.noted)
	}
}

// A note is an act that changed nothing.
type note struct {
	Act   auth.Act
	About auth.Subject
}

func (s *fakeStore) Note(_ context.Context, act auth.Act, about auth.Subject) error {
	s.noted = append(s.noted, note{act, about})
	return s.noteErr
}

func (s *fakeStore) Session(context.Context, auth.SessionID) (auth.Session, error) {
	return s.session, nil
}

func (s *fakeStore) Account(_ context.Context, id auth.AccountID) (auth.Account, error) {
	return auth.Account{ID: id, Name: "of " + id.String()}, nil
}

func TestWhoMayChangeAThingMayReadIt(t *testing.T) {
	for scope, want := range map[string]bool{
		"accounts:read": true, "accounts:write": true, "credentials:write": false, "accounts:": false, "accounts": false, "": false,
	} {
		actor := auth.Actor{Name: "token", Role: auth.RoleViewer, Machine: true, Token: "ot_1", Scopes: []string{scope}}
		if got := May(actor, ReadAccounts, 0, start) == nil; got != want {
			t.Errorf("with %q: accounts may be read: %v", scope, got)
		}
		if err := May(actor, CreateAccount, 0, start); err == nil {
			t.Errorf("with %q a viewer makes accounts", scope)
		}
	}
	actor := auth.Actor{Name: "token", Role: auth.RoleOwner, Machine: true, Token: "ot_1", Scopes: []string{"accounts:read"}}
	if err := auth.AsError(May(actor, CreateAccount, 0, start)); err.Scope != "accounts:write" || err.Reason != auth.ReasonInsufficientScope {
		t.Errorf("who may read changes: %+v", err)
	}
}

// A member who names no account asks for his own.
func TestAudit(t *testing.T) {
	r, s := newRegistry(t)
	member := auth.Actor{Name: "member", Role: auth.RoleViewer, Account: own, Person: "p"}
	for _, c := range []struct {
		actor      auth.Actor
		asks, gets auth.AuditQuery
	}{
		{member, auth.AuditQuery{Action: "denied"}, auth.AuditQuery{Account: own, Action: "denied"}},
		{member, auth.AuditQuery{Account: own, Most: 3}, auth.AuditQuery{Account: own, Most: 3}},
		{operator, auth.AuditQuery{Most: 3}, auth.AuditQuery{Most: 3}},
	} {
		if _, err := r.Audit(t.Context(), c.actor, c.asks); err != nil || s.asked != c.gets {
			t.Errorf("%s asks %+v: the store was asked %+v, %v", c.actor.Name, c.asks, s.asked, err)
		}
	}
}

func (s *fakeStore) UpdateCredential(context.Context, auth.CredentialID, auth.CredentialUpdate, auth.Act) (auth.Revoked, error) {
	return auth.Revoked{}, nil
}
