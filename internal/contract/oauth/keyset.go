package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/web"
)

// KeySetPath is where the key set is (RFC 7517).
const KeySetPath = "/.well-known/jwks.json"

// KeySet is the address of the key set. body is the JSON of the keys there are now, and maxAge how long others may keep it:
// no longer than a key is published before it is used. Errors there are told as where no route matches.
func KeySet(body func() []byte, maxAge time.Duration) web.Address {
	cacheControl := []string{"public, max-age=" + strconv.FormatInt(max(0, int64(maxAge/time.Second)), 10)}
	get := func(w http.ResponseWriter, r *web.Request) error {
		keys := body()
		sum := sha256.Sum256(keys)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		h := w.Header()
		h["Cache-Control"] = cacheControl
		h["Etag"] = []string{tag}
		if matches(r.Header["If-None-Match"], tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return web.Reply(w, http.StatusOK, keys)
	}
	return web.Address{Path: KeySetPath, Methods: map[string]web.Handler{http.MethodGet: get}}
}

// matches says whether one of the values of If-None-Match names tag (RFC 9110, section 13.1.2: weak comparison).
func matches(values []string, tag string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
