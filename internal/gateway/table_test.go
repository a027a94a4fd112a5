package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

func newTable(t testing.TB, routes ...Route) *Table {
	t.Helper()
	table, err := NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// open is a route for path, with methods if there are any, that anybody may use.
func open(path string, methods ...string) Route {
	return Route{Path: path, Methods: methods, Public: true}
}

func at(host string, r Route) Route {
	r.Host = host
	return r
}

func TestMatch(t *testing.T) {
	table := newTable(t,
		open("/"),
		open("/api/orders"),
		open("/api/orders/archive/", "GET", "DELETE"),
		open("/api/orders/archive/", "POST"),
		open("/api/cart/", "GET"),
		open("/api/cart"),
		at("Shop.Example.com.", open("/api/")),
		at("[2001:db8::1]", open("/v6")),
		open("/caf%c3%a9"),
	)
	for _, c := range []struct {
		host, path, method string
		want               string // the path of the route
		status             int    // of the refusal
		allow              string
	}{
		{"any", "/", "GET", "/", 0, ""},
		{"any", "/api", "GET", "/", 0, ""},
		{"any", "/api/orders", "GET", "/api/orders", 0, ""},
		{"any", "/api/orders/", "GET", "/api/orders", 0, ""},
		{"any", "/api/orders/7", "BREW", "/api/orders", 0, ""},
		{"any", "/api/orders-old", "GET", "/", 0, ""},
		{"any", "/api/ordersold/7", "GET", "/", 0, ""},
		{"any", "/api/Orders", "GET", "/", 0, ""},
		{"any", "/api/orders/archive", "DELETE", "/api/orders/archive/", 0, ""},
		{"any", "/api/orders/archive/1/2", "POST", "/api/orders/archive/", 0, ""},
		// The route behind it takes every method, and is not asked.
		{"any", "/api/orders/archive", "PUT", "/api/orders/archive/", 405, "DELETE, GET, POST"},
		{"any", "/api/orders/archive", "HEAD", "/api/orders/archive/", 405, "DELETE, GET, POST"},
		{"any", "/api/cart/1", "GET", "/api/cart/", 0, ""},
		{"any", "/api/cart/1", "get", "/api/cart", 0, ""},
		{"any", "/api/cart/1", "POST", "/api/cart", 0, ""},
		{"any", "/api/cart/1", "TRACE", "/api/cart/", 405, everyMethod},
		{"any", "/", "CONNECT", "/", 405, everyMethod},
		// A host named comes first, even with a shorter path,
		{"shop.example.com", "/api/orders/7", "GET", "/api/", 0, ""},
		{"SHOP.example.COM.:8443", "/api/orders/7", "GET", "/api/", 0, ""},
		{"shop.example.com:", "/api", "GET", "/api/", 0, ""},
		// but only for the paths it has.
		{"shop.example.com", "/other", "GET", "/", 0, ""},
		{"shop.example.com..", "/api/orders/7", "GET", "/api/orders", 0, ""},
		{"shop.example.com:80:80", "/api/orders/7", "GET", "/api/orders", 0, ""},
		{"shop.example.com.evil", "/api/orders/7", "GET", "/api/orders", 0, ""},
		{"evil.shop.example.com", "/api/orders/7", "GET", "/api/orders", 0, ""},
		{"", "/api/orders/7", "GET", "/api/orders", 0, ""},
		{"[2001:DB8::1]:8000", "/v6/x", "GET", "/v6", 0, ""},
		{"[2001:db8::1]", "/v6/x", "GET", "/v6", 0, ""},
		{"any", "/caf%C3%A9/menu", "GET", "/caf%c3%a9", 0, ""},
		// Many an API takes /api/orders;v=1/7 for /api/orders/7.
		{"any", "/api/orders;v=1/7", "GET", "", 400, ""},
		{"any", "/api/orders%3Bv=1/7", "GET", "", 400, ""},
		{"any", "/api;x/orders/7", "GET", "", 400, ""},
		{"any", "/api/orders/7;v=1", "GET", "/api/orders", 0, ""},
		{"any", "/api/orders/a;b/archive;c", "GET", "/api/orders", 0, ""},
	} {
		r, err := table.Match(c.host, c.path, c.method)
		var got struct {
			path, allow string
			status      int
		}
		if r != nil {
			got.path = r.Path
		}
		var refused *web.StatusError
		if errors.As(err, &refused) {
			got.status, got.allow = refused.Status, refused.Allow
		}
		if got.path != c.want || got.status != c.status || got.allow != c.allow {
			t.Errorf("%s %q %s: got %+v, want %s %d %q", c.method, c.host, c.path, got, c.want, c.status, c.allow)
		}
	}

	if r, err := newTable(t, open("/api")).Match("", "/other", "GET"); r != nil || !isStatus(err, http.StatusNotFound) {
		t.Errorf("no route: got %v, %v", r, err)
	}
}

func isStatus(err error, status int) bool {
	var refused *web.StatusError
	return errors.As(err, &refused) && refused.Status == status
}

func TestNewTableRefuses(t *testing.T) {
	to := func(s string) Route {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return Route{Path: "/a", Public: true, Upstreams: []*url.URL{u}}
	}
	with := func(change func(*Route)) Route {
		r := Route{Path: "/a/b", Accepts: []verify.Type{verify.AccessToken}}
		change(&r)
		return r
	}
	for name, routes := range map[string][]Route{
		"the same twice":         {open("/a"), open("/a/")},
		"the same host twice":    {at("example.com", open("/a")), at("EXAMPLE.com.", open("/a"))},
		"a method twice":         {open("/a", "GET", "POST"), open("/a/", "POST")},
		"a method twice in one":  {open("/a", "GET", "GET")},
		"no path":                {open("")},
		"no slash":               {open("a")},
		"double slash":           {open("/a//b")},
		"dots":                   {open("/a/../b")},
		"an escaped slash":       {open("/a%2fb")},
		"a query":                {open("/a?b=c")},
		"a parameter":            {open("/a;b")},
		"an escaped parameter":   {open("/a%3bb")},
		"a port":                 {at("example.com:80", open("/a"))},
		"a port of an address":   {at("[::1]:80", open("/a"))},
		"a pattern":              {at("*.example.com", open("/a"))},
		"a URL":                  {at("http://example.com", open("/a"))},
		"two dots":               {at("example.com..", open("/a"))},
		"a dot":                  {at(".", open("/a"))},
		"brackets":               {at("[]", open("/a"))},
		"an empty method":        {open("/a", "")},
		"a method in lower case": {open("/a", "get")},
		"two methods in one":     {open("/a", "GET,POST")},
		"CONNECT":                {open("/a", "CONNECT")},
		"TRACE":                  {open("/a", "GET", "TRACE")},
		"nobody is let in":       {with(func(r *Route) { r.Accepts = nil })},
		"no such type":           {with(func(r *Route) { r.Accepts = []verify.Type{"B2B_REFRESH"} })},
		"no token has it":        {with(func(r *Route) { r.Scopes = []string{"gatehouse:introspect"} })},
		"two scopes in one":      {with(func(r *Route) { r.Scopes = []string{"a b"} })},
		"public and accepts":     {with(func(r *Route) { r.Public = true })},
		"public and scopes":      {with(func(r *Route) { r.Public, r.Accepts, r.Scopes = true, nil, []string{"a"} })},
		"public and limits":      {with(func(r *Route) { r.Public, r.Accepts, r.Limits = true, nil, make([]auth.RouteLimit, 1) })},
		"public and identity":    {with(func(r *Route) { r.Public, r.Accepts, r.Identity = true, nil, map[string]Fact{"X-A": Ref} })},
		"identity of whom":       {with(func(r *Route) { r.Identity = map[string]Fact{"X-A": "name"} })},
		"identity without name":  {with(func(r *Route) { r.Identity = map[string]Fact{"": Ref} })},
		"identity with line":     {with(func(r *Route) { r.Identity = map[string]Fact{"X-A\r\nB": Ref} })},
		"identity underscored":   {with(func(r *Route) { r.Identity = map[string]Fact{"X_A": Ref} })},
		"identity too long":      {with(func(r *Route) { r.Identity = map[string]Fact{strings.Repeat("a", 65): Ref} })},
		"identity twice":         {with(func(r *Route) { r.Identity = map[string]Fact{"X-A": Ref, "x-a": Type} })},
		"identity ours":          {with(func(r *Route) { r.Identity = map[string]Fact{"x-auth-account": Ref} })},
		"identity authorization": {with(func(r *Route) { r.Identity = map[string]Fact{"Authorization": Ref} })},
		"identity forwarded":     {with(func(r *Route) { r.Identity = map[string]Fact{"X-Forwarded-User": Ref} })},
		"identity framing":       {with(func(r *Route) { r.Identity = map[string]Fact{"transfer-encoding": Ref} })},
		"identity host":          {with(func(r *Route) { r.Identity = map[string]Fact{"host": Ref} })},
		"strip what is not":      {with(func(r *Route) { r.StripPrefix = "/b" })},
		"strip half a segment":   {with(func(r *Route) { r.StripPrefix = "/a/bc" })},
		"strip half of it":       {with(func(r *Route) { r.Path, r.StripPrefix = "/api-old", "/api" })},
		"strip too much":         {with(func(r *Route) { r.StripPrefix = "/a/b/c" })},
		"below zero":             {with(func(r *Route) { r.Timeouts.Answer = -1 })},
		"no scheme":              {to("//host/")},
		"no host":                {to("http:///x")},
		"opaque":                 {to("http:host")},
		"another scheme":         {to("ftp://host")},
		"password":               {to("http://user:secret@host")},
		"query":                  {to("http://host/?a")},
		"fragment":               {to("http://host/#a")},
		"base with dots":         {to("http://host/a/../b")},
	} {
		if _, err := NewTable(routes); err == nil {
			t.Errorf("%s: it is a table", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}

	_, err := NewTable([]Route{open("/a"), open("b"), open("/a")})
	if err == nil || !strings.Contains(err.Error(), "routes[1] (b)") || !strings.Contains(err.Error(), "routes[2] (/a)") {
		t.Errorf("an error names each route: got %v", err)
	}
}

// naive is the rule as it stands in the manual, route by route.
func naive(routes []Route, host, path, method string) (best *Route, status int) {
	closest := func(path string) (best []*Route) {
		rank := -1
		for i := range routes {
			r := &routes[i]
			if r.Host != "" && r.Host != host || !lies(r.Path, path) {
				continue
			}
			mine := len(segments(r.Path))
			if r.Host != "" {
				mine += 1000
			}
			switch {
			case mine > rank:
				best, rank = []*Route{r}, mine
			case mine == rank:
				best = append(best, r)
			}
		}
		return best
	}
	candidates := closest(path)
	var plain []string
	for _, s := range segments(path) {
		s, _, _ = strings.Cut(s, ";")
		plain = append(plain, s)
	}
	if !slices.Equal(candidates, closest("/"+strings.Join(plain, "/"))) {
		return nil, http.StatusBadRequest
	}
	if len(candidates) == 0 {
		return nil, http.StatusNotFound
	}
	for _, r := range candidates {
		if slices.Contains(r.Methods, method) {
			return r, 0
		}
	}
	for _, r := range candidates {
		if len(r.Methods) == 0 {
			return r, 0
		}
	}
	return candidates[0], http.StatusMethodNotAllowed
}

func segments(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func lies(prefix, path string) bool {
	p, all := segments(prefix), segments(path)
	return len(p) <= len(all) && slices.Equal(p, all[:len(p)])
}

func TestMatchAsTheManualSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segment := rapid.SampledFrom([]string{"a", "b", "ab", "a-b", "A"})
		slash := rapid.SampledFrom([]string{"", "/"})
		path := rapid.Custom(func(t *rapid.T) string {
			all := rapid.SliceOfN(segment, 0, 4).Draw(t, "segments")
			if len(all) == 0 {
				return "/"
			}
			return "/" + strings.Join(all, "/") + slash.Draw(t, "slash")
		})
		host := rapid.SampledFrom([]string{"", "x", "y", "x.y"})
		method := rapid.SampledFrom([]string{"GET", "POST", "PUT"})

		var routes []Route
		for range rapid.IntRange(0, 8).Draw(t, "routes") {
			r := open(path.Draw(t, "path"), rapid.SliceOfNDistinct(method, 0, 2, rapid.ID).Draw(t, "methods")...)
			r.Host = host.Draw(t, "host")
			if _, err := NewTable(append(slices.Clone(routes), r)); err == nil {
				routes = append(routes, r)
			}
		}
		table, err := NewTable(routes)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			h, p, m := host.Draw(t, "call's host"), path.Draw(t, "call's path"), method.Draw(t, "call's method")
			if rapid.Bool().Draw(t, "with a parameter") && p != "/" {
				at := rapid.IntRange(2, len(p)).Draw(t, "where")
				if p[at-1] != '/' && (at == len(p) || p[at] == '/') {
					p = p[:at] + ";v=1" + p[at:]
				}
			}
			want, wantStatus := naive(routes, h, p, m)
			got, err := table.Match(h, p, m)
			status := 0
			var refused *web.StatusError
			if errors.As(err, &refused) {
				status = refused.Status
			}
			if status != wantStatus || (got == nil) != (want == nil) ||
				got != nil && (got.Host != want.Host || !slices.Equal(segments(got.Path), segments(want.Path))) ||
				got != nil && status == 0 && !slices.Equal(got.Methods, want.Methods) {
				t.Fatalf("%s %q %s: got %+v %d, want %+v %d", m, h, p, got, status, want, wantStatus)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, host := range []string{"example.com", "EXAMPLE.com.:80", "[::1]:80", "[::1", "::1", ":", "..", "a:b:c"} {
		f.Add(host, "/api/orders/7", "GET")
	}
	f.Add("example.com", "/api;/%3B/orders//", "get")
	routes := []Route{
		open("/api/"), open("/api/orders", "GET"), at("example.com", open("/api/orders/7", "GET", "POST")), at("[::1]", open("/")),
	}
	table := newTable(f, routes...)
	f.Fuzz(func(t *testing.T, host, path, method string) {
		r, err := table.Match(host, path, method)
		var refused *web.StatusError
		switch {
		case err != nil && !errors.As(err, &refused):
			t.Fatalf("an error of another kind: %v", err)
		case r == nil && err == nil:
			t.Fatal("neither a route nor an error")
		case r != nil && path != "" && path[0] == '/' && !covers(strings.TrimSuffix(r.Path, "/"), path):
			t.Errorf("%q does not lie under %q", path, r.Path)
		case r != nil && r.Host != "" && foldHost(r.Host) != foldHost(host):
			t.Errorf("%q is not %q", host, r.Host)
		case r != nil && err == nil && len(r.Methods) > 0 && !slices.Contains(r.Methods, method):
			t.Errorf("%s is not for %s", r.Path, method)
		}
		// The spelling of a host makes no difference to the route.
		if again, _ := table.Match(strings.ToUpper(foldHost(host)), path, method); isASCII(host) && !strings.ContainsAny(host, "[]:") &&
			!strings.HasSuffix(foldHost(host), ".") && again != r {
			t.Errorf("%q and %q have different routes", host, foldHost(host))
		}
	})
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(c rune) bool { return c >= 0x80 }) < 0 }

// A path of many segments must not cost more than the routes are long.
func BenchmarkMatch(b *testing.B) {
	table := newTable(b, open("/"), open("/api/v1"), open("/api/v1/orders", "GET"), at("example.com", open("/api/v2/")))
	for name, path := range map[string]string{"short": "/api/v1/orders/7", "long": "/" + strings.Repeat("a/", 30000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, _ := table.match("example.com:8000", path, "GET"); r == nil {
					b.Fatal("no route")
				}
			}
		})
	}
}
