package store

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/verify"
)

// A Replay applies to what was loaded, and migrated, what the audit trail of the database that is replaced says was taken away since
// the backup. What was given since is not given; an allowlist is as it was in the end, unless it was empty then.
//
// The secrets of rotations are in no audit trail: the old one ends when it did, and nobody knows the new one.
type Replay struct {
	s *Staging
	t *tx
	// onlyKeys returns the keys of a set that have one of these names, "" if there are none.
	onlyKeys func(set string, names []string) (string, error)

	first, last int64       // numbers of the backup's audit trail
	met         bool        // the last of them has come
	head        chain.Point // the last row that is in the chain
	taken       Taken
	unclear     []string
	suspended   map[int64]bool // since the backup
	limits      map[int64]auth.Rate
	lists       map[int64]bool // whose allowlists were changed
	updates     map[string]auth.Updated
	people      map[auth.PersonID]bool
	lost        map[string]bool // credentials with a secret that nobody has
}

// NewReplay begins. onlyKeys returns the keys of a set that have one of these names, "" if there are none.
func (s *Staging) NewReplay(onlyKeys func(set string, names []string) (string, error)) (*Replay, error) {
	r := &Replay{
		s: s, t: &tx{on: s.conn}, onlyKeys: onlyKeys, suspended: make(map[int64]bool), limits: make(map[int64]auth.Rate),
		lists: make(map[int64]bool), updates: make(map[string]auth.Updated), lost: make(map[string]bool), people: make(map[auth.PersonID]bool),
	}
	err := r.t.one(`SELECT COALESCE(MIN(number), 0), COALESCE(MAX(number), 0) FROM audit`, nil, out{&r.first, &r.last})
	if err == nil {
		r.head, err = auditHead(r.t)
	}
	if err == nil {
		_, err = r.t.exec(`CREATE TEMP TABLE listed AS SELECT * FROM allowlist`)
	}
	return r, wrap(err, "begin to replay the journal")
}

// Act takes over one act. It is [ErrOther] if the backup has another one in its place.
func (r *Replay) Act(e backup.Entry) error {
	if e.Number < r.first { // which the backup had forgotten
		return nil
	}
	var was backup.Entry
	err := r.t.one(`SELECT `+auditColumns+` FROM audit WHERE number = $1`, in{e.Number}, scanEntryOfAudit(&was))
	switch {
	case err == nil:
		r.met = r.met || e.Number == r.last
		if was.Act() != e.Act() {
			return fmt.Errorf("%w: its act number %d is another", ErrOther, e.Number)
		}
		return r.seal(e)
	case !isNoRow(err):
		return err
	}
	if err := r.apply(e); err != nil {
		return fmt.Errorf("act %d, %s: %w", e.Number, e.Action, err)
	}
	_, err = r.t.exec(`INSERT INTO audit (`+actColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		e.Number, e.At.UnixMilli(), e.Actor, e.Action, e.Account, e.Credential, e.Secret, e.Session, e.RequestID, e.Address, e.Detail, e.Person, e.About)
	if err != nil {
		return err
	}
	return r.seal(e)
}

// seal gives an act the place in the chain that the journal says, as long as one follows the other: so what was kept elsewhere of
// the chain holds of what is restored. The rest is sealed by the server that runs next.
func (r *Replay) seal(e backup.Entry) error {
	if e.Seq != r.head.Seq+1 || chain.Next(r.head.Hash, e.Seq, e) != e.Hash {
		return nil
	}
	n, err := r.t.exec(`UPDATE audit SET seq = $1, hash = $2 WHERE number = $3 AND seq IS NULL`, e.Seq, e.Hash[:], e.Number)
	if err != nil || n == 0 {
		return err
	}
	r.head = chain.Point{Seq: e.Seq, Hash: e.Hash}
	_, err = r.t.exec(`INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2)
		ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`, e.Seq, e.Hash[:])
	return err
}

