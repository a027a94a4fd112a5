package registry

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/usage"
)

// Lists come in pages. Who asks for one more row than he shows sees whether there is another page, and asks for that with the place of
// the last row shown as After. A member's lists are of his own account, whether or not he names it.

// Accounts returns a page of accounts, by number, with their allowlists; for a member there is one.
func (r *Registry) Accounts(ctx context.Context, actor auth.Actor, q auth.AccountQuery) ([]auth.Account, error) {
	if err := r.see(ctx, actor, ReadAccounts, auth.Subject{Account: actor.Account}); err != nil {
		return nil, err
	}
	if !actor.Operator() {
		if q.After >= actor.Account {
			return nil, nil
		}
		own, err := r.store.Account(ctx, actor.Account)
		return []auth.Account{own}, err
	}
	if !slices.Contains([]string{"", "active", "suspended"}, q.Status) {
		return nil, auth.ErrInvalid.Saying("the status of an account is active or suspended; not " + strconv.QuoteToASCII(q.Status))
	}
	if err := checkSearch(&q.Search); err != nil {
		return nil, err
	}
	return r.store.Accounts(ctx, q)
}

// Credentials returns a page of credentials, by account and in the order they were made, with the last use of their secrets. What is
// searched for can be an id, or what begins a key or an identifier; of a key nothing is looked at but its id.
func (r *Registry) Credentials(ctx context.Context, actor auth.Actor, q auth.CredentialQuery) ([]auth.Credential, error) {
	if err := r.seeList(ctx, actor, ReadCredentials, &q.Account, ""); err != nil {
		return nil, err
	}
	if q.Kind != "" && q.Kind.Contract() == "" {
		return nil, errKind(q.Kind)
	}
	if err := checkSearch(&q.Search); err != nil {
		return nil, err
	}
	if key, ok := strings.CutPrefix(q.Search, r.config.KeyPrefix+"_"+string(r.config.Environment)+"_"); ok {
		q.Search = key[:min(len(key), auth.IDLength)]
	}
	q.Search = string(bare(q.Search))
	return r.store.Credentials(ctx, q)
}

// Ending returns credentials that end by themselves soon, or whose old secret does, the first to end first.
func (r *Registry) Ending(ctx context.Context, actor auth.Actor, q auth.EndingQuery) ([]auth.Credential, error) {
	if err := r.seeList(ctx, actor, ReadCredentials, &q.Account, ""); err != nil {
		return nil, err
	}
	return r.store.Ending(ctx, q)
}

// Sessions returns a page of sessions, the youngest first: live ones, or all that are still known.
func (r *Registry) Sessions(ctx context.Context, actor auth.Actor, q auth.SessionQuery) ([]auth.Session, error) {
	if err := r.seeList(ctx, actor, ReadSessions, &q.Account, q.Credential); err != nil {
		return nil, err
	}
	return r.store.Sessions(ctx, q)
}

// Refusals returns a page of refusals, the newest first: of what the running server remembers, and of what is stored. Members are not
// shown which proxies their requests came through, nor what went wrong on our side.
func (r *Registry) Refusals(ctx context.Context, actor auth.Actor, f auth.RefusalFilter) ([]auth.Refusal, error) {
	if err := r.seeList(ctx, actor, ReadRefusals, &f.Account, f.Credential); err != nil {
		return nil, err
	}
	f.Most = auth.Rows(f.Most)
	var memory []auth.Refusal
	if r.config.Recent != nil {
		memory = r.config.Recent(ctx, f)
	}
	stored, err := r.store.Refusals(ctx, f)
	if err != nil {
		return nil, err
	}
	rows := audit.Merge(memory, stored, f)
	if !actor.Operator() {
		for i := range rows {
			rows[i].Peer, rows[i].Forwarded, rows[i].Detail = rows[i].Address, "", ""
		}
	}
	return rows, nil
}

// MostRefusals is how many rows [Registry.RefusalReasons] looks at. Each stands for the equal requests of a second.
const MostRefusals = 5_000

// RefusalReasons counts the requests refused since a moment by reason, the most frequent first, and says whether those are all that
// are stored: if not, it counted the newest.
func (r *Registry) RefusalReasons(ctx context.Context, actor auth.Actor, account auth.AccountID, since time.Time) (found []usage.ReasonCount, all bool, err error) {
	if err := r.seeList(ctx, actor, ReadRefusals, &account, ""); err != nil {
		return nil, false, err
	}
	counts, all, err := r.store.RefusalReasons(ctx, account, since, MostRefusals)
	return usage.SortReasons(counts), all, err
}

// Explain says in plain words why a request was refused and what to do. Commands that mend it are for operators.
func (r *Registry) Explain(ctx context.Context, actor auth.Actor, requestID string) (audit.Explained, error) {
	if err := checkSearch(&requestID); err != nil {
		return audit.Explained{}, err
	}
	found, err := r.Refusals(ctx, actor, auth.RefusalFilter{RequestID: requestID})
	if err != nil {
		return audit.Explained{}, err
	}
	if requestID == "" || len(found) == 0 {
		return audit.Explained{}, auth.ErrNotFound.Saying("nothing is known of a refused request " + strconv.QuoteToASCII(requestID))
	}
	// The one that was asked for stands for the equal ones that were counted with it.
	rest := slices.DeleteFunc(found[0].RequestIDs, func(id string) bool { return id == requestID })
	found[0].RequestIDs = append([]string{requestID}, rest...)
	x := audit.Explain(found[0], audit.Deployment{Environment: r.config.Environment, KeyPrefix: r.config.KeyPrefix})
	if !actor.Operator() {
		x.Hops, x.Commands = "", nil
	}
	return x, nil
}

// Usage returns what an account's credentials did in the hours, or days, that began at q.Since or later and before q.Until. The running
// server writes it down once a second.
func (r *Registry) Usage(ctx context.Context, actor auth.Actor, q auth.UsageQuery) ([]auth.UsageRow, error) {
	if err := r.seeList(ctx, actor, ReadUsage, &q.Account, q.Credential); err != nil {
		return nil, err
	}
	return r.store.Usage(ctx, q)
}

// UsageChart is the usage from the hour or day that holds q.Since to the one that holds q.Until, those without any included.
func (r *Registry) UsageChart(ctx context.Context, actor auth.Actor, q auth.UsageQuery) (usage.Chart, error) {
	first, end, err := usage.Bounds(q, r.now())
	if err != nil {
		return usage.Chart{}, err
	}
	q.Since, q.Until = first, end
	rows, err := r.Usage(ctx, actor, q)
	if err != nil {
		return usage.Chart{}, err
	}
	return usage.NewChart(rows, first, end, q.Step), nil
}

// seeList is the permission to read a list of an account, or of all: of a member it is his own.
func (r *Registry) seeList(ctx context.Context, actor auth.Actor, action Action, account *auth.AccountID, credential auth.CredentialID) error {
	if *account == 0 {
		*account = actor.Account
	}
	return r.see(ctx, actor, action, auth.Subject{Account: *account, Credential: credential})
}

// mostSearched is how long what is searched for can be.
const mostSearched = 256

// checkSearch takes the white space off what somebody searches for, and refuses what no database could look for.
func checkSearch(s *string) error {
	*s = strings.TrimSpace(*s)
	if len(*s) > mostSearched || !utf8.ValidString(*s) || strings.Contains(*s, "\x00") {
		return auth.ErrInvalid.Saying("what is searched for is up to " + strconv.Itoa(mostSearched) + " bytes of text")
	}
	return nil
}
