package liquid_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/liquid"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

// quick is a core that costs nothing.
type quick struct{ grant auth.Grant }

func (q *quick) Exchange(_ context.Context, _ auth.Presented, _ auth.Caller) (auth.Grant, error) {
	return q.grant, nil
}
func (q *quick) Failed(_ auth.Caller, err error) error { return err }

// BenchmarkExchange is all that floor and contract add to net/http and the core.
func BenchmarkExchange(b *testing.B) {
	g := &quick{grant: auth.Grant{Type: verify.AccessToken, Token: strings.Repeat("x", 560), Expires: now, Limit: attempts}}
	c, err := liquid.New(liquid.Config{Gate: g, Environment: auth.Live, KeyPrefix: "gk", Realm: "r"})
	if err != nil {
		b.Fatal(err)
	}
	f, err := web.New(web.Config{
		Own: append(c.Keys(), c.Orders()...), Fallbacks: []web.Fallback{{Refuse: c.Refuse}},
		Attempt: func(from *auth.Caller) error { from.Limit = attempts; return nil },
		Observe: func(*auth.Observation) {},
		Resolve: func(*http.Request) (netip.Addr, netip.Addr, string) { return webtest.Address, webtest.Address, "" },
		Now:     time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequest("GET", "/authentication", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.RequestURI = "/authentication"
	r.Header["X-Liquid-Api-Key"] = []string{auth.FormatKey("gk", auth.Live, "aB3dE5gH7jK9", strings.Repeat("a", 32))}
	r.Header["User-Agent"] = []string{"node-fetch/1.0 (+https://github.com/bitinn/node-fetch)"}
	b.ReportAllocs()
	for b.Loop() {
		f.ServeHTTP(discard{make(http.Header, 8)}, r)
	}
}
