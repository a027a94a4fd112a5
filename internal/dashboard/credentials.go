package dashboard

import (
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// kinds are the choice of what sort a credential is to be.
var kinds = []Option{
	{Value: string(auth.APIKey), Text: kindName(auth.APIKey), Hint: "One text to send in a header; buys access tokens."},
	{Value: string(auth.Basic), Text: kindName(auth.Basic), Hint: "For order tokens."},
	{Value: string(auth.Login), Text: kindName(auth.Login), Hint: "For a login: an access token and a refresh token."},
	{Value: string(auth.OAuth), Text: kindName(auth.OAuth), Hint: "Client credentials, for OAuth 2 libraries."},
}

// A credentialRow is a credential as lists show it.
type credentialRow struct {
	auth.Credential
	Identifier string
	State      string // "live", "expired", "revoked"
	LastUse    auth.Use
}

func (v *visit) row(c auth.Credential) credentialRow {
	r := credentialRow{Credential: c, Identifier: v.d.Registry.Identifier(c), State: "live"}
	if dead := c.Dead(v.d.now()); dead != auth.ReasonNone {
		r.State = string(dead)
	}
	for _, s := range c.Secrets {
		if s.LastUse.At.After(r.LastUse.At) {
			r.LastUse = s.LastUse
		}
	}
	return r
}

// A credentialsPage is a page of an account's credentials.
type credentialsPage struct {
	list[credentialRow]
	Searched bool
	Kinds    []Option
}

var kindChoice = append([]Option{{Text: "Any"}}, kinds...)

// credentials lists those of an account, or those that a search finds.
func (d *Dashboard) credentials(v *visit) error {
	if _, err := v.loadAccount(); err != nil {
		return err
	}
	after, err := v.after("credentials")
	if err != nil {
		return err
	}
	q := auth.CredentialQuery{Account: v.account(), Search: v.query("q"), Kind: auth.Kind(v.query("kind")), Live: v.query("live") != "", Most: perPage + 1}
	if q.After, err = auth.ParseCredentialPlace(after); err != nil {
		return err
	}
	found, err := d.Registry.Credentials(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	var rows []credentialRow
	for _, c := range found {
		rows = append(rows, v.row(c))
	}
	for _, name := range []string{"q", "kind", "live"} {
		v.form.Fill(name, v.query(name))
	}
	return v.page("credentials", "Credentials", credentialsPage{
		paged(v, "credentials", rows, func(r *credentialRow) string { return r.Place().String() }), q.Search != "" || q.Kind != "" || q.Live, kindChoice,
	}, v.trail()...)
}

// newCredential shows the form of a credential to be made.
func (d *Dashboard) newCredential(v *visit) error {
	if _, err := v.loadAccount(); err != nil {
		return err
	}
	return v.page("credential-new", "New credential", kinds, v.trail(v.toCredentials())...)
}

func (v *visit) toCredentials() link { return link{To: v.Base() + "/credentials", Text: "Credentials"} }

// createCredential makes one, and shows its secret this once.
func (d *Dashboard) createCredential(v *visit) error {
	expires, err := v.day("expires")
	if err != nil {
		return v.refused(err, "expires", (*Dashboard).newCredential)
	}
	n := registry.NewCredential{
		Account: v.account(), Kind: auth.Kind(v.form.Get("kind")), Name: v.form.Get("name"),
		Scopes: strings.Fields(v.form.Get("scopes")), Expires: expires,
	}
	if keys := v.form.Get("keys"); keys != "" {
		n.Keys = []byte(keys)
	}
	made, err := d.Registry.CreateCredential(v.r.Context(), v.actor, n)
	if err != nil {
		return v.refused(err, "", (*Dashboard).newCredential)
	}
	return v.issued("Credential created", made)
}

// day reads a day that somebody typed: until the end of it, UTC. Nothing typed is the zero time.
func (v *visit) day(field string) (time.Time, error) {
	text := v.form.Get(field)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, auth.ErrInvalid.Saying("a day is written as 2027-01-31")
	}
	return t.AddDate(0, 0, 1), nil
}

// issued shows what a credential's holder needs, which nobody can read again.
func (v *visit) issued(title string, i registry.Issued) error {
	identifier, secret := i.Reveal()
	type one struct{ Name, Label, Value string }
	var shown []one
	names := map[auth.Kind][2]string{
		auth.APIKey: {"API key", ""}, auth.Basic: {"user ID", "password"}, auth.Login: {"username", "password"}, auth.OAuth: {"client id", "client secret"},
	}[i.Credential.Kind]
	for n, value := range []string{identifier, secret} {
		if value != "" {
			shown = append(shown, one{[]string{"identifier", "secret"}[n], names[n], value})
		}
	}
	data := struct {
		Shown     []one
		Once      bool
		Confirmed bool
		To        string
		Row       credentialRow
		Start     *startPage // nil: it has no secret that a program could be given
	}{
		Shown: shown, Once: i.Credential.Kind == auth.APIKey || secret != "", Confirmed: i.Confirmed,
		To: v.Base() + "/credentials/" + string(i.Credential.ID), Row: v.row(i.Credential),
	}
	if data.Once {
		start := v.startPage(i.Credential, identifier, secret)
		data.Start = &start
	}
	return v.page("issued", title, data, v.trail(v.toCredentials())...)
}

// loadCredential reads the credential of the address, which must be one of the page's account.
func (v *visit) loadCredential() (auth.Credential, error) {
	return v.credentialNamed(v.r.PathValue("credential"))
}

// credentialNamed reads a credential by its id alone, if it is one of the page's account.
func (v *visit) credentialNamed(id string) (auth.Credential, error) {
	c, err := v.d.Registry.Credential(v.r.Context(), v.actor, id)
	if err != nil {
		return c, err
	}
	if c.Account != v.account() || string(c.ID) != id {
		return auth.Credential{}, auth.ErrNotFound
	}
	return c, nil
}

// A secretRow is one of a credential's secrets as its page shows it.
type secretRow struct {
	auth.Secret
	State string // "new", "old", "only", "over"
}

// A credentialPage is what there is to say of a credential.
type credentialPage struct {
	credentialRow
	Secrets  []secretRow
	Rotating bool      // two secrets are live
	Old      secretRow // of a rotation
	Advice   auth.Advice
	Keys     bool
	Here     string
}

// credential shows one.
func (d *Dashboard) credential(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	return v.page("credential", cmpName(c), v.credentialPage(c), v.trail(v.toCredentials())...)
}

func cmpName(c auth.Credential) string {
	if c.Name == "" {
		return kindName(c.Kind)
	}
	return c.Name
}

func (v *visit) credentialPage(c auth.Credential) credentialPage {
	now := v.d.now()
	p := credentialPage{credentialRow: v.row(c), Keys: c.Keys != "", Here: v.Base() + "/credentials/" + string(c.ID)}
	for i, s := range c.Secrets {
		row := secretRow{s, "over"}
		if s.Live(now) {
			row.State = "only"
			if i == 0 && len(c.Secrets) > 1 && c.Secrets[1].Live(now) {
				row.State = "new"
			} else if i > 0 && p.Secrets[0].State == "new" {
				row.State = "old"
				p.Rotating, p.Old = true, row
			}
		}
		p.Secrets = append(p.Secrets, row)
	}
	p.Advice = auth.Advise(c, now)
	return p
}

// Safe says that nobody misses the old secret.
func (p credentialPage) Safe() bool { return p.Advice.Word == auth.Finish }

// editCredential shows what can be changed.
func (d *Dashboard) editCredential(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	v.form.Fill("name", c.Name)
	v.form.Fill("scopes", c.Scope)
	if !c.ExpiresAt.IsZero() {
		v.form.Fill("expires", c.ExpiresAt.Add(-time.Nanosecond).UTC().Format(time.DateOnly))
	}
	return v.page("credential-edit", "Change "+cmpName(c), v.credentialPage(c), v.trail(v.toCredentials(), v.toCredential(c))...)
}

func (v *visit) toCredential(c auth.Credential) link {
	return link{To: v.Base() + "/credentials/" + string(c.ID), Text: cmpName(c)}
}

// updateCredential changes it. What was not touched stays to the letter: an expiry has a time that the form does not show.
func (d *Dashboard) updateCredential(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	var u auth.CredentialUpdate
	if name := v.form.Get("name"); name != c.Name {
		u.Name = &name
	}
	if scope := strings.Join(strings.Fields(v.form.Get("scopes")), " "); scope != c.Scope {
		u.Scope = &scope
	}
	before := ""
	if !c.ExpiresAt.IsZero() {
		before = c.ExpiresAt.Add(-time.Nanosecond).UTC().Format(time.DateOnly)
	}
	if v.form.Get("expires") != before {
		expires, err := v.day("expires")
		if err != nil {
			return v.refused(err, "expires", (*Dashboard).editCredential)
		}
		u.ExpiresAt = &expires
	}
	to := v.toCredential(c).To
	if u == (auth.CredentialUpdate{}) {
		return v.done(to, "Nothing was changed.")
	}
	done, err := d.Registry.UpdateCredential(v.r.Context(), v.actor, c.ID, u)
	if err != nil {
		return v.refused(err, "", (*Dashboard).editCredential)
	}
	return v.done(to, "The credential was changed."+late(done))
}

// late says that a change has not been heard by every server yet.
func late(done registry.Done) string {
	if done.Confirmed {
		return ""
	}
	return " Not every server has said yet that it knows; one that cannot hear of it stops deciding by itself."
}

// overlaps are the choice of how long an old secret goes on.
var overlaps = []Option{
	{Value: "168h", Text: "7 days"},
	{Value: "24h", Text: "1 day"},
	{Value: "720h", Text: "30 days"},
	{Value: "0", Text: "Not at all: it ends now", Hint: "For a secret that leaked."},
}

// askRotate asks how a new secret is to be made.
func (d *Dashboard) askRotate(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	to := v.toCredential(c)
	return v.ask("Rotate "+cmpName(c), Ask{
		Lead: "A new secret is made and shown once. Both are good until the old one ends, so that every program can change over in its own time.",
		Says: []string{"Tokens and sessions live on, unless you say otherwise."},
		Fields: []Field{
			v.form.Choice("overlap", "The old secret goes on for", "", overlaps),
			v.form.Check("end-sessions", "End all sessions and tokens that came from this credential", "For a secret that leaked."),
		},
		Button: "Make a new secret", Makes: true, Back: to.To,
	}, v.trail(v.toCredentials(), to)...)
}

// rotate makes a new secret and shows it this once.
func (d *Dashboard) rotate(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	overlap, err := time.ParseDuration(v.form.Get("overlap"))
	if err != nil || overlap < 0 || overlap > 365*24*time.Hour {
		return v.refused(auth.ErrInvalid.Saying("Choose how long the old secret goes on"), "overlap", (*Dashboard).askRotate)
	}
	var until time.Time
	if overlap > 0 {
		until = d.now().Add(overlap)
	}
	made, err := d.Registry.RotateCredential(v.r.Context(), v.actor, c.ID, until, v.form.Has("end-sessions"))
	if err != nil {
		return v.refused(err, "", (*Dashboard).askRotate)
	}
	return v.issued("New secret", made)
}

// askFinish asks whether the old secret is to end now.
func (d *Dashboard) askFinish(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	p, to := v.credentialPage(c), v.toCredential(c)
	a := Ask{Lead: "The old secret ends now. Whoever still uses it is refused.", Button: "End the old secret", Danger: true, Back: to.To}
	switch {
	case p.Safe():
		a.Says = []string{sentence(p.Advice.Says)}
	case p.Advice.Word != "":
		a.Warning = sentence(p.Advice.Says)
	}
	return v.ask("Finish the rotation", a, v.trail(v.toCredentials(), to)...)
}

func (d *Dashboard) finish(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	done, err := d.Registry.FinishRotation(v.r.Context(), v.actor, c.ID)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askFinish)
	}
	return v.done(v.toCredential(c).To, "The old secret has ended."+late(done))
}

