// Package dashboard is the pages that people look after things with: operators everything, members their own account. It
// leaves to registry what may be seen and changed, to people who somebody is, and to the pages at /docs what programs need.
//
// The invariants: no page needs a script, neither for reading nor for acting; every page is one line of one table, which
// says whose it is and what one must be allowed to, and is asked before its handler runs; a form is taken from our own pages
// alone; a secret is on one page, once, and in no address.
package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/passkey"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/signon"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Root is where the pages are, on both listeners.
const Root = "/dashboard"

// A Side is whose pages they are.
type Side int

// The sides.
const (
	Operators Side = 1 << iota // on the admin listener: everything
	Members                    // on the public one: their own account

	both = Operators | Members
)

func (s Side) String() string {
	if s == Members {
		return "member"
	}
	return "operator"
}

// Config is what the pages of one side are made of.
type Config struct {
	Side Side
	// Base is where people reach the server, without a slash at its end: cookies and links follow from it.
	Base *url.URL
	// MemberBase is where members reach theirs, for links that operators send them; "": at Base, too.
	MemberBase string
	// Title is what the pages are called; "" stands for Gatehouse.
	Title    string
	Registry *registry.Registry
	Repeats  Repeats // of what is made once for a form
	People   *people.People
	// Passkeys and Providers are how people sign in besides passwords; nil: there are none.
	Passkeys  *passkey.Passkeys
	Providers *signon.Signon
	// Digest is keyed, and the same on all replicas: it shows that what comes back was handed out here.
	Digest secret.Sum
	// Programs are what one starts with, for each kind of credential that opens something here; Call is the line of curl that
	// calls with a token.
	Programs map[auth.Kind]Program
	Call     string
	Docs     string // where the pages for customers are; "": there are none
	// Status is how the servers are, for the operators' start page; nil: it is not said.
	Status func(context.Context) (Status, error)
	Log    *slog.Logger     // nil: nobody reads it
	Now    func() time.Time // nil means time.Now
}

// A Dashboard serves the pages of one side. It is safe for concurrent use.
type Dashboard struct {
	Config
	mux       *http.ServeMux
	routes    []route
	templates map[string]pageTemplate
	assets    *web.Assets
	forms     *http.CrossOriginProtection
	now       func() time.Time
}

// New returns the pages of one side.
func New(c Config) (*Dashboard, error) {
	if c.Side != Operators && c.Side != Members || c.Base == nil || c.Registry == nil || c.Repeats == nil || c.People == nil || c.Digest == nil {
		return nil, errors.New("dashboard: a side, its base, the registry, repeats, people and a digest are all needed")
	}
	d := &Dashboard{Config: c, now: c.Now, forms: http.NewCrossOriginProtection(), assets: newAssets()}
	if d.Title == "" {
		d.Title = "Gatehouse"
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.now == nil {
		d.now = time.Now
	}
	// What a browser says of the page that a form is on, behind a proxy that sends another Host too.
	if err := d.forms.AddTrustedOrigin(c.Base.Scheme + "://" + c.Base.Host); err != nil {
		return nil, err
	}
	var err error
	if d.templates, err = newTemplates(); err != nil {
		return nil, err
	}
	d.build()
	return d, nil
}

// build makes the mux of this side's part of the table.
func (d *Dashboard) build() {
	d.mux = http.NewServeMux()
	for _, r := range allRoutes() {
		if r.side&d.Side == 0 {
			continue
		}
		r.path = r.pathOn(d.Side)
		d.routes = append(d.routes, r)
		d.mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, hr *http.Request) {
			v := w.(*visit)
			v.r.Request = hr // with the values of its path
			v.route = &r
			v.err = v.serve()
		})
	}
}

// Addresses are those of all pages and of what they are made of.
func (d *Dashboard) Addresses() []web.Address {
	assets := d.assets.Address()
	assets.Refuse = d.refuse
	return []web.Address{{Path: Root, Prefix: true, Any: d.serve, Refuse: d.refuse}, assets}
}

// policy allows our own style sheets and scripts, forms to ourselves, and nothing else.
var policy = []string{"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}

// dress writes what every answer of the dashboard's wears.
func dress(h http.Header) {
	h["Content-Security-Policy"] = policy
	h["Referrer-Policy"] = []string{"no-referrer"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cross-Origin-Opener-Policy"] = []string{"same-origin"}
	h["Cross-Origin-Resource-Policy"] = []string{"same-origin"}
	h["Permissions-Policy"] = []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}
	h["Cache-Control"] = []string{"no-store"}
}

// serve finds the page and has it served.
func (d *Dashboard) serve(w http.ResponseWriter, r *web.Request) error {
	dress(w.Header())
	v := &visit{ResponseWriter: w, d: d, r: r, status: http.StatusOK}
	r.Refuse = v.refuse
	if _, pattern := d.mux.Handler(r.Request); pattern == "" {
		return v.nowhere()
	}
	d.mux.ServeHTTP(v, r.Request)
	return v.err
}

// nowhere says why no page is at the address of a visit.
func (v *visit) nowhere() error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		asked := v.r.Request.Clone(v.r.Context())
		asked.Method = method
		if _, pattern := v.d.mux.Handler(asked); pattern != "" && method != v.r.Method {
			allowed = append(allowed, method)
		}
	}
	if err := v.meet(); err != nil {
		return err
	}
	if len(allowed) > 0 {
		return &web.StatusError{Status: http.StatusMethodNotAllowed, Allow: strings.Join(allowed, ", ")}
	}
	return auth.ErrNotFound
}

// refuse answers where there was no visit yet.
func (d *Dashboard) refuse(w http.ResponseWriter, r *web.Request, err error) {
	dress(w.Header())
	(&visit{ResponseWriter: w, d: d, r: r}).refuse(w, r, err)
}
