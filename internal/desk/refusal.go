package desk

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// refusals are those that fit the filter, of the running server's memory and of the database, the newest first, each once.
func (d *Desk) refusals(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	if err := d.may(registry.ReadAccounts, f.Account); err != nil {
		return nil, err
	}
	memory, err := d.config.Remembered(ctx, f)
	if err != nil {
		return nil, err
	}
	stored, err := d.config.Stored(ctx, f)
	if err != nil {
		return nil, err
	}
	return merge(memory, stored, f.Most), nil
}

// merge puts what the server remembers and what is stored together. What is in both is told by its request ids, and the one
// that counts more of equal requests is the one that is kept.
func merge(memory, stored []auth.Refusal, most int) []auth.Refusal {
	var all []auth.Refusal
	at := map[string]int{} // where in all the refusal of a request is
	for _, r := range append(slices.Clone(stored), memory...) {
		i, known := 0, false
		for _, id := range r.RequestIDs {
			if i, known = at[id]; known {
				break
			}
		}
		if !known {
			all = append(all, r)
			i = len(all) - 1
		} else if r.Count > all[i].Count {
			all[i] = r
		}
		for _, id := range r.RequestIDs {
			at[id] = i
		}
	}
	slices.SortStableFunc(all, func(a, b auth.Refusal) int { return b.At.Compare(a.At) })
	return all[:min(len(all), cmp.Or(most, usualAtOnce))]
}

// Explain says why a request was refused, and what would mend it.
func (d *Desk) Explain(ctx context.Context, requestID string) (audit.Explained, error) {
	found, err := d.refusals(ctx, auth.RefusalFilter{RequestID: requestID})
	if err != nil {
		return audit.Explained{}, err
	}
	if len(found) == 0 {
		return audit.Explained{}, auth.ErrNotFound.Saying("nothing is known of a refused request " + strconv.QuoteToASCII(requestID) +
			": only those that were refused are kept, for " + d.config.Retention + " (refusals.retention); gatehouse refusal list shows them")
	}
	// The one that was asked for stands for the equal ones that were counted with it.
	found[0].RequestIDs = first(found[0].RequestIDs, requestID)
	return audit.Explain(found[0], d.config.Deployment), nil
}

// first is ids with one of them at the front.
func first(ids []string, one string) []string {
	rest := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == one })
	return append([]string{one}, rest...)
}

// mostRefusals is the most that are told at once: there is no next part.
const mostRefusals = 100_000

// Refusals lists who was refused, the newest first.
func (d *Desk) Refusals(ctx context.Context, q api.RefusalQuery) (api.Page[api.Refusal], error) {
	var none api.Page[api.Refusal]
	if q.Limit < 0 || q.Limit > mostRefusals {
		return none, auth.ErrInvalid.Saying("limit is a number from 1 to " + strconv.Itoa(mostRefusals))
	}
	found, err := d.refusals(ctx, auth.RefusalFilter{
		Account: auth.AccountID(q.Account), Credential: auth.CredentialID(q.Credential), Address: q.Address, Since: q.Since, Most: q.Limit,
	})
	if err != nil {
		return none, err
	}
	told := []api.Refusal{}
	for _, r := range found {
		told = append(told, refusal(r))
	}
	return api.Page[api.Refusal]{Items: told}, nil
}

// refusal is a refusal as it is told.
func refusal(r auth.Refusal) api.Refusal {
	return api.Refusal{
		At: at(r.At), RequestIDs: append([]string{}, r.RequestIDs...), Count: r.Count, Method: r.Method, Path: r.Path, Host: r.Host,
		Route: r.Route, Contract: string(r.Contract), Status: r.Status, Reason: string(r.Reason), Account: int64(r.Subject.Account),
		Credential: string(r.Subject.Credential), Secret: r.Subject.Secret, Session: string(r.Subject.Session), Type: string(r.Type),
		Address: address(r.Address), UserAgent: r.UserAgent, Limit: r.Limit,
	}
}

// Usage lists what an account's credentials were used for, by the hour. The hour that holds the moment belongs to it.
func (d *Desk) Usage(ctx context.Context, id auth.AccountID, since time.Time) (api.Page[api.UsageRow], error) {
	var none api.Page[api.UsageRow]
	if err := d.may(registry.ReadAccounts, id); err != nil {
		return none, err
	}
	rows, err := d.config.Usage(ctx, id, since.UTC().Truncate(time.Hour))
	if err != nil {
		return none, err
	}
	told := []api.UsageRow{}
	for _, r := range rows {
		told = append(told, api.UsageRow{Hour: at(r.Hour), Credential: string(r.Credential), What: r.What, Count: r.Count})
	}
	return api.Page[api.UsageRow]{Items: told}, nil
}
