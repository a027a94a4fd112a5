package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ClaimWebhooks says whether this replica is the one that sends webhooks: nobody else has claimed it within the last lease. Of any
// number of replicas one gets it, and has it for a lease, again and again.
func (db *DB) ClaimWebhooks(ctx context.Context, replica string, lease time.Duration) (bool, error) {
	n, err := update(ctx, db, func(t *tx) (int64, error) {
		now := db.Now()
		return t.exec(`INSERT INTO webhook_state (id, claimed_at, claimed_by) VALUES (1, $1, $2)
			ON CONFLICT (id) DO UPDATE SET claimed_at = excluded.claimed_at, claimed_by = excluded.claimed_by
			WHERE webhook_state.claimed_at <= $3 OR webhook_state.claimed_by = excluded.claimed_by`,
			now.UnixMilli(), replica, now.Add(-lease).UnixMilli())
	})
	return n > 0, wrap(err, "claim the webhooks")
}

// WebhookActs returns acts that have been sealed and were not looked at for webhooks yet, in their order, and the place in the chain
// behind which they are. Who asks for the first time gets none: webhooks begin with what happens then.
func (db *DB) WebhookActs(ctx context.Context, most int) (acts []auth.AuditEntry, behind int64, err error) {
	if _, err := update(ctx, db, func(t *tx) (int64, error) {
		return t.exec(`UPDATE webhook_state SET seq = (SELECT COALESCE(MAX(seq), 0) FROM audit) WHERE seq IS NULL`)
	}); err != nil {
		return nil, 0, wrap(err, "begin with webhooks")
	}
	err = db.snapshot(ctx, func(q querier) error {
		acts = nil
		if err := q.one(`SELECT seq FROM webhook_state`, nil, out{&behind}); err != nil {
			return err
		}
		return q.all(`SELECT at, actor, action, account, credential, secret, session, request_id, address, person, about, seq FROM audit
			WHERE seq > $1 ORDER BY seq LIMIT $2`, in{behind, most}, func(scan func(...any) error) error {
			var e auth.AuditEntry
			err := scan((*stamp)(&e.At), &e.Act.Actor, &e.Act.Action, (*int64)(&e.About.Account), (*string)(&e.About.Credential), &e.About.Secret,
				(*string)(&e.About.Session), &e.Act.RequestID, (*addr)(&e.Act.Address), (*string)(&e.Act.Person), (*string)(&e.About.Person), &e.Seq)
			acts = append(acts, e)
			return err
		})
	})
	return acts, behind, wrap(err, "read acts for webhooks")
}

// QueueWebhooks puts messages at the end of the queue and moves on in the chain, all or nothing: if somebody else has moved on from
// behind, nothing is done.
func (db *DB) QueueWebhooks(ctx context.Context, behind, to int64, messages []auth.WebhookMessage) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`UPDATE webhook_state SET seq = $1 WHERE seq = $2`, to, behind)
		if err != nil || n == 0 {
			return none, err
		}
		return none, t.queueWebhooks(messages)
	})
	return wrap(err, "queue webhooks")
}

// QueueWebhooksOnce puts messages at the end of the queue unless it was done for what before; that is remembered until then.
func (db *DB) QueueWebhooksOnce(ctx context.Context, what string, until time.Time, messages []auth.WebhookMessage) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`INSERT INTO webhook_told (what, until) VALUES ($1, $2) ON CONFLICT DO NOTHING`, what, until.UnixMilli())
		if err != nil || n == 0 {
			return none, err
		}
		return none, t.queueWebhooks(messages)
	})
	return wrap(err, "queue webhooks")
}

