package admin

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatehouse/gatehouse/internal/web"
)

// A Route is a route as tests see it.
type Route struct {
	Method, Path string // with names in braces
	Asks         string
	Takes        bool
	Repeats      bool
	Conditional  bool
}

// Routes are those of the API.
func Routes() []Route {
	var all []Route
	for _, r := range routes() {
		all = append(all, Route{r.method, Path + r.path, string(r.asks), r.takes, r.repeats, r.expects != nil})
	}
	return all
}

// Title is what a code is called.
func Title(code string) string { return titles[code] }

// Encode writes JSON.
var Encode = encode

// Seal and Unseal are those of the calls of one actor about one list.
var (
	Seal   = fuzzed.seal
	Unseal = fuzzed.unseal
)

var fuzzed = &call{
	Request: &web.Request{Request: &http.Request{URL: &url.URL{}}, Path: Path},
	c: &Contract{Config: Config{Digest: func(parts ...string) [sha256.Size]byte {
		return sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	}}},
}