func (r *Replay) apply(e backup.Entry) error {
	at := e.At.UnixMilli()
	switch e.Action {
	case "account.suspend":
		n, err := r.t.exec(`UPDATE accounts SET suspended_at = $1 WHERE id = $2 AND suspended_at IS NULL`, at, e.Account)
		r.suspended[e.Account] = r.suspended[e.Account] || n > 0
		return err
	case "account.resume":
		if !r.suspended[e.Account] { // it was suspended in the backup: that stays
			return nil
		}
		delete(r.suspended, e.Account)
		_, err := r.t.exec(`UPDATE accounts SET suspended_at = NULL WHERE id = $1 AND deleted_at IS NULL`, e.Account)
		return err
	case "account.delete":
		return r.delete(e.Account, at)
	case "account.limit":
		rate, err := auth.ParseLimitDetail(e.Detail)
		if err != nil {
			return r.leave(e)
		}
		r.limits[e.Account] = rate
		return nil
	case "account.allow-ip":
		prefixes, until, err := auth.ParseAllowDetail(e.Detail)
		if err != nil {
			return r.leave(e)
		}
		return r.allow(e, prefixes, until)
	case "account.remove-ip":
		prefixes, err := auth.ParseRemoveDetail(e.Detail)
		if err != nil {
			return r.leave(e)
		}
		return r.disallow(e.Account, prefixes)
	case "credential.revoke":
		n, err := r.t.exec(`UPDATE credentials SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, at, e.Credential)
		r.taken.Revoked += n
		return err
	case "credential.update":
		u, err := auth.ParseUpdateDetail(e.Detail)
		if err != nil {
			return r.leave(e)
		}
		r.updates[e.Credential] = after(r.updates[e.Credential], u)
		return nil
	case "credential.rotate":
		until, err := auth.ParseRotateDetail(e.Detail)
		if err != nil {
			return r.leave(e)
		}
		return r.rotate(e, max(until.UnixMilli(), at))
	case "credential.rotate-finish":
		_, err := r.t.exec(`UPDATE credentials SET old_expires_at = $1 WHERE id = $2 AND old_number = $3 AND old_expires_at > $1`, at, e.Credential, e.Secret)
		return err
	case "credential.rotate-undo":
		delete(r.lost, e.Credential)
		_, err := r.t.exec(`UPDATE credentials SET
				secret_number = old_number, secret_digest = old_digest, secret_pepper = old_pepper, secret_created_at = old_created_at,
				old_number = NULL, old_digest = NULL, old_pepper = NULL, old_created_at = NULL, old_expires_at = NULL
			WHERE id = $1 AND old_number = $2`, e.Credential, e.Secret)
		return err
	case "operator.remove", "member.remove", "operator.reset", "member.reset", "operator.role", "member.role", "person.password",
		"person.second-factor", "person.recovery-codes", "person.passkey-remove", "person.openid-remove", "person.sign-in", "person.confirm":
		return r.person(e)
	case "token.revoke":
		id, _, _ := strings.Cut(e.Detail, " ")
		n, err := r.t.exec(`UPDATE operator_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, at, id)
		r.taken.Tokens += n
		return err
	case "account.create":
		r.taken.AccountsGone++
		return nil
	case "credential.create":
		r.taken.CredentialsGone++
		return nil
	case "account.rename", "session.revoke", "session.reuse", "session.logout", "signing-key.rotate", "signing-key.revoke",
		"master-key.rotate", "database.restore", "audit-key.create", "denied", "operator.setup-link", "operator.invite", "member.invite", "token.create", "person.join", "person.sign-out",
		"person.session-end", "person.passkey-add", "person.passkey-rename", "person.openid-add", "webhook.test":
		return nil // sessions and signing keys begin anew; what was given is not given
	}
	return r.leave(e)
}