func (t *tx) queueWebhooks(messages []auth.WebhookMessage) error {
	for _, m := range messages {
		if err := t.later(`INSERT INTO webhook_queue (endpoint, event, type, at, body, tries, next_at) VALUES ($1, $2, $3, $4, $5, 0, $6)`,
			m.Endpoint, m.ID, m.Type, m.At.UnixMilli(), m.Body, m.NextAt.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// NextWebhook returns the oldest message for an endpoint; without one it is [auth.ErrNotFound].
func (db *DB) NextWebhook(ctx context.Context, endpoint string) (auth.WebhookMessage, error) {
	m := auth.WebhookMessage{Endpoint: endpoint}
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT number, event, type, at, body, tries, next_at FROM webhook_queue WHERE endpoint = $1 ORDER BY number LIMIT 1`, in{endpoint},
			out{&m.Number, &m.ID, &m.Type, (*stamp)(&m.At), &m.Body, &m.Tries, (*stamp)(&m.NextAt)})
	})
	return m, wrap(notFound(err, "There is no webhook to send"), "read a webhook")
}

// WebhookDelivered takes a message out of the queue.
func (db *DB) WebhookDelivered(ctx context.Context, number int64) error {
	_, err := update(ctx, db, func(t *tx) (int64, error) { return t.exec(`DELETE FROM webhook_queue WHERE number = $1`, number) })
	return wrap(err, "take a webhook out of the queue")
}

// WebhookFailed counts a try that failed, and says when the next is due.
func (db *DB) WebhookFailed(ctx context.Context, number int64, next time.Time) error {
	_, err := update(ctx, db, func(t *tx) (int64, error) {
		return t.exec(`UPDATE webhook_queue SET tries = tries + 1, next_at = $1 WHERE number = $2`, next.UnixMilli(), number)
	})
	return wrap(err, "put a webhook off")
}

// TrimWebhooks drops what is older than before, what is for none of the endpoints, and the oldest of what is more than most for one of
// them; it returns how many messages were dropped for endpoints that are there, and how many wait.
func (db *DB) TrimWebhooks(ctx context.Context, before time.Time, most int, endpoints []string) (dropped, waiting int64, err error) {
	type trimmed struct{ dropped, waiting int64 }
	got, err := update(ctx, db, func(t *tx) (trimmed, error) {
		var got trimmed
		p := picking{}
		var places []string
		for _, e := range endpoints {
			places = append(places, fmt.Sprintf("$%d", p.parameter(e)))
		}
		if _, err := t.exec(`DELETE FROM webhook_queue WHERE endpoint NOT IN (`+strings.Join(places, `, `)+`)`, p.args...); err != nil {
			return got, err
		}
		n, err := t.exec(`DELETE FROM webhook_queue WHERE at < $1`, before.UnixMilli())
		if err != nil {
			return got, err
		}
		got.dropped = n
		for _, e := range endpoints {
			n, err := t.exec(`DELETE FROM webhook_queue WHERE endpoint = $1 AND number <=
				(SELECT number FROM webhook_queue WHERE endpoint = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)`, e, most)
			if err != nil {
				return got, err
			}
			got.dropped += n
		}
		if err := t.later(`DELETE FROM webhook_told WHERE until < $1`, db.Now().UnixMilli()); err != nil {
			return got, err
		}
		return got, t.one(`SELECT count(*) FROM webhook_queue`, nil, out{&got.waiting})
	})
	return got.dropped, got.waiting, wrap(err, "trim the queue of webhooks")
}

// mostTold is how many credentials are looked at at once for webhooks.
const mostTold = 200

// CredentialsToTell returns credentials that end within a time, of which nobody was told under this name yet, the first to end first.
func (db *DB) CredentialsToTell(ctx context.Context, name string, within time.Duration) ([]auth.Credential, error) {
	now := db.Now()
	found, err := db.credentials(ctx, ` WHERE c.expires_at > $1 AND c.expires_at <= $2 AND c.revoked_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM webhook_told t WHERE t.what = $3 || ' ' || c.id || ' ' || c.expires_at) ORDER BY c.expires_at LIMIT $4`,
		now.UnixMilli(), now.Add(within).UnixMilli(), name, mostTold)
	return found, wrap(err, "look for credentials that end")
}

// OldSecretsToTell returns credentials whose old secret ends within a time and was used within [auth.Quiet], after there was a new one;
// of which nobody was told under this name yet, the first to end first. Those that nobody uses must not stand before the others: they
// are never told of.
func (db *DB) OldSecretsToTell(ctx context.Context, name string, within time.Duration) ([]auth.Credential, error) {
	now := db.Now()
	found, err := db.credentials(ctx, ` WHERE c.old_expires_at > $1 AND c.old_expires_at <= $2 AND c.revoked_at IS NULL
		AND (c.expires_at IS NULL OR c.expires_at > $1) AND v.at >= c.secret_created_at AND v.at > $5
		AND NOT EXISTS (SELECT 1 FROM webhook_told t WHERE t.what = $3 || ' ' || c.id || ' ' || c.old_expires_at) ORDER BY c.old_expires_at LIMIT $4`,
		now.UnixMilli(), now.Add(within).UnixMilli(), name, mostTold, now.Add(-auth.Quiet).UnixMilli())
	return found, wrap(err, "look for old secrets that end")
}
