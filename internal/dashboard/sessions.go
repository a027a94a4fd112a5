package dashboard

import (
	"github.com/gatehouse/gatehouse/internal/auth"
)

// sessions lists those of an account: what logins started.
func (d *Dashboard) sessions(v *visit) error {
	found, err := d.Registry.Sessions(v.r.Context(), v.actor, auth.SessionQuery{Account: v.account(), LiveOnly: v.query("all") == ""})
	if err != nil {
		return err
	}
	return v.page("sessions", "Sessions", found, v.trail()...)
}

func (v *visit) toSessions() link { return link{To: v.Base() + "/sessions", Text: "Sessions"} }

// askEndSession asks whether one is to end.
func (d *Dashboard) askEndSession(v *visit) error {
	return v.ask("End a session", Ask{
		Lead:   "The session " + v.r.PathValue("session") + " and every token that came of it end at once. Its program has to log in again.",
		Button: "End it", Danger: true, Back: v.toSessions().To,
	}, v.trail(v.toSessions())...)
}

func (d *Dashboard) endSession(v *visit) error {
	done, err := d.Registry.RevokeSession(v.r.Context(), v.actor, auth.SessionID(v.r.PathValue("session")), v.account())
	if err != nil {
		return v.refused(err, "", (*Dashboard).askEndSession)
	}
	return v.done(v.toSessions().To, "The session has ended."+late(done))
}
