package dashboard

import (
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/people"
)

// signed keeps the session that came of a step of signing in, and leads to the next step.
func (v *visit) signed(e people.Entry) error {
	v.keep(e)
	return v.step(e.Stage)
}

// keep has the browser keep a session, and a whole one make it known for the next time.
func (v *visit) keep(e people.Entry) {
	v.setCookie(v.d.sessionCookie(), e.Reveal())
	if e.Stage == auth.StageFull {
		v.setCookieFor(v.d.deviceCookie(), v.d.People.Device(e.Person), people.DeviceAge)
	}
}

// token is the text that opens the visit's session, "" if none came.
func (v *visit) token() string { return v.cookie(v.d.sessionCookie()) }
