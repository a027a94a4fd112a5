package server

import (
	"net/http"
	"strconv"

	document "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/web"
)

// openAPIPath is where the document is.
const openAPIPath = "/openapi.yaml"

// openAPI is the address of the OpenAPI document, which anybody may read.
func openAPI(publicURL string) web.Address {
	body := document.OpenAPI(publicURL)
	tag, length := web.Tag(body), []string{strconv.Itoa(len(body))}
	get := func(w http.ResponseWriter, r *web.Request) error {
		h := w.Header()
		h["Cache-Control"] = []string{"public, max-age=300"}
		if web.NotModified(w, r, tag) {
			return nil
		}
		h["Content-Type"] = []string{"application/yaml"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Content-Length"] = length
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
		return nil
	}
	return web.Address{Path: openAPIPath, Methods: map[string]web.Handler{http.MethodGet: get}, CrossOrigin: true}
}
