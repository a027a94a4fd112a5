package server

import (
	"net/http"
	"strconv"
	"sync"

	document "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/web"
)

// openAPIPath is where the document is.
const openAPIPath = "/openapi.yaml"

// openAPI is the address of the OpenAPI document, which anybody may read, with what is this server's own in it.
func openAPI(publicURL, header string) web.Address {
	asked := sync.OnceValues(func() (body []byte, tag string) { // an idle server has no copy of it
		body = document.OpenAPI(publicURL, header)
		return body, web.Tag(body)
	})
	get := func(w http.ResponseWriter, r *web.Request) error {
		body, tag := asked()
		h := w.Header()
		h["Cache-Control"] = []string{"public, max-age=300"}
		if web.NotModified(w, r, tag) {
			return nil
		}
		h["Content-Type"] = []string{"application/yaml"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
		return nil
	}
	return web.Address{Path: openAPIPath, Methods: map[string]web.Handler{http.MethodGet: get}, CrossOrigin: true}
}
