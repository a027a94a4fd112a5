package dashboard

import (
	"context"
	"encoding/base64"
	"errors"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/passkey"
	"github.com/gatehouse/gatehouse/internal/people"
)

// A passkeyAsk is what a page asks a browser, for the script.
type passkeyAsk struct {
	Options string // as JSON; "": nothing can be asked
	Why     string // why not, "" if nobody need know
}

// PasskeySignIn asks for any passkey.
func (v *visit) PasskeySignIn() (passkeyAsk, error) {
	if v.d.Passkeys == nil {
		return passkeyAsk{}, nil
	}
	if offered, why := v.d.Passkeys.Offered(); !offered {
		return passkeyAsk{Why: why}, nil
	}
	options, err := v.d.Passkeys.SignIn(v.browser())
	return passkeyAsk{Options: string(options)}, err
}

// PasskeyConfirm asks for one of the visitor's own.
func (v *visit) PasskeyConfirm() (passkeyAsk, error) {
	if v.d.Passkeys == nil || v.visitor.Person.Passkeys == 0 {
		return passkeyAsk{}, nil
	}
	owner, err := v.owner()
	if err != nil {
		return passkeyAsk{}, err
	}
	options, err := v.d.Passkeys.Confirm(v.browser(), owner)
	if errors.Is(err, passkey.ErrNotOffered) { // there are some, for another name of this server
		return passkeyAsk{}, nil
	}
	return passkeyAsk{Options: string(options)}, err
}

// PasskeyJoin asks for a new one, for whom a one-time link lets in.
func (v *visit) PasskeyJoin(p auth.Person) (passkeyAsk, error) {
	if v.d.Passkeys == nil {
		return passkeyAsk{}, nil
	}
	if offered, why := v.d.Passkeys.Offered(); !offered {
		return passkeyAsk{Why: why}, nil
	}
	options, err := v.d.Passkeys.Register(v.browser(), passkey.Owner{Person: p.ID, Email: p.Email})
	return passkeyAsk{Options: string(options)}, err
}

// owner is the visitor with his passkeys.
func (v *visit) owner() (passkey.Owner, error) {
	keys, err := v.d.People.Passkeys(v.r.Context(), v.visitor)
	return passkey.Owner{Person: v.visitor.Person.ID, Email: v.visitor.Person.Email, Passkeys: keys}, err
}

// passkeySignIn lets in who has shown a passkey.
func (d *Dashboard) passkeySignIn(v *visit) error {
	refund, err := d.People.Attempt(v.r.Caller)
	if err != nil {
		return v.unproven(err, (*Dashboard).signInPage)
	}
	person, key, err := d.Passkeys.SignedIn(v.r.Context(), v.browser(), []byte(v.form.Raw("answer")), func(ctx context.Context, id []byte) (passkey.Owner, error) {
		p, keys, err := d.People.PasskeyOwner(ctx, d.kind(), id)
		return passkey.Owner{Person: p.ID, Email: p.Email, Passkeys: keys}, err
	})
	if err != nil {
		v.copied(person, err)
		return v.unproven(err, (*Dashboard).signInPage)
	}
	signed, err := d.People.SignInPasskey(v.r.Context(), d.kind(), person, key, v.r.Caller)
	if err != nil {
		return v.unproven(err, (*Dashboard).signInPage)
	}
	refund()
	return v.signed(signed)
}

// copied has whoever runs the server hear of a passkey that there are two of.
func (v *visit) copied(person auth.PersonID, err error) {
	if errors.Is(err, passkey.ErrCopied) {
		v.d.Log.Warn("a passkey has counted backwards, as if it had been copied; it was refused", "person", person, "request_id", v.r.Caller.RequestID)
	}
}

// passkeyConfirm takes a passkey as the proof that it is still the visitor who sits there.
func (d *Dashboard) passkeyConfirm(v *visit) error {
	again := v.confirmAgain()
	refund, err := d.People.Attempt(v.r.Caller)
	if err != nil {
		return v.unproven(err, again)
	}
	owner, err := v.owner()
	if err != nil {
		return err
	}
	key, err := d.Passkeys.Confirmed(v.r.Context(), v.browser(), owner, []byte(v.form.Raw("answer")))
	if err != nil {
		v.copied(owner.Person, err)
		return v.unproven(err, again)
	}
	signed, err := d.People.ConfirmPasskey(v.r.Context(), v.visitor, key, v.r.Caller)
	if err != nil {
		return v.unproven(err, again)
	}
	refund()
	return v.proved(signed, v.form.Get("confirm-next"), v.form.Get("confirm-kept"))
}

// passkeyJoin takes a one-time link, and a passkey that its owner signs in with from now on.
func (d *Dashboard) passkeyJoin(v *visit) error {
	code := v.form.Get("code")
	p, err := v.invited(code)
	if err != nil {
		return v.refused(err, "code", (*Dashboard).joinPage)
	}
	key, err := d.Passkeys.Registered(v.r.Context(), v.browser(), passkey.Owner{Person: p.ID, Email: p.Email}, []byte(v.form.Raw("answer")))
	if err != nil {
		return v.unproven(err, (*Dashboard).joinPage)
	}
	key.Name = passkeyName("")
	signed, err := d.People.Join(v.r.Context(), code, people.Joining{Email: v.form.Get("email"), Name: v.form.Get("name"), Passkey: &key}, v.r.Caller)
	if err != nil {
		return v.unproven(err, (*Dashboard).joinPage)
	}
	return v.signed(signed)
}

const mostPasskeyName = 64

