package oauth_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

func TestAnAddressForClientsWithAScope(t *testing.T) {
	address := web.Address{Path: "/.well-known/scoped", Methods: map[string]web.Handler{
		http.MethodGet: func(w http.ResponseWriter, _ *web.Request) error {
			_, err := io.WriteString(w, "told")
			return err
		},
	}}
	g := &gate{}
	serve := func(scope string) *webtest.Server {
		c := newContract(t, g)
		return webtest.Serve(t, web.Config{
			Own: []web.Address{c.Scoped(address, scope)}, Fallbacks: []web.Fallback{{Contract: auth.OAuth2, Refuse: c.Refuse}},
		})
	}
	const get = "GET /.well-known/scoped"
	good := get + "\n" + basic(clientID, "secret")
	s := serve("gatehouse:sometimes")
	a := s.Send(t, good)
	if a.Status != http.StatusOK || a.Body != "told" || a.Seen.Subject != (auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 1}) {
		t.Errorf("%d %s, seen as %+v", a.Status, a.Body, a.Seen.Subject)
	}
	const failed = `{"error":"invalid_client","error_description":"Client authentication failed"}`
	challenge := webtest.JSON("Www-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`)
	for name, c := range map[string]struct {
		server  *webtest.Server
		request string
		err     error
		status  int
		body    string
		headers http.Header
	}{
		"nobody":              {s, get, nil, 401, failed, challenge},
		"a bearer token":      {s, get + "\nAuthorization: Bearer x.y.z", nil, 401, failed, challenge},
		"in the URL":          {s, get + "?client_id=" + clientID + "&client_secret=secret", nil, 401, failed, challenge},
		"twice":               {s, good + "\n" + basic(clientID, "secret"), nil, 400, `{"error":"invalid_request","error_description":"The client is to be authenticated in one way, and once"}`, webtest.JSON()},
		"a wrong secret":      {s, good, auth.ErrBadCredential, 401, failed, challenge},
		"from elsewhere":      {s, good, auth.ErrAddressNotAllowed, 403, `{"error":"access_denied","error_description":"IP address not authorized"}`, webtest.JSON()},
		"without the scope":   {serve("gatehouse:never"), good, nil, 403, `{"error":"insufficient_scope","error_description":"Insufficient scope"}`, webtest.JSON()},
		"with another method": {s, "POST /.well-known/scoped", nil, 405, `{"error":"invalid_request","error_description":"Method not allowed"}`, webtest.JSON("Allow", "GET")},
	} {
		g.err = c.err
		a := c.server.Send(t, c.request)
		a.Is(t, name, c.status, c.body, c.headers)
	}
}