// person takes from a person what an act took. Of a password, an authenticator or codes that were replaced the new ones are in no
// audit trail, and the old ones are gone: with nothing left to sign in with, the person needs a new link.
func (r *Replay) person(e backup.Entry) error {
	id, rest := auth.PersonID(e.About), strings.Fields(e.Detail) // the id, the e-mail address, and what else there is
	if id == "" || len(rest) < 2 || rest[0] != e.About {
		return r.leave(e)
	}
	rest = rest[1:]
	run := func(query string, more ...any) error {
		n, err := r.t.exec(query, append(in{string(id)}, more...)...)
		if n > 0 {
			r.people[id] = true
		}
		return err
	}
	var err error
	switch _, what, _ := strings.Cut(e.Action, "."); what {
	case "remove":
		if err = run(`UPDATE people SET state = 'removed', removed_at = $2, `+noProofs+` WHERE id = $1 AND state <> 'removed'`, e.At.UnixMilli()); err == nil {
			err = r.t.forgetProofs(id)
		}
	case "reset":
		if err = run(`UPDATE people SET state = 'invited', ` + noProofs + ` WHERE id = $1 AND state = 'active'`); err == nil {
			err = r.t.forgetProofs(id)
		}
	case "role":
		if len(rest) != 4 || rest[2] != "to" {
			return r.leave(e)
		}
		err = run(`UPDATE people SET role = $2 WHERE id = $1 AND `+mightOf("people")+` > CASE $2 WHEN 'owner' THEN 3 WHEN 'admin' THEN 2 WHEN 'developer' THEN 2 ELSE 1 END`, rest[3])
	case "password", "second-factor":
		if err = run(`UPDATE people SET ` + noProofs + ` WHERE id = $1 AND (password IS NOT NULL OR totp_sealed IS NOT NULL)`); err == nil {
			err = run(`DELETE FROM recovery_codes WHERE person = $1`)
		}
	case "recovery-codes":
		err = run(`DELETE FROM recovery_codes WHERE person = $1`)
	case "sign-in", "confirm":
		if strings.HasSuffix(e.Detail, " a recovery code") { // which of them is not told
			err = run(`DELETE FROM recovery_codes WHERE person = $1`)
		}
	case "passkey-remove":
		err = run(`DELETE FROM passkeys WHERE person = $1 AND name = $2`, strings.TrimPrefix(e.Detail, string(id)+" "+rest[0]+" "))
	case "openid-remove":
		err = run(`DELETE FROM openids WHERE person = $1 AND issuer = $2`, rest[len(rest)-1])
	}
	if err != nil {
		return err
	}
	_, err = r.t.exec(`UPDATE people SET state = 'invited' WHERE id = $1 AND state = 'active' AND password IS NULL
		AND NOT EXISTS (SELECT 1 FROM passkeys WHERE person = $1) AND NOT EXISTS (SELECT 1 FROM openids WHERE person = $1)`, string(id))
	return err
}

// leave notes an act of which it cannot be told what it took away.
func (r *Replay) leave(e backup.Entry) error {
	r.unclear = append(r.unclear, fmt.Sprintf("number %d, %s of %s", e.Number, e.Action, e.At.Format(time.RFC3339)))
	return nil
}

// after is what two changes to a credential come to.
func after(was, u auth.Updated) auth.Updated {
	if u.Scope == nil {
		u.Scope = was.Scope
	}
	if u.ExpiresAt == nil {
		u.ExpiresAt = was.ExpiresAt
	}
	if !u.KeysSet {
		u.KeysSet, u.Keys = was.KeysSet, was.Keys
	}
	return u
}

func (r *Replay) delete(account, at int64) error {
	n, err := r.t.exec(`UPDATE accounts SET deleted_at = $1, suspended_at = COALESCE(suspended_at, $1), name = '', ref = NULL,
		requests_count = 0, requests_per = 0, requests_burst = 0 WHERE id = $2 AND deleted_at IS NULL`, at, account)
	if err != nil {
		return err
	}
	r.taken.Deleted += n
	if _, err := r.t.exec(`UPDATE credentials SET revoked_at = $1 WHERE account = $2 AND revoked_at IS NULL`, at, account); err != nil {
		return err
	}
	if _, err = r.t.exec(`DELETE FROM allowlist WHERE account = $1`, account); err != nil {
		return err
	}
	return r.t.removeMembers(auth.AccountID(account), time.UnixMilli(at))
}

func (r *Replay) allow(e backup.Entry, prefixes []netip.Prefix, until time.Time) error {
	for _, p := range prefixes {
		n, err := r.t.exec(`INSERT INTO allowlist (account, prefix, note, created_at, expires_at)
			SELECT id, $1, '', $2, $3 FROM accounts WHERE id = $4 AND deleted_at IS NULL
			ON CONFLICT (account, prefix) DO UPDATE SET expires_at = excluded.expires_at`, p.String(), e.At.UnixMilli(), ms(until), e.Account)
		if err != nil {
			return err
		}
		r.lists[e.Account] = r.lists[e.Account] || n > 0
	}
	return nil
}

func (r *Replay) disallow(account int64, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		n, err := r.t.exec(`DELETE FROM allowlist WHERE account = $1 AND prefix = $2`, account, p.String())
		if err != nil {
			return err
		}
		r.lists[account] = r.lists[account] || n > 0
	}
	return nil
}

