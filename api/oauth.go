package api

// OAuthToken is the success of POST /oauth/token (RFC 6749, section 5.1).
type OAuthToken struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"` // "Bearer", or "DPoP" for one that is bound to a key
	ExpiresIn    int64  `json:"expires_in"` // seconds
	Scope        string `json:"scope,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// OAuthIntrospection is the success of POST /oauth/introspect (RFC 7662, section 2.2). Of a token that is not alive, or not for
// the client to know, it is Active alone. Times are in seconds of Unix time, as in the token.
type OAuthIntrospection struct {
	Active    bool   `json:"active"`
	Issuer    string `json:"iss,omitempty"`
	Subject   string `json:"sub,omitempty"` // the account's number
	Audience  string `json:"aud,omitempty"`
	Scope     string `json:"scope,omitempty"` // what the token may do now
	IssuedAt  int64  `json:"iat,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	ID        string `json:"jti,omitempty"`
	TokenType string `json:"token_type,omitempty"` // "Bearer" or "DPoP"; "N_A" for a refresh token, which opens no API
	// Confirmation is there if the token is bound to a key.
	Confirmation *OAuthConfirmation `json:"cnf,omitempty"`
}

// OAuthConfirmation names the key that a token is good with alone (RFC 9449, section 6.1).
type OAuthConfirmation struct {
	Thumbprint string `json:"jkt"` // RFC 7638, SHA-256
}

// OAuthMetadata is the answer at GET /.well-known/oauth-authorization-server (RFC 8414, section 2). What clients may ask for
// differs from one to another, so no scopes are listed.
type OAuthMetadata struct {
	Issuer                      string   `json:"issuer"`
	TokenEndpoint               string   `json:"token_endpoint"`
	KeySet                      string   `json:"jwks_uri"`
	ResponseTypes               []string `json:"response_types_supported"` // none: there is no authorization endpoint
	GrantTypes                  []string `json:"grant_types_supported"`
	TokenAuth                   []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgorithms         []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IntrospectionEndpoint       string   `json:"introspection_endpoint"`
	IntrospectionAuth           []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgorithms []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	RevocationEndpoint          string   `json:"revocation_endpoint"`
	RevocationAuth              []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgorithms    []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	DPoPAlgorithms              []string `json:"dpop_signing_alg_values_supported"`
}
