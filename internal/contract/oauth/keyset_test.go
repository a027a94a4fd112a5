package oauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/oauth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

func TestKeySet(t *testing.T) {
	keys := `{"keys":[]}`
	s := webtest.Serve(t, web.Config{
		Own:       []web.Address{oauth.KeySet(func() []byte { return []byte(keys) }, time.Hour)},
		Fallbacks: []web.Fallback{{Contract: auth.OAuth2, Refuse: newContract(t, &gate{}).Refuse}},
	})
	a := s.Send(t, "GET /.well-known/jwks.json")
	tag := a.Header.Get("ETag")
	want := http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
		"Cache-Control": {"public, max-age=3600"}, "Etag": {tag},
	}
	if a.Status != 200 || a.Body != keys || cmp.Diff(want, a.Header) != "" || len(tag) != 24 {
		t.Errorf("got %d %s\n%v", a.Status, a.Body, a.Header)
	}
	for value, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, `"x","y"` + "\nIf-None-Match: " + tag: 304, "*": 304,
		`"x"`: 200, "": 200, tag[1 : len(tag)-1]: 200,
	} {
		a := s.Send(t, "GET /.well-known/jwks.json\nIf-None-Match: "+value)
		if a.Status != status || (a.Body == "") != (status == 304) || a.Header.Get("ETag") != tag || a.Header.Get("Cache-Control") != "public, max-age=3600" {
			t.Errorf("If-None-Match: %s: %d %s %v, want %d", value, a.Status, a.Body, a.Header, status)
		}
	}

	keys = `{"keys":[{}]}` // a key was published
	if a := s.Send(t, "GET /.well-known/jwks.json\nIf-None-Match: "+tag); a.Status != 200 || a.Body != keys || a.Header.Get("ETag") == tag {
		t.Errorf("after a change: %d %s %v", a.Status, a.Body, a.Header)
	}
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		if a := s.Send(t, method+" /.well-known/jwks.json"); a.Status != 405 || a.Header.Get("Allow") != "GET" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, a.Status, a.Header)
		}
	}
}
