package dashboard

import (
	"cmp"
	"crypto/rand"
	"errors"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// wayRoutes are the pages of passkeys and of providers.
func wayRoutes() []route {
	return []route{
		{both, get, "/profile/passkeys/new", "", false, (*Dashboard).passkeyPage},
		{both, post, "/profile/passkeys/new", "", false, (*Dashboard).addPasskey},
		{both, get, "/profile/passkeys/{passkey}/rename", "", false, (*Dashboard).passkeyNamePage},
		{both, post, "/profile/passkeys/{passkey}/rename", "", false, (*Dashboard).renamePasskey},
		{both, get, "/profile/passkeys/{passkey}/remove", "", false, (*Dashboard).askRemovePasskey},
		{both, post, "/profile/passkeys/{passkey}/remove", "", false, (*Dashboard).removePasskey},
		{both, get, "/openid/callback/{provider}", "", true, (*Dashboard).fromProvider},
		{both, get, "/profile/link/{provider}", "", false, (*Dashboard).askLink},
		{both, post, "/profile/link/{provider}", "", false, (*Dashboard).link},
		{both, get, "/profile/openid/{link}/remove", "", false, (*Dashboard).askUnlink},
		{both, post, "/profile/openid/{link}/remove", "", false, (*Dashboard).unlink},
	}
}

// browserCookie tells this browser from others while somebody is asked for a passkey, or is away at a provider. It opens nothing.
const browserCookie = "gatehouse-browser"

// browser is its value; a browser that has none gets one.
func (v *visit) browser() string {
	if v.mark == "" {
		v.mark = v.cookie(browserCookie)
	}
	if v.mark == "" {
		v.mark = rand.Text()
		v.setCookie(browserCookie, v.mark)
	}
	return v.mark
}

// stale says that who has signed in has not proved lately who they are: what people sign in with is changed by nobody who found an
// open browser.
func (v *visit) stale() bool { return !v.actor.Proved(v.d.now()) }

// unproven shows the page again on which somebody did not show who they are: what was asked of the browser counts once, so the page
// asks anew.
func (v *visit) unproven(err error, page func(*Dashboard, *visit) error) error {
	if e := auth.AsError(err); e.Kind == auth.Unavailable && e.Reason == auth.ReasonUpstream { // of a provider, not of ours
		v.status = web.Fail(v.Header(), v.r, err).Status
		v.form.Problems = append(v.form.Problems, Problem{Says: sentence(e.Msg)})
		return page(v.d, v)
	}
	if errors.Is(err, auth.ErrNotFound) {
		return err
	}
	return v.refused(err, "", page)
}

// another hands a form on that was sent with something else than a password: a passkey's answer, or the name of a provider.
func (v *visit) another(byPasskey, byProvider func(*Dashboard, *visit) error) func(*Dashboard, *visit) error {
	switch {
	case v.form.Has("answer") && v.d.Passkeys != nil:
		return byPasskey
	case v.form.Has("provider") && v.d.Providers != nil:
		return byProvider
	}
	return nil
}

// confirmAgain shows the page that asks for a proof, with what was about to be done.
func (v *visit) confirmAgain() func(*Dashboard, *visit) error {
	next, kept := v.form.Get("confirm-next"), v.form.Get("confirm-kept")
	return func(_ *Dashboard, v *visit) error { return v.confirmPage(cmp.Or(next, Root+"/"), kept) }
}

// Next is the page that a form of this one leads to.
func (v *visit) Next() string { return v.goingTo() }

// joinCookie holds the code of a one-time link while its owner is at a provider.
const joinCookie = "gatehouse-join"
