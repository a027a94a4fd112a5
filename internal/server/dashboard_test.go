package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// askAdmin asks the listener for operators.
func (w *world) askAdmin(method, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.adminHandler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec
}

// Operators' pages are on their listener alone, members' on the public one; where there are no dashboards, nothing tells their
// addresses from others.
func TestWhereTheDashboardsAre(t *testing.T) {
	w := newWorld(t, "routes:\n- {path: /, public: true, upstream: 'http://127.0.0.1:1'}\n")
	for _, path := range []string{"/dashboard/accounts", "/dashboard/signing-keys", "/dashboard/accounts/100001/credentials"} {
		if got := w.ask("GET", path, "").Code; got != http.StatusNotFound {
			t.Errorf("%s on the public listener: %d", path, got)
		}
		if got := w.askAdmin("GET", path).Code; got != http.StatusSeeOther {
			t.Errorf("%s on the other: %d", path, got)
		}
	}
	for name, a := range map[string]*httptest.ResponseRecorder{"public": w.ask("GET", "/dashboard/sign-in", "").ResponseRecorder, "admin": w.askAdmin("GET", "/dashboard/sign-in")} {
		if a.Code != http.StatusOK || !strings.Contains(a.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", name, a.Code, a.Header())
		}
	}

	w = newWorld(t, "dashboard: {enabled: false}\n")
	for _, path := range []string{"/dashboard/", "/dashboard/sign-in", "/dashboard"} {
		if a, other := w.ask("GET", path, ""), w.ask("GET", "/nothing", ""); a.Code != http.StatusNotFound || a.Header().Get("Content-Type") != other.Header().Get("Content-Type") {
			t.Errorf("%s without dashboards: %d %s", path, a.Code, a.Body)
		}
		if a := w.askAdmin("GET", path); a.Code != http.StatusNotFound {
			t.Errorf("%s without dashboards, on the other listener: %d", path, a.Code)
		}
	}

	w = newWorld(t, "require_https: true\ntrusted_proxies: [10.0.0.1]\n")
	if a := w.ask("GET", "/dashboard/sign-in", ""); a.Code != http.StatusBadRequest {
		t.Errorf("in clear text: %d", a.Code)
	}
}
