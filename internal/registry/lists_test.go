package registry

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A listStore keeps what it was asked for.
type listStore struct {
	*fakeStore
	accounts    auth.AccountQuery
	credentials auth.CredentialQuery
	sessions    auth.SessionQuery
	refusals    auth.RefusalFilter
	ending      auth.EndingQuery
	counted     auth.AccountID
	usage       auth.UsageQuery
	stored      []auth.Refusal
}

func (s *listStore) Account(_ context.Context, id auth.AccountID) (auth.Account, error) {
	return auth.Account{ID: id}, nil
}

func (s *listStore) Accounts(_ context.Context, q auth.AccountQuery) ([]auth.Account, error) {
	s.accounts = q
	return nil, nil
}

func (s *listStore) Credentials(_ context.Context, q auth.CredentialQuery) ([]auth.Credential, error) {
	s.credentials = q
	return nil, nil
}

func (s *listStore) Sessions(_ context.Context, q auth.SessionQuery) ([]auth.Session, error) {
	s.sessions = q
	return nil, nil
}

func (s *listStore) Refusals(_ context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	s.refusals = f
	return s.stored, nil
}

func (s *listStore) Ending(_ context.Context, q auth.EndingQuery) ([]auth.Credential, error) {
	s.ending = q
	return nil, nil
}

func (s *listStore) RefusalReasons(_ context.Context, account auth.AccountID, _ time.Time, _ int) (map[auth.Reason]int64, bool, error) {
	s.counted = account
	return nil, true, nil
}

func newLists(t *testing.T) (*Registry, *listStore) {
	t.Helper()
	r, fake := newRegistry(t)
	s := &listStore{fakeStore: fake}
	r.store = s
	return r, s
}

var member = auth.Actor{Name: "member", Role: auth.RoleViewer, Account: own, Person: "p"}

// A member who names no account asks for his own.
func TestAMembersListsAreOfHisAccount(t *testing.T) {
	r, s := newLists(t)
	ctx := t.Context()
	if got, err := r.Accounts(ctx, member, auth.AccountQuery{Search: "acme"}); err != nil || len(got) != 1 || got[0].ID != own {
		t.Errorf("accounts: got %v, %v", got, err)
	}
	if got, err := r.Accounts(ctx, member, auth.AccountQuery{After: own}); err != nil || len(got) > 0 {
		t.Errorf("accounts of the next page: got %v, %v", got, err)
	}
	_, err1 := r.Credentials(ctx, member, auth.CredentialQuery{})
	_, err2 := r.Sessions(ctx, member, auth.SessionQuery{Credential: "theirs"})
	_, err3 := r.Refusals(ctx, member, auth.RefusalFilter{})
	_, err4 := r.Ending(ctx, member, auth.EndingQuery{})
	_, _, err5 := r.RefusalReasons(ctx, member, 0, start)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || s.credentials.Account != own || s.sessions.Account != own || s.refusals.Account != own || s.ending.Account != own || s.counted != own {
		t.Errorf("asked for %v, %v, %v, %v and of account %v: %v", s.credentials, s.sessions, s.refusals, s.ending, s.counted, err)
	}
}

func TestWhatIsSearchedFor(t *testing.T) {
	r, s := newLists(t)
	ctx := t.Context()
	for search, want := range map[string]string{
		"":                        "",
		"  warehouse ":            "warehouse",
		"u_abcdefghijkl":          "abcdefghijkl",
		"test_u_abc":              "abc",
		"gk_live_abcdefghijklSEC": "abcdefghijkl",
		"gk_live_abc":             "abc",
	} {
		if _, err := r.Credentials(ctx, operator, auth.CredentialQuery{Search: search}); err != nil || s.credentials.Search != want {
			t.Errorf("%q: the store was asked for %q, want %q: %v", search, s.credentials.Search, want, err)
		}
	}
	for _, bad := range []string{"\xff", "a\x00b", strings.Repeat("a", mostSearched+1)} {
		if _, err := r.Accounts(ctx, operator, auth.AccountQuery{Search: bad}); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	if _, err := r.Accounts(ctx, operator, auth.AccountQuery{Status: "asleep"}); !errors.Is(err, auth.ErrInvalid) {
		t.Error(err)
	}
	if _, err := r.Credentials(ctx, operator, auth.CredentialQuery{Kind: "password"}); !errors.Is(err, auth.ErrInvalid) {
		t.Error(err)
	}
}

// What the server remembers and what is stored are one list; how the operator's proxies stand is not told to members.
func TestExplainToAMember(t *testing.T) {
	r, s := newLists(t)
	ctx := t.Context()
	refused := auth.Refusal{
		At: start, RequestIDs: []string{"a", "b"}, Count: 2, Status: 403, Reason: auth.ReasonAddressNotAllowed, Subject: auth.Subject{Account: own},
		Address: netip.MustParseAddr("203.0.113.7"), Peer: netip.MustParseAddr("10.0.0.9"), Forwarded: "203.0.113.7", Detail: "dial tcp 10.0.0.3",
	}
	s.stored = []auth.Refusal{refused}
	r.config.Recent = func(_ context.Context, f auth.RefusalFilter) []auth.Refusal {
		if f.RequestID != "b" || f.Account != own && f.Account != 0 {
			t.Errorf("asked for %+v", f)
		}
		counted := refused
		counted.Count = 3
		return []auth.Refusal{counted}
	}
	for _, who := range []auth.Actor{operator, member} {
		x, err := r.Explain(ctx, who, "b")
		if err != nil || x.Count != 3 || x.RequestIDs[0] != "b" || x.Address != "203.0.113.7" {
			t.Errorf("%s: got %+v, %v", who.Name, x, err)
		}
		inside := strings.Contains(strings.Join(x.Lines(), "\n"), "10.0.0")
		if inside == (who.Account != 0) || (len(x.Commands) > 0) == (who.Account != 0) {
			t.Errorf("%s is told:\n%s", who.Name, strings.Join(x.Lines(), "\n"))
		}
	}
	s.stored, r.config.Recent = nil, nil
	if _, err := r.Explain(ctx, member, "c"); !errors.Is(err, auth.ErrNotFound) || !strings.Contains(auth.AsError(err).Msg, `"c"`) {
		t.Error(err)
	}
}

func (s *listStore) Usage(_ context.Context, q auth.UsageQuery) ([]auth.UsageRow, error) {
	s.usage = q
	return []auth.UsageRow{{Account: q.Account, Hour: start.Add(-time.Hour), What: auth.DidLogin, Count: 2}}, nil
}

func TestUsageChart(t *testing.T) {
	r, s := newLists(t)
	c, err := r.UsageChart(t.Context(), member, auth.UsageQuery{Since: start.Add(-90 * time.Minute), Step: auth.Hourly})
	if err != nil || len(c.Times) != 3 || c.Lines[0].Counts[1] != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
	want := auth.UsageQuery{Account: own, Since: start.Add(-2 * time.Hour), Until: start.Add(time.Hour), Step: auth.Hourly}
	if s.usage != want {
		t.Errorf("the store was asked for %+v, want %+v", s.usage, want)
	}
}
