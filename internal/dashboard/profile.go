package dashboard

import (
	"errors"
	"html/template"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
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
	if v.stale() {
		return v.proveFirst()
	}
	return v.page("password", "Change your password", profilePage{Person: v.visitor.Person}, toProfile)
}

func (d *Dashboard) password(v *visit) error {
	if err := d.People.ChangePassword(v.r.Context(), v.visitor, v.form.Raw("password")); errors.Is(err, auth.ErrStepUp) {
		return v.proveFirst() // a password is kept on no page
	} else if err != nil {
		return v.refused(err, "password", (*Dashboard).passwordPage)
	}
	return v.done(toProfile.To, "Your password was changed, and your other sessions have ended.")
}

// A factorPage is a second factor about to be set up.
type factorPage struct {
	QR     template.HTML
	Secret string // in groups, to be typed
	Link   template.URL
	Next   string
}

// factorPage shows the secret of an authenticator: to who has to set one up before they come in, and to who wants another.
func (d *Dashboard) factorPage(v *visit) error {
	var offer people.Setup
	var err error
	if v.signedIn() {
		offer, err = d.People.OfferAnother(v.r.Context(), v.visitor)
	} else if here, wrong := v.waits(auth.StageEnroll); !here {
		return wrong
	} else {
		offer, err = d.People.Offer(v.r.Context(), v.token())
	}
	if err != nil {
		return v.orConfirm(err)
	}
	drawn, err := offer.QR()
	if err != nil {
		return err
	}
	text, setup := offer.Reveal()
	return v.page("second-factor", "Set up your second factor", factorPage{template.HTML(drawn), text, template.URL(setup), v.goingTo()}) //nolint:gosec // both are of people's making
}

// orConfirm asks for a proof first if that is what is missing.
func (v *visit) orConfirm(err error) error {
	if errors.Is(err, auth.ErrStepUp) {
		return v.confirmFirst()
	}
	return err
}

// factor takes the code that shows that the app has the secret, and shows the recovery codes this once.
func (d *Dashboard) factor(v *visit) error {
	var entry people.Entry
	var codes []string
	var err error
	if v.signedIn() {
		entry, codes, err = d.People.EnrollAnother(v.r.Context(), v.visitor, v.form.Get("code"), v.r.Caller)
	} else if here, wrong := v.waits(auth.StageEnroll); !here {
		return wrong
	} else {
		entry, codes, err = d.People.Enroll(v.r.Context(), v.token(), v.form.Get("code"), v.r.Caller)
	}
	if errors.Is(err, auth.ErrStepUp) {
		return v.confirmFirst()
	}
	if err != nil {
		return v.refused(err, "code", (*Dashboard).factorPage)
	}
	v.keep(entry)
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
	n, err := d.People.EndOthers(v.r.Context(), v.visitor)
	if err != nil {
		return err
	}
	return v.done(toProfile.To, plural(n, "other session")+" ended.")
}