// passkeyName is what a passkey is called whose owner says nothing, or too much.
func passkeyName(said string) string {
	if said == "" {
		return "Passkey"
	}
	if runes := []rune(said); len(runes) > mostPasskeyName {
		return string(runes[:mostPasskeyName])
	}
	return said
}

// passkeyPage asks for another passkey.
func (d *Dashboard) passkeyPage(v *visit) error {
	if d.Passkeys == nil {
		return auth.ErrNotFound
	}
	if v.stale() {
		return v.confirmFirst()
	}
	offered, why := d.Passkeys.Offered()
	if !offered {
		return v.page("passkey-new", "Add a passkey", passkeyAsk{Why: why}, toProfile)
	}
	owner, err := v.owner()
	if err != nil {
		return err
	}
	options, err := d.Passkeys.Register(v.browser(), owner)
	if errors.Is(err, passkey.ErrTooMany) {
		return v.page("passkey-new", "Add a passkey", passkeyAsk{Why: passkey.ErrTooMany.Msg}, toProfile)
	}
	if err != nil {
		return err
	}
	return v.page("passkey-new", "Add a passkey", passkeyAsk{Options: string(options)}, toProfile)
}

func (d *Dashboard) addPasskey(v *visit) error {
	if d.Passkeys == nil {
		return auth.ErrNotFound
	}
	if v.stale() {
		return v.confirmFirst()
	}
	owner, err := v.owner()
	if err != nil {
		return err
	}
	name := v.form.Get("name")
	if !utf8.ValidString(name) {
		return auth.ErrInvalid
	}
	key, err := d.Passkeys.Registered(v.r.Context(), v.browser(), owner, []byte(v.form.Raw("answer")))
	if err == nil {
		key.Name = passkeyName(name)
		err = d.People.AddPasskey(v.r.Context(), v.visitor, key)
	}
	if err != nil {
		return v.unproven(err, (*Dashboard).passkeyPage)
	}
	return v.done(toProfile.To, "The passkey was added: you can sign in with it from now on.")
}

// A listedPasskey is one as its owner sees it.
type listedPasskey struct {
	auth.Passkey
	Path string // of its pages
}

func passkeyPath(id []byte) string {
	return Root + "/profile/passkeys/" + base64.RawURLEncoding.EncodeToString(id)
}

// MyPasskeys are the visitor's.
func (v *visit) MyPasskeys() ([]listedPasskey, error) {
	if v.d.Passkeys == nil {
		return nil, nil
	}
	keys, err := v.d.People.Passkeys(v.r.Context(), v.visitor)
	if err != nil {
		return nil, err
	}
	var all []listedPasskey
	for _, k := range keys {
		all = append(all, listedPasskey{k, passkeyPath(k.ID)})
	}
	return all, nil
}

// PasskeysOffered says whether there can be passkeys here, and PasskeysWhy why not.
func (v *visit) PasskeysOffered() bool { return v.d.Passkeys != nil && v.PasskeysWhy() == "" }

// PasskeysWhy says why there are none.
func (v *visit) PasskeysWhy() string {
	if v.d.Passkeys == nil {
		return ""
	}
	_, why := v.d.Passkeys.Offered()
	return why
}

// myPasskey is the one of the visitor's that the address names.
func (v *visit) myPasskey() (auth.Passkey, error) {
	all, err := v.MyPasskeys()
	if err != nil {
		return auth.Passkey{}, err
	}
	for _, k := range all {
		if k.Path == Root+"/profile/passkeys/"+v.r.PathValue("passkey") {
			return k.Passkey, nil
		}
	}
	return auth.Passkey{}, auth.ErrNotFound
}

// passkeyNamePage asks for another name of a passkey.
func (d *Dashboard) passkeyNamePage(v *visit) error {
	k, err := v.myPasskey()
	if err != nil {
		return err
	}
	v.form.Fill("name", k.Name)
	return v.page("passkey-rename", "Rename a passkey", k, toProfile)
}

// renamePasskey gives it that name. It wants no fresh proof: nobody signs in otherwise for it.
func (d *Dashboard) renamePasskey(v *visit) error {
	k, err := v.myPasskey()
	if err != nil {
		return err
	}
	name := v.form.Get("name")
	if name == k.Name {
		return v.redirectTo(toProfile.To)
	}
	if err := d.People.RenamePasskey(v.r.Context(), v.visitor, k.ID, name); err != nil {
		return v.refused(err, "name", (*Dashboard).passkeyNamePage)
	}
	return v.done(toProfile.To, "The passkey has another name.")
}

// askRemovePasskey asks whether a passkey is to be forgotten.
func (d *Dashboard) askRemovePasskey(v *visit) error {
	k, err := v.myPasskey()
	if err != nil {
		return err
	}
	return v.ask("Remove a passkey", Ask{
		Lead:   "Nobody can sign in with “" + k.Name + "” any more.",
		Says:   []string{"It stays on the device that it is on, and is worth nothing there: remove it there too."},
		Button: "Remove it", Danger: true, Back: toProfile.To,
	}, toProfile)
}

func (d *Dashboard) removePasskey(v *visit) error {
	if v.stale() {
		return v.confirmFirst()
	}
	k, err := v.myPasskey()
	if err != nil {
		return err
	}
	if err := d.People.RemovePasskey(v.r.Context(), v.visitor, k.ID); err != nil {
		return v.refused(err, "", (*Dashboard).askRemovePasskey)
	}
	return v.done(toProfile.To, "The passkey was removed.")
}
