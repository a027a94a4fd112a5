package gatehousetest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/gatehousetest"
)

// examples are run by [TestExamples]: a function that wants a *testing.T cannot be run as an example.
var examples []func(*testing.T)

func TestExamples(t *testing.T) {
	ExampleStart()
	for _, run := range examples {
		run(t)
	}
}

// An API of your own, behind a real Gatehouse: a token opens it until it has expired.
func ExampleStart() {
	testProducts := func(t *testing.T) {
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("products for account " + r.Header.Get("X-Auth-Account")))
		}))
		defer api.Close()

		s := gatehousetest.Start(t, gatehousetest.Config{YAML: `
routes:
  - path: /api/v1/
    upstream: ` + api.URL + `
    accepts: [ACCESS_TOKEN]
    scopes: [products:read]
`})
		account := s.NewAccount("First customer")
		key := s.NewAPIKey(account, "products:read")

		req, _ := http.NewRequest(http.MethodGet, s.URL+"/authentication", nil)
		req.Header.Set("X-LIQUID-API-KEY", key.Identifier)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct{ Data struct{ Token string } }
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}

		products := func() int {
			req, _ := http.NewRequest(http.MethodGet, s.URL+"/api/v1/products", nil)
			req.Header.Set("Authorization", "Bearer "+answer.Data.Token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			return res.StatusCode
		}
		if got := products(); got != http.StatusOK {
			t.Errorf("with a token: %d", got)
		}
		s.Clock.Advance(25 * time.Hour)
		if got := products(); got != http.StatusUnauthorized {
			t.Errorf("a day later: %d", got)
		}
	}
	examples = append(examples, testProducts)
}
