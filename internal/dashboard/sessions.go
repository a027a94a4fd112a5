package dashboard

import (
	"github.com/gatehouse/gatehouse/internal/auth"
)

// A sessionsPage is a page of an account's sessions.
type sessionsPage struct {
	list[auth.Session]
	All  bool // ended ones too
	Swap string
}

// sessions lists those of an account: what logins started.
func (d *Dashboard) sessions(v *visit) error {
	if _, err := v.loadAccount(); err != nil {
		return err
	}
	after, err := v.after("sessions")
	if err != nil {
		return err
	}
	all := v.query("all") != ""
	q := auth.SessionQuery{Account: v.account(), LiveOnly: !all, Most: perPage + 1}
	if q.After, err = auth.ParseSessionPlace(after); err != nil {
		return err
	}
	found, err := d.Registry.Sessions(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	swap := v.At()
	if !all {
		swap += "?all=1"
	}
	return v.page("sessions", "Sessions", sessionsPage{
		paged(v, "sessions", found, func(s *auth.Session) string { return s.Place().String() }), all, swap,
	}, v.trail()...)
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