// askUndo asks whether the new secret is to be taken back.
func (d *Dashboard) askUndo(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	to := v.toCredential(c)
	return v.ask("Undo the rotation", Ask{
		Lead:   "The new secret is taken back, and the old one goes on as before the rotation. Whoever uses the new one already is refused.",
		Button: "Take the new secret back", Danger: true, Back: to.To,
	}, v.trail(v.toCredentials(), to)...)
}

func (d *Dashboard) undo(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	done, err := d.Registry.UndoRotation(v.r.Context(), v.actor, c.ID)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askUndo)
	}
	return v.done(v.toCredential(c).To, "The new secret was taken back."+late(done))
}

// askRevoke asks whether a credential is to end.
func (d *Dashboard) askRevoke(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	to := v.toCredential(c)
	a := Ask{
		Lead: "The credential, its tokens and its sessions end at once and for good. This cannot be undone.", Button: "Revoke it", Danger: true, Back: to.To,
	}
	if used := v.row(c).LastUse; !used.At.IsZero() {
		a.Warning = "It was last used " + distance(v.d.now().Sub(used.At)) + "."
	}
	return v.ask("Revoke "+cmpName(c), a, v.trail(v.toCredentials(), to)...)
}

func (d *Dashboard) revoke(v *visit) error {
	c, err := v.loadCredential()
	if err != nil {
		return err
	}
	done, err := d.Registry.RevokeCredential(v.r.Context(), v.actor, c.ID)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askRevoke)
	}
	return v.done(v.toCredential(c).To, "The credential was revoked."+late(done))
}
