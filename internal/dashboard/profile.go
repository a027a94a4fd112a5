package dashboard

import (
	"html/template"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// A profilePage is what people see of themselves.
type profilePage struct {
	Person   auth.Person
	Sessions []auth.DashboardSession
	This     auth.DashboardSessionID
}

var toProfile = link{To: Root + "/profile", Text: "Your profile"}

// profile shows who one is, how one signs in, and where one is signed in.
func (d *Dashboard) profile(v *visit) error {
	sessions, err := d.People.Sessions(v.r.Context(), v.visitor)
	if err != nil {
		return err
	}
	return v.page("profile", "Your profile", profilePage{v.visitor.Person, sessions, v.visitor.Session.ID})
}

// passwordPage asks for another password.
func (d *Dashboard) passwordPage(v *visit) error {
	return v.page("password", "Change your password", profilePage{Person: v.visitor.Person}, toProfile)
}

func (d *Dashboard) password(v *visit) error {
	if err := d.People.SetPassword(v.r.Context(), v.visitor, v.form.Raw("current"), v.form.Raw("password")); err != nil {
		return v.refused(err, "password", (*Dashboard).passwordPage)
	}
	return v.done(toProfile.To, "Your password was changed, and your other sessions have ended.")
}

// A factorPage is a second factor about to be set up.
type factorPage struct {
	QR     template.HTML
	Secret string // in groups, to be typed
	Sealed string
	Next   string
}

// factorPage shows a new secret. It comes back with the code that proves that the app has it.
func (d *Dashboard) factorPage(v *visit) error {
	if v.stage() != auth.StageEnroll && v.stage() != auth.StageFull {
		return v.redirect(v.onward("/sign-in"))
	}
	if v.stale() {
		return v.confirmFirst()
	}
	secret := v.form.Get("secret")
	offer, err := d.People.OfferTOTP(v.visitor, secret)
	if err != nil {
		return err
	}
	drawn, err := qrCode(offer.URI, "QR code of the secret, for an authenticator app")
	if err != nil {
		return err
	}
	var groups []string
	for rest := offer.Secret; rest != ""; {
		n := min(4, len(rest))
		groups, rest = append(groups, rest[:n]), rest[n:]
	}
	return v.page("second-factor", "Set up your second factor", factorPage{drawn, strings.Join(groups, " "), offer.Secret, v.goingTo()})
}

// stale says that who has signed in has not proved lately who they are. What one signs in with is changed by nobody who found
// an open browser.
func (v *visit) stale() bool {
	age := v.d.now().Sub(v.actor.ProvedAt)
	return v.stage() == auth.StageFull && (age > registry.StepUpWithin || age < 0)
}

// factor takes the code that shows that the app has the secret, and shows the recovery codes this once.
func (d *Dashboard) factor(v *visit) error {
	if v.stage() != auth.StageEnroll && v.stage() != auth.StageFull {
		return v.redirect(v.onward("/sign-in"))
	}
	if v.stale() {
		return v.confirmFirst()
	}
	signed, codes, err := d.People.Enroll(v.r.Context(), v.visitor, v.form.Get("secret"), v.form.Get("code"), v.r.Caller)
	if err != nil {
		return v.refused(err, "code", (*Dashboard).factorPage)
	}
	v.setCookie(d.sessionCookie(), signed.Token)
	return v.page("recovery-codes", "Your recovery codes", codesPage{codes, v.goingTo()})
}

// A codesPage shows recovery codes.
type codesPage struct {
	Codes []string
	Next  string
}

// askCodes asks whether new recovery codes are wanted.
func (d *Dashboard) askCodes(v *visit) error {
	return v.ask("New recovery codes", Ask{
		Lead: "You get ten new codes, each of which stands in once for your second factor. Those you have are void from then on.", Button: "Make new codes", Back: toProfile.To,
	}, toProfile)
}

func (d *Dashboard) newCodes(v *visit) error {
	if v.stale() {
		return v.confirmFirst()
	}
	codes, err := d.People.NewRecoveryCodes(v.r.Context(), v.visitor)
	if err != nil {
		return v.refused(err, "", (*Dashboard).askCodes)
	}
	return v.page("recovery-codes", "Your recovery codes", codesPage{codes, toProfile.To}, toProfile)
}

// askEndOwn asks whether a session of one's own is to end.
func (d *Dashboard) askEndOwn(v *visit) error {
	return v.ask("End a session of yours", Ask{
		Lead: "Whoever sits at that browser has to sign in again.", Button: "End it", Danger: true, Back: toProfile.To,
	}, toProfile)
}

func (d *Dashboard) endOwn(v *visit) error {
	if err := d.People.EndSession(v.r.Context(), v.visitor, auth.DashboardSessionID(v.r.PathValue("session"))); err != nil {
		return err
	}
	return v.done(toProfile.To, "The session has ended.")
}

// askEndOthers asks whether all other sessions are to end.
func (d *Dashboard) askEndOthers(v *visit) error {
	return v.ask("End your other sessions", Ask{
		Lead: "Every other browser that is signed in as you has to sign in again.", Button: "End them", Danger: true, Back: toProfile.To,
	}, toProfile)
}

func (d *Dashboard) endOthers(v *visit) error {
	n, err := d.People.EndOtherSessions(v.r.Context(), v.visitor)
	if err != nil {
		return err
	}
	return v.done(toProfile.To, plural(n, "other session")+" ended.")
}
