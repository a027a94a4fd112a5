// Package api has the bodies that go over the wire at our own addresses, shared by the server and whoever writes a client.
// It leaves the statuses and headers they go with to the contracts. It imports the standard library only.
//
// The invariant: the members of a struct stand in the order in which they are sent, and no member is ever renamed or given
// another type.
package api

// Metadata is part of every envelope of contracts 1 and 2.
type Metadata struct {
	Languages []string `json:"languages"`
	Timestamp int64    `json:"timestamp"` // of the answer, Unix milliseconds
	Timezone  string   `json:"timezone"`  // "UTC"
	RequestID string   `json:"requestId"` // also in X-Request-Id
	Path      string   `json:"path"`
	Version   string   `json:"version"`
}

// LiquidAnswer is the envelope of contracts 1 and 2. A success has Data, a failure has Errors, which is always empty.
type LiquidAnswer struct {
	StatusCode int          `json:"statusCode"`
	Message    string       `json:"message"`
	Metadata   Metadata     `json:"metadata"`
	Data       *LiquidToken `json:"data,omitempty"`
	Errors     []string     `json:"errors,omitzero"`
}

// LiquidToken is a token as contracts 1 and 2 hand it out, and without an envelope the answer at GET /order-authentication.
type LiquidToken struct {
	Token string `json:"token"`
	Type  string `json:"type"`
	// Exp is when the token expires, in Unix milliseconds; at GET /api/order-authentication alone the seconds it has left.
	Exp int64 `json:"exp"`
}

// A LoginRequest is the body of POST /auth/login.
type LoginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Member returns where the member of this name goes, nil if there is none.
func (r *LoginRequest) Member(name string) *string {
	switch name {
	case "username":
		return &r.Username
	case "password":
		return &r.Password
	}
	return nil
}

// A RefreshRequest is the body of POST /auth/refresh.
type RefreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

// Member returns where the member of this name goes, nil if there is none.
func (r *RefreshRequest) Member(name string) *string {
	if name == "refresh_token" {
		return &r.RefreshToken
	}
	return nil
}

// PairAnswer is the success of POST /auth/login and POST /auth/refresh.
type PairAnswer struct {
	Success bool `json:"success"` // true
	Data    Pair `json:"data"`
}

// A Pair is an access token and the refresh token that the next pair is had with.
type Pair struct {
	AccessToken      string `json:"access_token"`
	RefreshToken     string `json:"refresh_token"`
	AccessExpiresAt  string `json:"access_expires_at"` // RFC 3339, UTC, whole seconds
	RefreshExpiresAt string `json:"refresh_expires_at"`
	ClientID         int64  `json:"client_id"` // the account's number
}

// LogoutAnswer is the success of POST /auth/logout.
type LogoutAnswer struct {
	Success bool    `json:"success"` // true
	Data    Message `json:"data"`
}

// A Message is for people.
type Message struct {
	Message string `json:"message"`
}

// B2BError is every failure of contract 3.
type B2BError struct {
	Error B2BFailure `json:"error"`
}

// B2BFailure says what is wrong: name and code for programs, message for people.
type B2BFailure struct {
	Name    string `json:"name"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// OAuthError is every failure of contract 4 (RFC 6749, section 5.2).
type OAuthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}
