package dashboard

import (
	"cmp"
	"net/url"

	"github.com/gatehouse/gatehouse/internal/auth"
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
	if v.stage() == auth.StageFull {
		return v.redirectTo(v.goingTo())
	}
	v.sendProbe()
	return v.page("sign-in", "Sign in", onlyOnce{v.goingTo()})
}

func (d *Dashboard) signIn(v *visit) error {
	signed, err := d.People.SignIn(v.r.Context(), d.kind(), v.form.Get("email"), v.form.Raw("password"), v.r.Caller)
	if err != nil {
		return v.refused(err, "", (*Dashboard).signInPage)
	}
	return v.signed(signed)
}

// signed keeps the session that came of a step of signing in, and leads to the next step.
func (v *visit) signed(s SignedIn) error {
	v.setCookie(v.d.sessionCookie(), s.Token)
	return v.step(s.Stage)
}

// step leads to what a session still waits for.
func (v *visit) step(stage auth.Stage) error {
	switch stage {
	case auth.StageSecond:
		return v.redirect(v.onward("/sign-in/code"))
	case auth.StageEnroll:
		return v.redirect(v.onward("/second-factor"))
	}
	return v.redirectTo(v.goingTo())
}

// stage is how far who comes has signed in; "": not at all.
func (v *visit) stage() auth.Stage { return v.visitor.Session.Stage }

// codePage asks for the code of the second factor.
func (d *Dashboard) codePage(v *visit) error {
	if v.stage() != auth.StageSecond {
		return v.redirect(v.onward("/sign-in"))
	}
	return v.page("code", "Second step", onlyOnce{v.goingTo()})
}

func (d *Dashboard) code(v *visit) error {
	if v.stage() != auth.StageSecond {
		return v.redirect(v.onward("/sign-in"))
	}
	signed, err := d.People.Second(v.r.Context(), v.visitor, v.form.Get("code"), v.r.Caller)
	if err != nil {
		return v.refused(err, "code", (*Dashboard).codePage)
	}
	return v.signed(signed)
}

// signOut ends the session, whatever stage it is in.
func (d *Dashboard) signOut(v *visit) error {
	if v.stage() != "" {
		if err := d.People.SignOut(v.r.Context(), v.visitor, v.r.Caller); err != nil {
			return err
		}
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
		if p, err := d.People.Invited(v.r.Context(), d.kind(), j.Code, v.r.Caller); err == nil {
			j.Invited, j.First = &p, p.ID == ""
		}
	}
	return v.page("join", "Join", j)
}

// join takes the code alone and asks for the rest, or everything.
func (d *Dashboard) join(v *visit) error {
	code := v.form.Get("code")
	if v.form.Raw("password") == "" && v.form.sent["looked"] == "" {
		p, err := d.People.Invited(v.r.Context(), d.kind(), code, v.r.Caller)
		if err != nil {
			return v.refused(err, "code", (*Dashboard).joinPage)
		}
		return v.page("join", "Join", joining{code, &p, p.ID == ""})
	}
	signed, err := d.People.Join(v.r.Context(), d.kind(), code, NewPerson{
		Email: v.form.Get("email"), Name: v.form.Get("name"), Password: v.form.Raw("password"),
	}, v.r.Caller)
	if err != nil {
		return v.refused(err, "", (*Dashboard).joinPage)
	}
	return v.signed(signed)
}
