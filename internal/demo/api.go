package demo

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// The sample API is what stands behind the gateway: an ordinary HTTP API that knows nothing of credentials and tokens. Who
// is calling it takes from the headers that the gateway sets.

type product struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	Category int    `json:"category"`
	Cents    int    `json:"cents"`
}

type category struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type order struct {
	ID      int    `json:"id"`
	Account string `json:"account"` // whose it is: the caller's
	Product int    `json:"product"`
	Count   int    `json:"count"`
	Status  string `json:"status"`
}

// mostCart is how large a cart may be, in bytes.
const mostCart = 64 << 10

// API is the sample API.
func API() http.Handler {
	categories := []category{{1, "Paper"}, {2, "Ink"}}
	products := []product{
		{1, "Ledger, 200 pages", 1, 1290}, {2, "Envelopes, 500", 1, 2450}, {3, "Ink, blue-black", 2, 890},
	}
	statuses := []string{"received", "packed", "shipped", "delivered"}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/products", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, products) })
	mux.HandleFunc("GET /api/v1/products/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, p := range products {
			if strconv.Itoa(p.ID) == r.PathValue("id") {
				answer(w, http.StatusOK, p)
				return
			}
		}
		notFound(w, r)
	})
	mux.HandleFunc("GET /api/v1/categories", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, categories) })
	mux.HandleFunc("GET /api/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || id < 1 {
			notFound(w, r)
			return
		}
		answer(w, http.StatusOK, order{
			ID: id, Account: r.Header.Get("X-Auth-Account"), Product: products[id%len(products)].ID, Count: 1 + id%9, Status: statuses[id%len(statuses)],
		})
	})
	mux.HandleFunc("POST /api/cart/update", func(w http.ResponseWriter, r *http.Request) {
		var cart map[string]any
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostCart)).Decode(&cart); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"error": "a cart is a JSON object"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"cart": cart, "caller": caller(r)})
	})
	mux.HandleFunc("GET /api/whoami", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, caller(r)) })
	mux.HandleFunc("/", notFound)
	return mux
}

// caller is what the gateway told of the caller.
func caller(r *http.Request) map[string]string {
	told := map[string]string{}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Auth-") || name == "X-Request-Id" || name == "X-Forwarded-For" {
			told[name] = strings.Join(values, ", ")
		}
	}
	return told
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, map[string]string{"error": "the sample API has nothing there"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ") // people read it
	_ = e.Encode(v)       // the caller is gone
}
