package gateway

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/upstream"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// yes lets everybody in, at no cost.
type yes struct{ who verify.Principal }

func (y yes) VerifyBound(context.Context, string, auth.Possession, auth.Caller, auth.Want) (verify.Principal, auth.Limit, error) {
	return y.who, auth.Limit{}, nil
}

func (y yes) Still(context.Context, verify.Principal, auth.Caller, auth.Want) error { return nil }

func (y yes) Renew(context.Context, verify.Principal) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrOverloaded
}

// somebody is the holder of a token that cannot be renewed.
var somebody = yes{verify.Principal{Claims: &verify.Claims{
	Subject: "100001", Account: 100001, Credential: "cred00000001", Session: "session1", Type: verify.B2BAccess,
}, Scope: "orders:read orders:write"}}

// proxies are a bare ReverseProxy and a gateway on the floor, to the same upstream over the same transport.
func proxies(b *testing.B, upstream string, transport http.RoundTripper, gate Gate) map[string]http.Handler {
	b.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		b.Fatal(err)
	}
	bare := &httputil.ReverseProxy{Transport: transport, BufferPool: &buffers{}, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}}
	g, err := New(Config{
		Routes: newTable(b, open("/"), Route{Path: "/api/v1/", Accepts: []verify.Type{verify.B2BAccess}, Upstreams: []*url.URL{target}}),
		Gate:   gate, Transport: transport, KeyHeader: "X-LIQUID-API-KEY",
	})
	if err != nil {
		b.Fatal(err)
	}
	floor, err := web.New(web.Config{
		Next: g.Serve, Fallbacks: []web.Fallback{{Refuse: refuseAs("liquid")}}, Observe: func(*auth.Observation) {},
		Resolve: func(r *http.Request) (netip.Addr, netip.Addr, string) {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return a.Addr(), a.Addr(), ""
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return map[string]http.Handler{"bare": bare, "gateway": floor}
}

// deciders are what another proxy may ask about a call: the least handler that says yes with as many headers, and ours.
func deciders(b *testing.B) map[string]http.Handler {
	b.Helper()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if len(r.Header["X-Original-Method"]) != 1 || len(r.Header["X-Original-Uri"]) != 1 || len(r.Header["Authorization"]) != 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		for _, name := range []string{"X-Auth-Account", "X-Auth-Account-Ref", "X-Auth-Credential", "X-Auth-Type", "X-Auth-Scope", "X-Tenant", "X-Request-Id", "Cache-Control"} {
			h[name] = []string{name}
		}
		w.WriteHeader(http.StatusOK)
	})
	r := protected("/api/v1/")
	r.Identity = map[string]Fact{"X-Tenant": Account}
	g, err := New(Config{Routes: newTable(b, open("/"), r), Gate: somebody})
	if err != nil {
		b.Fatal(err)
	}
	floor, err := web.New(web.Config{
		Own: g.Authz(netip.Addr.IsValid, nil), Next: g.Serve, Fallbacks: []web.Fallback{{Refuse: refuseAs("liquid")}}, Observe: func(*auth.Observation) {},
		Resolve: func(r *http.Request) (netip.Addr, netip.Addr, string) {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return a.Addr(), a.Addr(), ""
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return map[string]http.Handler{"bare": bare, "authz": floor}
}

func typicalQuestion(b *testing.B, base string) *http.Request {
	b.Helper()
	r := typicalCall(b, base)
	r.URL.Path, r.URL.RawQuery = "/authz/nginx", ""
	r.Header["X-Original-Method"], r.Header["X-Original-Uri"] = []string{"POST"}, []string{"/api/v1/orders/7?full=1"}
	return r
}

// What forward-auth costs. Compare "bare" and "authz", from socket to socket and without any.
func BenchmarkAuthz(b *testing.B) {
	for name, handler := range deciders(b) {
		b.Run("sockets/"+name, func(b *testing.B) {
			s := httptest.NewServer(handler)
			defer s.Close()
			r := typicalQuestion(b, s.URL)
			b.ReportAllocs()
			for b.Loop() {
				res, err := s.Client().Transport.RoundTrip(r)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res, err)
				}
				_ = res.Body.Close()
			}
		})
		b.Run("work/"+name, func(b *testing.B) {
			r := typicalQuestion(b, "http://gateway")
			r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "203.0.113.7:1234"
			w := &discard{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				handler.ServeHTTP(w, r)
			}
		})
	}
}

func typicalCall(b *testing.B, base string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, base+"/api/v1/orders/7?full=1", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{
		"Authorization": {"Bearer " + strings.Repeat("x", 600)}, "Accept": {"application/json"}, "User-Agent": {"sdk/1.7"},
		"Accept-Encoding": {"gzip"}, "X-Liquid-Api-Key": {"gk_live_x"}, "X-Liquid-Api-Sdk": {"node"},
	}
	return r
}

// What a call costs from socket to socket. Compare "bare" and "gateway": the difference is to stay below 15 %.
func BenchmarkSockets(b *testing.B) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":7}`)
	}))
	defer api.Close()
	for name, handler := range proxies(b, api.URL, upstream.NewTransport(upstream.Timeouts{Connect: time.Second}, upstream.TLS{}), somebody) {
		b.Run(name, func(b *testing.B) {
			s := httptest.NewServer(handler)
			defer s.Close()
			r := typicalCall(b, s.URL)
			b.ReportAllocs()
			for b.Loop() {
				res, err := s.Client().Transport.RoundTrip(r)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}

type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: 8, Body: io.NopCloser(strings.NewReader(`{"id":7}`)),
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"8"}},
	}, nil
}

