package registry

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
)

// inhabited is a registry over a real store with one account, in whose time nothing moves.
func inhabited(t *testing.T) (*Registry, *store.DB, auth.AccountID) {
	t.Helper()
	r, _ := newRegistry(t)
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	storetest.Migrated(t, path)
	db, err := store.Open(t.Context(), store.Config{Path: path, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Create(t.Context(), store.Birth{Incarnation: "i", SealCheck: []byte("c"), MasterKey: "m"}); err != nil {
		t.Fatal(err)
	}
	r.store = db
	a, err := r.CreateAccount(t.Context(), operator, "Acme", "")
	if err != nil {
		t.Fatal(err)
	}
	return r, db, a.ID
}

// invite has somebody invited who comes at once, with a password.
func invite(t *testing.T, r *Registry, account auth.AccountID, email string, role auth.Role) auth.Person {
	t.Helper()
	in, err := r.InvitePerson(t.Context(), operator, account, NewPerson{Email: email, Name: "Jane", Role: role}, 0)
	if err != nil {
		t.Fatal(err)
	}
	join(t, r, in)
	return in.Person
}

func join(t *testing.T, r *Registry, in Invited) {
	t.Helper()
	_, code, _ := strings.Cut(in.Link("http://localhost"), "#")
	s := auth.DashboardSession{ID: auth.DashboardSessionID(code), Digest: []byte(code), Stage: auth.StageFull, CreatedAt: start, IdleEnds: start.Add(time.Hour), EndsAt: start.Add(time.Hour)}
	_, err := r.store.(*store.DB).Join(t.Context(), r.config.Rings.LookupDigest(auth.LookupLink, code), auth.Joining{Password: "hash"}, s, auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPeopleAreInvitedAndRemoved(t *testing.T) {
	r, db, account := inhabited(t)
	ctx := t.Context()
	in, err := r.InvitePerson(ctx, operator, account, NewPerson{Email: " Jane@Example.com", Name: " Jane ", Role: auth.RoleDeveloper}, time.Hour)
	if err != nil || in.Person.Email != "jane@example.com" || in.Person.Name != "Jane" || !in.ExpiresAt.Equal(start.Add(time.Hour)) {
		t.Fatalf("got %+v, %v", in.Person, err)
	}
	link := in.Link("https://auth.example.com")
	page, code, _ := strings.Cut(link, "#")
	if printed := fmt.Sprintf("%v %+v %#v", in, in, in); page != "https://auth.example.com/dashboard/join" || len(code) < 38 || strings.Contains(printed, code) {
		t.Errorf("the link is %s, and printed %s", link, printed)
	}
	for what, n := range map[string]NewPerson{
		"no address": {Email: "jane", Name: "Jane", Role: auth.RoleViewer},
		"no name":    {Email: "x@example.com", Name: "\n", Role: auth.RoleViewer},
		"no role":    {Email: "x@example.com", Name: "X"},
		"not theirs": {Email: "x@example.com", Name: "X", Role: auth.RoleAdmin},
	} {
		if _, err := r.InvitePerson(ctx, operator, account, n, 0); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := NewPerson{Email: "x@example.com", Name: "X", Role: auth.RoleViewer}
	if _, err := r.InvitePerson(ctx, operator, account, good, 31*24*time.Hour); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("a link for a month and a day: %v", err)
	}
	if _, err := r.InvitePerson(ctx, operator, 99, good, 0); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("into no account: %v", err)
	}
	good.Email = "jane@example.com"
	if _, err := r.InvitePerson(ctx, operator, account, good, 0); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("twice: %v", err)
	}

	for _, id := range []string{string(in.Person.ID), "JANE@example.com"} {
		if p, err := r.Person(ctx, operator, account, id); err != nil || p.ID != in.Person.ID {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
		if _, err := r.Person(ctx, operator, 0, id); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%s as an operator: %v", id, err)
		}
	}
	join(t, r, in)
	again, err := r.ResetPerson(ctx, operator, account, in.Person.ID, 0)
	if err != nil || !again.ExpiresAt.Equal(start.Add(LinkLife)) {
		t.Errorf("reset: %+v, %v", again, err)
	}
	if _, err := r.ResetPerson(ctx, operator, 0, in.Person.ID, 0); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("reset as an operator: %v", err)
	}
	if p, err := r.ChangeRole(ctx, operator, account, in.Person.ID, auth.RoleOwner); err != nil || p.Role != auth.RoleOwner {
		t.Errorf("promoted: %+v, %v", p, err)
	}
	if _, err := r.RemovePerson(ctx, operator, account, in.Person.ID); err != nil {
		t.Errorf("the last owner of an account, by an operator: %v", err)
	}
	if all, err := r.People(ctx, operator, auth.PersonQuery{Account: account}); err != nil || len(all) != 0 {
		t.Errorf("left are %+v, %v", all, err)
	}
	trail, err := db.Audit(ctx, auth.AuditQuery{Most: 10})
	if err != nil {
		t.Fatal(err)
	}
	var acts []string
	for _, e := range trail {
		if e.Act.Action != "" {
			acts = append(acts, e.Act.Action+" "+e.Act.Detail)
		}
	}
	jane := in.Person.Detail()
	want := []string{"member.remove " + jane, "member.role " + jane + " developer to owner", "member.reset " + jane, "member.invite " + jane + " developer", "account.create Acme"}
	if !slices.Equal(acts, want) {
		t.Errorf("the trail is %q", acts)
	}
}

// A member manages the people of one account: whoever is of another is nobody, and the attempt is written down.
func TestAMemberSeesTheirOwnPeople(t *testing.T) {
	r, db, account := inhabited(t)
	ctx := t.Context()
	other, err := r.CreateAccount(ctx, operator, "Beta", "")
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := invite(t, r, account, "jane@example.com", auth.RoleOwner), invite(t, r, other.ID, "joe@example.com", auth.RoleViewer)
	jane := auth.Actor{Name: "member jane", Role: auth.RoleOwner, Account: account, Person: mine.ID, ProvedAt: start}
	for what, do := range map[string]func() error{
		"list":              func() error { _, err := r.People(ctx, jane, auth.PersonQuery{Account: other.ID}); return err },
		"find":              func() error { _, err := r.Person(ctx, jane, other.ID, string(theirs.ID)); return err },
		"find by one's own": func() error { _, err := r.Person(ctx, jane, account, string(theirs.ID)); return err },
		"invite": func() error {
			_, err := r.InvitePerson(ctx, jane, other.ID, NewPerson{Email: "x@example.com", Name: "X", Role: auth.RoleViewer}, 0)
			return err
		},
		"promote":              func() error { _, err := r.ChangeRole(ctx, jane, other.ID, theirs.ID, auth.RoleOwner); return err },
		"promote by one's own": func() error { _, err := r.ChangeRole(ctx, jane, account, theirs.ID, auth.RoleOwner); return err },
		"remove":               func() error { _, err := r.RemovePerson(ctx, jane, other.ID, theirs.ID); return err },
		"remove by one's own":  func() error { _, err := r.RemovePerson(ctx, jane, account, theirs.ID); return err },
		"reset by one's own":   func() error { _, err := r.ResetPerson(ctx, jane, account, theirs.ID, 0); return err },
	} {
		if err := do(); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
		if trail, err := db.Audit(ctx, auth.AuditQuery{Most: 1}); err != nil || trail[0].Act.Action != "denied" || trail[0].About.Account != account {
			t.Errorf("%s: the trail has %+v, %v", what, trail, err)
		}
		if _, err := r.CreateAccount(ctx, operator, "in between", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.RemovePerson(ctx, jane, account, mine.ID); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("the last owner removes herself: %v", err)
	}
	if _, err := r.ChangeRole(ctx, jane, account, mine.ID, auth.RoleViewer); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("the last owner steps down: %v", err)
	}
	for what, do := range map[string]func() error{
		"operators": func() error { _, err := r.People(ctx, jane, auth.PersonQuery{}); return err },
		"tokens":    func() error { _, err := r.Tokens(ctx, jane, auth.OperatorTokenQuery{}); return err },
		"an operator": func() error {
			_, err := r.InvitePerson(ctx, jane, 0, NewPerson{Email: "x@example.com", Name: "X", Role: auth.RoleViewer}, 0)
			return err
		},
	} {
		if err := do(); auth.AsError(err).Kind != auth.Forbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Owners who all step down or leave at once leave one behind.
func TestTheLastOwnerStays(t *testing.T) {
	r, _, _ := inhabited(t)
	var owners []auth.Person
	for i := range 16 {
		owners = append(owners, invite(t, r, 0, fmt.Sprintf("o%d@example.com", i), auth.RoleOwner))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(owners))
	for i, p := range owners {
		wg.Go(func() {
			ctx := context.WithoutCancel(t.Context())
			if i%2 == 0 {
				_, errs[i] = r.RemovePerson(ctx, operator, 0, p.ID)
			} else {
				_, errs[i] = r.ChangeRole(ctx, operator, 0, p.ID, auth.RoleViewer)
			}
		})
	}
	wg.Wait()
	stayed := 0
	for _, err := range errs {
		if err != nil {
			stayed++
			if !errors.Is(err, auth.ErrConflict) {
				t.Error(err)
			}
		}
	}
	if stayed != 1 {
		t.Errorf("%d owners stayed, want 1", stayed)
	}
}

func TestOperatorTokens(t *testing.T) {
	r, _, _ := inhabited(t)
	ctx := t.Context()
	issued, err := r.CreateToken(ctx, operator, NewToken{Name: "ci", Role: auth.RoleAdmin, Scopes: []string{"tokens:write", "accounts:read", "accounts:read"}, Expires: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	id, p, err := auth.ParseOperatorToken(issued.Reveal())
	digest := r.config.Rings.Pepper().TokenDigest(id, p.Reveal())
	if err != nil || id != issued.Token.ID || string(digest[:]) != string(issued.Token.Digest) || !slices.Equal(issued.Token.Scopes, []string{"accounts:read", "tokens:write"}) {
		t.Errorf("the token is %+v, %v", issued.Token, err)
	}
	if printed := fmt.Sprintf("%v %+v %#v", issued, issued, issued); strings.Contains(printed, p.Reveal()) {
		t.Errorf("printed is %s", printed)
	}
	for what, n := range map[string]NewToken{
		"no name":     {Role: auth.RoleOwner, Scopes: []string{"accounts:read"}},
		"no role":     {Name: "n", Scopes: []string{"accounts:read"}},
		"a member's":  {Name: "n", Role: auth.RoleDeveloper, Scopes: []string{"accounts:read"}},
		"no scope":    {Name: "n", Role: auth.RoleOwner},
		"no such one": {Name: "n", Role: auth.RoleOwner, Scopes: []string{"accounts:*"}},
		"over":        {Name: "n", Role: auth.RoleOwner, Scopes: []string{"accounts:read"}, Expires: start},
	} {
		if _, err := r.CreateToken(ctx, operator, n); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A token hands on no more than it has.
	machine := auth.Actor{Name: "token", Role: auth.RoleOwner, Machine: true, Token: id, Scopes: []string{"tokens:write", "accounts:read"}}
	if _, err := r.CreateToken(ctx, machine, NewToken{Name: "n", Role: auth.RoleOwner, Scopes: []string{"accounts:write"}}); auth.AsError(err).Kind != auth.Forbidden {
		t.Errorf("a scope that it does not have: %v", err)
	}
	if _, err := r.CreateToken(ctx, machine, NewToken{Name: "n", Role: auth.RoleViewer, Scopes: []string{"accounts:read"}}); err != nil {
		t.Errorf("one that it has: %v", err)
	}
	gone, err := r.RevokeToken(ctx, operator, id)
	if err != nil || gone.Dead(start) != auth.ReasonRevoked {
		t.Errorf("revoked: %+v, %v", gone, err)
	}
	if _, err := r.RevokeToken(ctx, operator, "ot_none"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	if all, err := r.Tokens(ctx, operator, auth.OperatorTokenQuery{}); err != nil || len(all) != 2 {
		t.Errorf("there are %+v, %v", all, err)
	}
}
