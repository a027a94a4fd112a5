package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// Tag is the entity tag (RFC 9110, section 8.8.3) of a document.
func Tag(document []byte) string {
	sum := sha256.Sum256(document)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// NotModified sets ETag, and answers 304 if the caller has the document of that tag already (RFC 9110, section 13.1.2: weak
// comparison).
func NotModified(w http.ResponseWriter, r *Request, tag string) bool {
	w.Header()["Etag"] = []string{tag}
	for _, value := range r.Header["If-None-Match"] {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				w.WriteHeader(http.StatusNotModified)
				return true
			}
		}
	}
	return false
}