// rotate gives a credential a secret that nobody has, in the place of the one that was made since.
func (r *Replay) rotate(e backup.Entry, until int64) error {
	nobodys := make([]byte, 32)
	rand.Read(nobodys)
	n, err := r.t.exec(`UPDATE credentials SET
			old_number = secret_number, old_digest = secret_digest, old_pepper = secret_pepper, old_created_at = secret_created_at,
			old_expires_at = $1, secrets_made = $2, secret_number = $2, secret_digest = $3, secret_created_at = $4
		WHERE id = $5 AND secret_number IS NOT NULL AND secrets_made < $2`, until, e.Secret, nobodys, e.At.UnixMilli(), e.Credential)
	if n > 0 {
		r.lost[e.Credential] = true
	}
	return err
}

// Finish applies what only the last act tells, and returns what was taken away, and the acts of which nobody can tell. A journal
// without the backup's last act is [ErrOther]: something may be missing between the two.
func (r *Replay) Finish() (Taken, []string, error) {
	if !r.met && r.last > 0 {
		return Taken{}, nil, fmt.Errorf("%w: it lacks act number %d, the backup's last, so something may be missing between the two; export the whole audit trail", ErrOther, r.last)
	}
	err := r.finish()
	return r.taken, r.unclear, wrap(err, "replay the journal")
}

func (r *Replay) finish() error {
	r.taken.People = int64(len(r.people))
	r.taken.Suspended, r.taken.SecretsLost, r.taken.Rotated = int64(len(r.suspended)), int64(len(r.lost)), int64(len(r.lost))
	for account, rate := range r.limits {
		if rate.None() {
			continue
		}
		n, err := r.t.exec(`UPDATE accounts SET requests_count = $1, requests_per = $2, requests_burst = $3
			WHERE id = $4 AND deleted_at IS NULL AND (requests_count = 0 OR $1 * requests_per < requests_count * $2)`,
			rate.Count, rate.Per.Milliseconds(), rate.Burst, account)
		if err != nil {
			return err
		}
		r.taken.Limited += n
	}
	for account := range r.lists {
		r.taken.Allowlists++
		if _, err := r.t.exec(`INSERT INTO allowlist SELECT * FROM listed WHERE account = $1
			AND NOT EXISTS (SELECT 1 FROM allowlist WHERE account = $1) AND EXISTS (SELECT 1 FROM accounts WHERE id = $1 AND deleted_at IS NULL)`, account); err != nil {
			return err
		}
	}
	for id, u := range r.updates {
		if err := r.narrow(id, u); err != nil {
			return fmt.Errorf("credential %s: %w", id, err)
		}
	}
	return nil
}

// narrow takes from a credential what changes since took.
func (r *Replay) narrow(id string, u auth.Updated) error {
	var scope string
	var keys text
	err := r.t.one(`SELECT scope, jwks FROM credentials WHERE id = $1`, in{id}, out{&scope, &keys})
	if isNoRow(err) {
		return nil // made since
	}
	if err != nil {
		return err
	}
	narrowed := false
	if u.Scope != nil {
		if both := verify.Intersect(scope, *u.Scope); both != scope {
			narrowed = true
			if err := r.t.setScope(id, both); err != nil {
				return err
			}
		}
	}
	if u.ExpiresAt != nil && !u.ExpiresAt.IsZero() {
		n, err := r.t.exec(`UPDATE credentials SET expires_at = $1 WHERE id = $2 AND (expires_at IS NULL OR expires_at > $1)`, u.ExpiresAt.UnixMilli(), id)
		if err != nil {
			return err
		}
		narrowed = narrowed || n > 0
	}
	if narrowed {
		r.taken.Narrowed++
	}
	if !u.KeysSet || keys == "" {
		return nil
	}
	left, err := r.onlyKeys(string(keys), u.Keys)
	if err != nil || left == string(keys) {
		return err
	}
	r.taken.Rotated++
	if left != "" {
		_, err = r.t.exec(`UPDATE credentials SET jwks = $1 WHERE id = $2`, left, id)
		return err
	}
	// Without keys it needs a secret: one that nobody has.
	r.taken.SecretsLost++
	nobodys := make([]byte, 32)
	rand.Read(nobodys)
	_, err = r.t.exec(`UPDATE credentials SET jwks = NULL, secrets_made = secrets_made + 1,
			secret_number = COALESCE(secret_number, secrets_made + 1), secret_digest = COALESCE(secret_digest, $1),
			secret_pepper = COALESCE(secret_pepper, (SELECT id FROM keys WHERE ring = 'pepper' ORDER BY seq DESC LIMIT 1)),
			secret_created_at = COALESCE(secret_created_at, $2) WHERE id = $3`, nobodys, r.s.clock.Now().UnixMilli(), id)
	return err
}
