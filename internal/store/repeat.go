package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Repeat returns what was done under an Idempotency-Key, by its digest, as long as that is remembered.
func (db *DB) Repeat(ctx context.Context, key []byte) (auth.Repeat, error) {
	var r auth.Repeat
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT request, answer FROM repeats WHERE digest = $1 AND until > $2 AND answer IS NOT NULL`,
			in{key, db.Now().UnixMilli()}, out{&r.Request, &r.Answer})
	})
	if isNoRow(err) {
		return auth.Repeat{}, nil
	}
	return r, wrap(err, "look for an idempotency key")
}

// AmendRepeat replaces the answer that is kept under a key.
func (db *DB) AmendRepeat(ctx context.Context, key []byte, answer string) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		return none, t.later(`UPDATE repeats SET answer = $1 WHERE digest = $2`, answer, key)
	})
	return wrap(err, "amend the answer under an idempotency key")
}

// once keeps the answer to an act under its key. Where there is one already it is [auth.ErrDone], which undoes the act: of two at
// the same time, the later waits here for the earlier.
func (t *tx) once(act auth.Act, about auth.Subject, now time.Time) error {
	o := act.Terms.Once
	if o == nil {
		return nil
	}
	var made any
	if act.Makes != nil {
		made = act.Makes(about, now)
	}
	n, err := t.exec(`INSERT INTO repeats (digest, request, answer, until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (digest) DO UPDATE SET request = excluded.request, answer = excluded.answer, until = excluded.until WHERE repeats.until <= $5`,
		o.Key, o.Request, o.Answer(made), o.Until.UnixMilli(), now.UnixMilli())
	if err == nil && n == 0 {
		err = auth.ErrDone
	}
	return err
}

// expectAccount is [auth.ErrChanged] unless the account is as terms have it. Nobody changes it any more until this transaction ends.
func (t *tx) expectAccount(terms auth.Terms, id auth.AccountID) error {
	if terms.Account == nil {
		return nil
	}
	if err := t.lockAccount(id); err != nil {
		return err
	}
	a, err := accountWithList(t, `SELECT `+accountColumns+` FROM accounts WHERE id = $1`, int64(id))
	if err == nil && !terms.Account(a) {
		err = auth.ErrChanged
	}
	return err
}

// expectCredential is expectAccount for a credential. Of its secrets the last uses are not known here.
func (t *tx) expectCredential(terms auth.Terms, id auth.CredentialID) error {
	if terms.Credential == nil {
		return nil
	}
	if err := t.later(`UPDATE credentials SET name = name WHERE id = $1`, string(id)); err != nil {
		return err
	}
	c, err := t.state(id)
	if err == nil && !terms.Credential(c) {
		err = auth.ErrChanged
	}
	return err
}

// expectPerson is expectAccount for a person of the account (0: an operator) who was not removed.
func (t *tx) expectPerson(terms auth.Terms, account auth.AccountID, id auth.PersonID) error {
	if terms.Person == nil {
		return nil
	}
	if err := t.hold(`SELECT 1 FROM people WHERE id = $1 FOR NO KEY UPDATE`, string(id)); err != nil {
		return err
	}
	p, err := t.person(id)
	switch {
	case err != nil:
		return err
	case p.Account != account || p.State == auth.Removed:
		return errNoPerson
	case !terms.Person(p):
		return auth.ErrChanged
	}
	return nil
}

// expectToken is expectAccount for a token of the admin API.
func (t *tx) expectToken(terms auth.Terms, id auth.OperatorTokenID) error {
	if terms.Token == nil {
		return nil
	}
	if err := t.hold(`SELECT 1 FROM operator_tokens WHERE id = $1 FOR NO KEY UPDATE`, string(id)); err != nil {
		return err
	}
	o, err := operatorToken(t, id)
	if err == nil && !terms.Token(o) {
		err = auth.ErrChanged
	}
	return err
}

// expectKey is expectAccount for a key. Whoever asks has called [tx.holdKeys].
func (t *tx) expectKey(terms auth.Terms, id auth.KeyID) error {
	if terms.Key == nil {
		return nil
	}
	if err := t.keyExists(id); err != nil {
		return err
	}
	all, err := keys(t.all)
	if err == nil && !terms.Key(all, id) {
		err = auth.ErrChanged
	}
	return err
}
