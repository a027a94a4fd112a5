package oauth

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

const (
	// KeySetPath is where the key set is (RFC 7517).
	KeySetPath = "/.well-known/jwks.json"
	// MetadataPath is where the metadata are (RFC 8414, section 3).
	MetadataPath = "/.well-known/oauth-authorization-server"
)

// KeySet is the address of the key set. body is the JSON of the keys there are now, and maxAge how long others may keep it:
// no longer than a key is published before it is used. Errors there are told as where no route matches.
func KeySet(body func() []byte, maxAge time.Duration) web.Address {
	return published(KeySetPath, body, maxAge)
}

// metadataMaxAge is how long others may keep the metadata, which change with the configuration alone.
const metadataMaxAge = 5 * time.Minute

// metadata are the addresses of what RFC 8414 calls the authorization server's metadata: the usual one and, for an issuer
// with a path, the one that has it behind it. All that is in there comes from the configuration, and nothing from a request.
func metadata(c Config) ([]web.Address, error) {
	base := strings.TrimSuffix(c.PublicURL, "/")
	grants := []string{"client_credentials"}
	if c.Pairs {
		grants = append(grants, "refresh_token")
	}
	methods, algorithms := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}, auth.SigningAlgorithms
	body, err := json.Marshal(api.OAuthMetadata{
		Issuer: c.Issuer, TokenEndpoint: tokenEndpoint(c), KeySet: base + KeySetPath, ResponseTypes: []string{}, GrantTypes: grants,
		TokenAuth: methods, TokenAuthAlgorithms: algorithms,
		IntrospectionEndpoint: base + IntrospectPath, IntrospectionAuth: methods, IntrospectionAuthAlgorithms: algorithms,
		RevocationEndpoint: base + RevokePath, RevocationAuth: methods, RevocationAuthAlgorithms: algorithms,
		DPoPAlgorithms: algorithms,
	})
	if err != nil {
		return nil, err
	}
	get := func() []byte { return body }
	all := []web.Address{published(MetadataPath, get, metadataMaxAge)}
	if path := issuerPath(c.Issuer); path != "" {
		all = append(all, published(MetadataPath+path, get, metadataMaxAge))
	}
	return all, nil
}

// tokenEndpoint is how clients reach [TokenPath].
func tokenEndpoint(c Config) string { return strings.TrimSuffix(c.PublicURL, "/") + TokenPath }

// issuerPath is the path of an issuer, without a slash at its end; "" for one that has none, or none that can be asked for.
func issuerPath(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return ""
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if canonical, _, err := web.CheckPath(MetadataPath + path); err != nil || canonical != MetadataPath+path {
		return ""
	}
	return path
}

// published is the address of something that everybody may read and keep for so long.
func published(path string, body func() []byte, maxAge time.Duration) web.Address {
	cacheControl := []string{"public, max-age=" + strconv.FormatInt(max(0, int64(maxAge/time.Second)), 10)}
	get := func(w http.ResponseWriter, r *web.Request) error {
		document := body()
		w.Header()["Cache-Control"] = cacheControl
		if web.NotModified(w, r, web.Tag(document)) {
			return nil
		}
		return web.Reply(w, http.StatusOK, document)
	}
	return web.Address{Path: path, Methods: map[string]web.Handler{http.MethodGet: get}}
}
