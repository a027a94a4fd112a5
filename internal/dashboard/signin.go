package dashboard

import (
	"cmp"
	"net/url"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
)

// signInRoutes are the pages that let people in, and those of who they are.
func signInRoutes() []route {
	return []route{
		{both, get, "/sign-in", "", true, (*Dashboard).signInPage},
		{both, post, "/sign-in", "", true, (*Dashboard).signIn},
		{both, get, "/sign-in/code", "", true, (*Dashboard).codePage},
		{both, post, "/sign-in/code", "", true, (*Dashboard).code},
		{both, get, "/join", "", true, (*Dashboard).joinPage},
		{both, post, "/join", "", true, (*Dashboard).join},
		{both, post, "/sign-out", "", true, (*Dashboard).signOut},
		{both, get, "/second-factor", "", true, (*Dashboard).factorPage},
		{both, post, "/second-factor", "", true, (*Dashboard).factor},
		{both, get, "/confirm", "", false, (*Dashboard).confirmPage},
		{both, post, "/confirm", "", false, (*Dashboard).confirm},
		{both, get, "/profile", "", false, (*Dashboard).profile},
		{both, get, "/profile/password", "", false, (*Dashboard).passwordPage},
		{both, post, "/profile/password", "", false, (*Dashboard).password},
		{both, get, "/profile/recovery-codes", "", false, (*Dashboard).askCodes},
		{both, post, "/profile/recovery-codes", "", false, (*Dashboard).newCodes},
		{both, get, "/profile/sessions/{session}/end", "", false, (*Dashboard).askEndOwn},
		{both, post, "/profile/sessions/{session}/end", "", false, (*Dashboard).endOwn},
		{both, get, "/profile/end-sessions", "", false, (*Dashboard).askEndOthers},
		{both, post, "/profile/end-sessions", "", false, (*Dashboard).endOthers},
	}
}

// kind is whose dashboard it is.
func (d *Dashboard) kind() auth.PersonKind {
	if d.Side == Members {
		return auth.Member
	}
	return auth.Operator
}

// goingTo is the page to go to once somebody has signed in: where they wanted to go, if that is one of ours.
func (v *visit) goingTo() string {
	if to, ok := own(cmp.Or(v.form.Get("next"), v.query("next"))); ok {
		return to
	}
	return Root + "/"
}

// Onward carries that page along in an address.
func (v *visit) onward(path string) string {
	if to := v.goingTo(); to != Root+"/" {
		return path + "?" + url.Values{"next": {to}}.Encode()
	}
	return path
}

// onlyOnce is what the forms of signing in know beside what is typed.
type onlyOnce struct{ Next string }

// signInPage asks who comes.
func (d *Dashboard) signInPage(v *visit) error {
	if v.signedIn() {
		return v.redirectTo(v.goingTo())
	}
	v.sendProbe()
	return v.page("sign-in", "Sign in", onlyOnce{v.goingTo()})
}

func (d *Dashboard) signIn(v *visit) error {
	if other := v.another((*Dashboard).passkeySignIn, (*Dashboard).signInElsewhere); other != nil {
		return other(d, v)
	}
	signed, err := d.People.SignIn(v.r.Context(), d.kind(), v.form.Get("email"), v.form.Raw("password"), v.cookie(v.d.deviceCookie()), v.r.Caller)
	if err != nil {
		return v.refused(err, "", (*Dashboard).signInPage)
	}
	return v.signed(signed)
}

// stepOf is where somebody goes on who has come so far.
func stepOf(stage auth.Stage) string {
	switch stage {
	case auth.StageSecond:
		return "/sign-in/code"
	case auth.StageEnroll:
		return "/second-factor"
	}
	return "/sign-in"
}

// step leads to what a session still waits for, and from there on.
func (v *visit) step(stage auth.Stage) error {
	if stage == auth.StageFull {
		return v.redirectTo(v.goingTo())
	}
	return v.redirect(v.onward(stepOf(stage)))
}

// waits says whether the session waits for this step; if it does not, it leads to the one that it waits for.
func (v *visit) waits(for_ auth.Stage) (bool, error) {
	if v.signedIn() {
		return false, v.redirectTo(v.goingTo())
	}
	stage, err := v.half()
	if err != nil || stage == for_ {
		return err == nil, err
	}
	return false, v.step(stage)
}

// codePage asks for the code of the second factor.
func (d *Dashboard) codePage(v *visit) error {
	if here, err := v.waits(auth.StageSecond); !here {
		return err
	}
	return v.page("code", "Second step", onlyOnce{v.goingTo()})
}

func (d *Dashboard) code(v *visit) error {
	if here, err := v.waits(auth.StageSecond); !here {
		return err
	}
	signed, err := d.People.Second(v.r.Context(), v.token(), v.form.Get("code"), v.r.Caller)
	if err != nil {
		return v.refused(err, "code", (*Dashboard).codePage)
	}
	return v.signed(signed)
}

// signOut ends the session, whole or half.
func (d *Dashboard) signOut(v *visit) error {
	if err := d.People.SignOut(v.r.Context(), v.token(), v.r.Caller); err != nil {
		return err
	}
	v.setCookie(d.sessionCookie(), "")
	return v.done("/sign-in", "You have signed out.")
}

// A joining is what the page of a one-time link knows.
type joining struct {
	Code    string
	Invited *auth.Person // whom the code lets in; nil: not looked at yet
	First   bool         // the first operator, who says who they are
}

// joinPage takes the code of a one-time link. It stands behind the # of the link, so that no server between saw it; a script
// puts it into the form, and without one it is pasted. Whom it lets in is said before anything else is asked.
func (d *Dashboard) joinPage(v *visit) error {
	v.sendProbe()
	j := joining{Code: v.form.Get("code")}
	if len(v.form.Problems) > 0 && j.Code != "" { // of what came with it; or else the code itself was no good
		if p, err := v.invited(j.Code); err == nil {
			j.Invited, j.First = &p, p.Email == ""
		}
	}
	return v.page("join", "Join", j)
}

// invited says whom a code lets in here. One for the other dashboard lets nobody in.
func (v *visit) invited(code string) (auth.Person, error) {
	p, err := v.d.People.Invited(v.r.Context(), code, v.r.Caller)
	if err == nil && p.Kind() != v.d.kind() {
		err = auth.ErrBadLink
	}
	return p, err
}

// join takes the code alone and asks for the rest, or everything.
func (d *Dashboard) join(v *visit) error {
	if other := v.another((*Dashboard).passkeyJoin, (*Dashboard).joinElsewhere); other != nil {
		return other(d, v)
	}
	code := v.form.Get("code")
	if v.form.Raw("password") == "" && v.form.sent["looked"] == "" {
		p, err := v.invited(code)
		if err != nil {
			return v.refused(err, "code", (*Dashboard).joinPage)
		}
		return v.page("join", "Join", joining{code, &p, p.Email == ""})
	}
	if _, err := v.invited(code); err != nil {
		return v.refused(err, "code", (*Dashboard).joinPage)
	}
	signed, err := d.People.Join(v.r.Context(), code, people.Joining{
		Email: v.form.Get("email"), Name: v.form.Get("name"), Password: v.form.Raw("password"),
	}, v.r.Caller)
	if err != nil {
		return v.refused(err, "", (*Dashboard).joinPage)
	}
	return v.signed(signed)
}
