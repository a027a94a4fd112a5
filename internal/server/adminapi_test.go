package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	wire "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/adminclient"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// A program with an operator token does through a running server what an operator does, on the admin listener and nowhere else;
// and what it takes away is dead at once.
func TestAProgramDoesWhatAnOperatorDoes(t *testing.T) {
	w := newWorld(t, "")
	made, err := w.Registry().CreateToken(t.Context(), operator, registry.NewToken{Name: "ci", Role: auth.RoleAdmin, Scopes: []string{"accounts:write", "credentials:write"}})
	if err != nil {
		t.Fatal(err)
	}
	token := made.Reveal()
	client, err := adminclient.New(adminclient.Config{URL: "http://" + w.AdminAddr(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a, err := client.Account(t.Context(), w.account.String())
	if err != nil || a.Name != "Customer" {
		t.Fatalf("%+v, %v", a, err)
	}
	issued, err := client.CreateCredential(t.Context(), wire.NewCredential{Account: a.ID, Kind: string(auth.Login)})
	if err != nil {
		t.Fatal(err)
	}
	pair, status := w.login(issued.Username, issued.Password)
	if status != http.StatusOK || !w.works(pair.Access) {
		t.Fatalf("login: %d", status)
	}
	gone, err := client.RevokeCredential(t.Context(), auth.CredentialID(issued.ID))
	if err != nil || gone.Confirmed == nil || !*gone.Confirmed || w.works(pair.Access) {
		t.Errorf("revoked: %+v, %v; the token works: %v", gone, err, w.works(pair.Access))
	}
	if _, err := client.SigningKeys(t.Context()); auth.AsError(err).Kind != auth.Forbidden {
		t.Errorf("without the scope: %v", err)
	}

	ask := func(handler http.Handler, method, path, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec
	}
	if got := ask(w.public.Handler, "GET", "/admin/v1/accounts", token); got.Code != http.StatusNotFound {
		t.Errorf("on the public listener: %d %s", got.Code, got.Body)
	}
	if _, err := w.Registry().RevokeToken(t.Context(), operator, made.Token.ID); err != nil {
		t.Fatal(err)
	}
	if got := ask(w.admin.Handler, "GET", "/admin/v1/accounts", token); got.Code != http.StatusUnauthorized {
		t.Errorf("a revoked token: %d", got.Code)
	}
	limited := 0
	for range 100 {
		if ask(w.admin.Handler, "GET", "/admin/v1/accounts", token).Code == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("wrong tokens are never too many")
	}
	if strings.Contains(w.log.String(), token) {
		t.Error("the token is in the log")
	}
}