// What of it is our own work, without any socket.
func BenchmarkWork(b *testing.B) {
	for name, handler := range proxies(b, "http://api", instant{}, somebody) {
		b.Run(name, func(b *testing.B) {
			r := typicalCall(b, "http://gateway")
			r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "203.0.113.7:1234"
			w := &discard{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				handler.ServeHTTP(w, r)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// signer is a gate that mints, with what a token's signature costs.
type signer struct {
	yes
	key ed25519.PrivateKey
}

func (s signer) Renew(_ context.Context, who verify.Principal) (auth.Grant, error) {
	return auth.Grant{Token: s.mint(), Type: who.Type, Expires: renewedUntil}, nil
}

// mint signs claims of a token's usual length.
func (s signer) mint() string {
	b := make([]byte, 420, 520)
	return base64.RawURLEncoding.EncodeToString(append(b, ed25519.Sign(s.key, b)...))
}

// What a call costs that gets a new token. "minting" is a bare ReverseProxy that mints a token for every answer and changes
// nothing: the gateway is to do at least 0.80 of what it does.
func BenchmarkRenewing(b *testing.B) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, rows := range map[string]int{"small": 1, "10kB": 100, "100kB": 1000} {
		rowsOf := []byte(`{"rows":[` + strings.Repeat(`{"id":1234567,"status":"shipped","lines":[{"sku":"A-17","count":2,"price":19.95}],"gift":false},`, rows) + `{}]}`)
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(rowsOf)))
			_, _ = w.Write(rowsOf)
		}))
		gate := signer{yes{verify.Principal{Claims: &verify.Claims{
			Subject: "100001", Account: 100001, Credential: "cred00000001", Session: "session1", Type: verify.AccessToken,
		}}}, key}
		handlers := proxies(b, api.URL, upstream.NewTransport(upstream.Timeouts{Connect: time.Second}, upstream.TLS{}), gate)
		bare := handlers["bare"].(*httputil.ReverseProxy)
		bare.ModifyResponse = func(res *http.Response) error {
			res.Header.Set("X-Token", gate.mint()[:8])
			return nil
		}
		for _, one := range []string{"bare", "gateway"} {
			b.Run(name+"/"+map[string]string{"bare": "minting", "gateway": "gateway"}[one], func(b *testing.B) {
				s := httptest.NewServer(handlers[one])
				defer s.Close()
				before := cpuTime(b)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						r := typicalCall(b, s.URL)
						r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(ask)), int64(len(ask))
						r.Header.Set("Content-Type", "application/json")
						res, err := s.Client().Transport.RoundTrip(r)
						if err != nil || res.StatusCode != http.StatusOK {
							b.Error(res, err)
							return
						}
						_, _ = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
					}
				})
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
		api.Close()
	}
}

// cpuTime is what this process has used of the processors, which others that use them too do not change as much as the
// time that passes.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
