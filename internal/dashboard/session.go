package dashboard

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A cookie of ours has the prefix __Host- and is Secure wherever browsers take that: it then comes back to this very host
// alone, and nobody in between and no sibling can set it (RFC 6265bis, section 4.1.3.2).
const hostPrefix = "__Host-"

// probe is set where somebody may sign in over plain HTTP on this machine: not every browser keeps a Secure cookie there, and
// whether this one does is known when it comes back.
const probe = hostPrefix + "gatehouse-probe"

// secure says that people reach the server over HTTPS.
func (d *Dashboard) secure() bool { return d.Base.Scheme == "https" }

// local says that people reach the server over HTTP on the machine that it runs on.
func (d *Dashboard) local() bool {
	host := d.Base.Hostname()
	a, err := netip.ParseAddr(host)
	return !d.secure() && (host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && a.IsLoopback())
}

// sessionCookie is the name of the cookie that holds a session, without its prefix.
func (d *Dashboard) sessionCookie() string { return "gatehouse-" + d.Side.String() }

// deviceCookie is the name of the cookie by which a browser is known that somebody has signed in with.
func (d *Dashboard) deviceCookie() string { return "gatehouse-device-" + d.Side.String() }

// cookie finds the value of a cookie of ours, "" if none came. Where the prefix is kept, one without it is somebody else's.
func (v *visit) cookie(name string) string {
	names := []string{hostPrefix + name, name}
	if v.d.secure() {
		names = names[:1]
	} else if !v.d.local() {
		names = names[1:]
	}
	for _, name := range names {
		if c, err := v.r.Cookie(name); err == nil && c.Value != "" {
			return c.Value
		}
	}
	return ""
}

// setCookie sets a cookie of ours until the browser is closed, or takes it back if value is "".
func (v *visit) setCookie(name, value string) { v.setCookieFor(name, value, 0) }

// setCookieFor sets one that outlives the browser, for so long; 0: it does not.
func (v *visit) setCookieFor(name, value string, age time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(age / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	if v.prefixed() {
		c.Name, c.Secure = hostPrefix+name, true
	}
	http.SetCookie(v.ResponseWriter, c)
}

// prefixed says whether this browser keeps cookies with the prefix.
func (v *visit) prefixed() bool {
	if v.d.secure() {
		return true
	}
	if !v.d.local() {
		return false
	}
	_, err := v.r.Cookie(probe)
	return err == nil
}

// sendProbe asks whether the browser keeps a Secure cookie, where that is not known.
func (v *visit) sendProbe() {
	if v.d.local() {
		http.SetCookie(v.ResponseWriter, &http.Cookie{Name: probe, Value: "1", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
}

// meet finds out who comes. Whoever has no session, or one that is over, is nobody.
func (v *visit) meet() error {
	token := v.token()
	if token == "" {
		return nil
	}
	who, err := v.d.People.Visitor(v.r.Context(), v.d.kind(), token, v.r.Caller)
	if auth.AsError(err).Kind == auth.Unauthenticated {
		return nil
	}
	if err != nil {
		return err
	}
	v.visitor, v.actor = who, who.Actor
	return nil
}

// half says how far somebody has come who has not signed in wholly: "" for whoever has not begun.
func (v *visit) half() (auth.Stage, error) {
	h, err := v.d.People.Half(v.r.Context(), v.token())
	if auth.AsError(err).Kind == auth.Unauthenticated || err == nil && h.Person.Kind() != v.d.kind() {
		return "", nil
	}
	return h.Stage, err
}

// signedIn says whether who comes has signed in.
func (v *visit) signedIn() bool { return v.visitor.Session.ID != "" }

// signInFirst leads to the next step of signing in, and from there back to where somebody wanted to go.
func (v *visit) signInFirst() error {
	stage, err := v.half()
	if err != nil {
		return err
	}
	to := stepOf(stage)
	if at := v.r.URL.RequestURI(); v.route.method == get && at != Root+"/" {
		to += "?" + url.Values{"next": {at}}.Encode()
	}
	return v.away(to)
}

// away leads to another page of ours, a page that htmx fetched a piece of too.
func (v *visit) away(to string) error {
	if v.r.Header.Get("Hx-Request") == "" {
		return v.redirect(to)
	}
	v.Header()["Hx-Redirect"] = []string{Root + to}
	v.WriteHeader(http.StatusUnauthorized)
	return nil
}

// noteCookie holds what the next page says was done.
const noteCookie = "gatehouse-note"

// say has the next page say what was done.
func (v *visit) say(text string) {
	v.setCookie(noteCookie, v.d.seal("note", base64.RawURLEncoding.EncodeToString([]byte(text))))
}

// said is what the page before had this one say, once.
func (v *visit) said() string {
	sealed := v.cookie(noteCookie)
	if sealed == "" {
		return ""
	}
	v.setCookie(noteCookie, "")
	encoded, ok := v.d.unseal("note", sealed)
	if !ok {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	return string(text)
}
