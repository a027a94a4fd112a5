package audit

import "github.com/gatehouse/gatehouse/internal/auth"

// An Explanation says what a reason means, to whom it shows how, and what to do about it. In Mend and Commands, {account},
// {credential}, {address} and {kind} stand for those of one refusal.
type Explanation struct {
	Reason   auth.Reason
	Meaning  string   // what happened
	Sees     []string // what the caller gets, one line for each place where it can happen
	Retry    string   // whether the same request can succeed later
	Mend     string   // what to do
	Commands []string // of gatehouse, that mend it or show more
}

// What callers get where several reasons look alike to them, as they must.
const (
	keyRefused    = "`GET /authentication`: 400 with `statusCode` 5000, `API Key not found`"
	basicRefused  = "`GET /order-authentication`: 401, `Invalid credentials`"
	loginRefused  = "`POST /auth/login`: 401 `UNAUTHORIZED`, `Invalid credentials`"
	clientRefused = "`POST /oauth/…`: 401, `invalid_client`"
	refreshRefuse = "`POST /auth/refresh`: 401 `UNAUTHORIZED`, `Invalid refresh token`; a refresh at `POST /oauth/token`: 400 `invalid_grant`"
	callRefused   = "calls with a token: 401, `Unauthorized` or `Authentication required`, with `WWW-Authenticate: Bearer`"
	tokenRefused  = "calls with a token: 401, `Unauthorized` or `Authentication required`, with `error=\"invalid_token\"` in `WWW-Authenticate` and the description "
)

// Explanations has one entry for each of [auth.Reasons], in their order.
var Explanations = []Explanation{
	{
		Reason:  auth.ReasonNoCredential,
		Meaning: "The request carried no credential, or no token, where one is needed: the header is missing or empty, or is of another scheme.",
		Sees:    []string{keyRefused, basicRefused, clientRefused, callRefused + " and no `error`"},
		Retry:   "No. The same request fails again.",
		Mend: "The caller sends it: an API key in the header X-LIQUID-API-KEY (or the one configured in contracts.liquid.header) at /authentication, user ID and password as Authorization: Basic at /order-authentication, client id and secret so or in the form at /oauth/token, a token as Authorization: Bearer on every other call. " +
			"If he does send it, something between him and us takes the header away: look at the proxy in front. A customer who has none yet gets one.",
		Commands: []string{"gatehouse credential create --account {account} --kind {kind}"},
	},
	{
		Reason:  auth.ReasonMalformed,
		Meaning: "What was sent is not spelled as it has to be: a key or token cut short or wrapped in quotes, a header given twice, a body that is not the JSON or the form expected, a client assertion that lacks a claim or ends more than ten minutes from now, a method that the address does not have, a path that could be read in two ways.",
		Sees: []string{
			keyRefused, basicRefused, loginRefused, clientRefused, refreshRefuse, tokenRefused + "`The access token is not valid`",
			"a body that is no good: 400 `SYNTAX_ERROR` or `VALIDATION_FAILURE`, 413 or 415 in contract 3; 400 `invalid_request`, 413 or 415 in contract 4",
			"a path or framing that is no good: 400; another method: 405 with `Allow`",
		},
		Retry:    "No. The same request fails again.",
		Mend:     "The caller compares what he sends with what he was given, letter by letter: a line end or a quote that came along with it is the usual cause. The status says whether it was the credential (400 of contract 1, 401), the body (400, 413, 415), the method (405) or the path (400). A token or a key can be looked at here without its holder sending it to anybody else.",
		Commands: []string{"gatehouse token inspect -", "gatehouse credential find -"},
	},
	{
		Reason:   auth.ReasonChecksum,
		Meaning:  "It looks like an API key of ours, but its last letters do not fit the rest: it was mistyped, or cut and put together wrongly. No look-up was made.",
		Sees:     []string{keyRefused},
		Retry:    "No. The same request fails again.",
		Mend:     "The customer copies the key again from where it is kept. If it is lost, give the credential a new secret; the old one goes on for as long as you say.",
		Commands: []string{"gatehouse credential list --account {account}", "gatehouse credential rotate {credential}"},
	},
	{
		Reason:   auth.ReasonUnknown,
		Meaning:  "There is no such credential here. It may belong to another server, or to one that was restored to an older state, or it was guessed.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused},
		Retry:    "No. The same request fails again.",
		Mend:     "Ask the customer which key or user ID he sends (its id alone, never the secret), and whether it is meant for this server. If it never existed, make one.",
		Commands: []string{"gatehouse credential find -", "gatehouse credential create --account {account} --kind {kind}"},
	},
	{
		Reason:   auth.ReasonWrongSecret,
		Meaning:  "The credential exists, and what was sent with it is none of its secrets. It was mistyped, it is an old one that has been replaced for good, or somebody is guessing.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused},
		Retry:    "No. The same request fails again, and each try counts against the limits of failures.",
		Mend:     "The customer takes the secret he was given last. If nobody has it any more, rotate: the new one is shown once. If he did not make these requests, look where they come from.",
		Commands: []string{"gatehouse credential show {credential}", "gatehouse credential rotate {credential}", "gatehouse refusal list --credential {credential}"},
	},
	{
		Reason:   auth.ReasonWrongEnvironment,
		Meaning:  "The credential belongs to the other environment: one of staging was sent to production, or the other way round.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused},
		Retry:    "No. The same request fails again.",
		Mend:     "The caller takes the base URL that belongs to his credential, or the credential that belongs to this URL. What belongs where stands at its front: _test_ and test_u_ for staging, _live_ and u_ for production.",
		Commands: []string{"gatehouse credential create --account {account} --kind {kind}"},
	},
	{
		Reason:   auth.ReasonExpired,
		Meaning:  "The credential was right and its time is over: the credential's own, or that of a secret which was replaced by a rotation. Or a client assertion or a DPoP proof was presented again: each counts once.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused, "a call that asked for a new token in its body goes through, with `X-Auth-Refresh: refused`"},
		Retry:    "No. The same request fails again.",
		Mend:     "See which of the two it is. If the secret was replaced, the customer takes the newer one. If the credential itself has expired, he needs a new credential. A client that signs must sign each request anew, with another jti.",
		Commands: []string{"gatehouse credential show {credential}", "gatehouse credential create --account {account} --kind {kind}"},
	},
	{
		Reason:   auth.ReasonRevoked,
		Meaning:  "The credential was revoked, or the session that the refresh token belongs to has ended: by a logout, by a revocation, or because one of its older refresh tokens was used again.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused, refreshRefuse},
		Retry:    "No. It is final.",
		Mend:     "With an ended session the customer logs in again. A revoked credential does not come back: if he is to have access, he gets a new one.",
		Commands: []string{"gatehouse credential show {credential}", "gatehouse credential create --account {account} --kind {kind}"},
	},
	{
		Reason:   auth.ReasonAccountSuspended,
		Meaning:  "The credential or token was good, and its account is suspended. The caller is told no more than somebody with a wrong credential.",
		Sees:     []string{keyRefused, basicRefused, loginRefused, clientRefused, refreshRefuse, tokenRefused + "`The access token was revoked`"},
		Retry:    "Not until the account is active again.",
		Mend:     "If the account is to work again, resume it: tokens and sessions that have not expired work again at once, unless they were revoked with the suspension.",
		Commands: []string{"gatehouse account resume {account}"},
	},
	{
		Reason:   auth.ReasonAddressNotAllowed,
		Meaning:  "The credential or token was good, but the account has a list of addresses, and the one that the request came from is not on it.",
		Sees:     []string{"everywhere: 403, `IP address not authorized`; in contract 3 `FORBIDDEN`, in contract 4 `access_denied`"},
		Retry:    "Not until the list is changed, which acts at once. A refresh token that was refused so is not spent.",
		Mend:     "Make sure with the customer that the address is his, then allow it. If it is the address of your own proxy, name the proxy in trusted_proxies instead, and the customer's own address counts.",
		Commands: []string{"gatehouse account allow-ip {account} {address}", "gatehouse account show {account}"},
	},
	{
		Reason:   auth.ReasonRateLimited,
		Meaning:  "There were too many requests, or too many failures, for one of the limits.",
		Sees:     []string{"contracts 1 and 2: 429, `Too Many Requests`", "`POST /auth/login`: 429 `TOO_MANY_REQUESTS`, `Too many login attempts. Please try again later.`", "elsewhere in contract 3: 429 `TOO_MANY_REQUESTS`, `Too many requests. Please try again later.`", "contract 4: 429 `temporarily_unavailable`", "always with `Retry-After`, and with `RateLimit` and `RateLimit-Policy`"},
		Retry:    "Yes, after the seconds in `Retry-After`.",
		Mend:     "The header RateLimit-Policy and the line of this refusal name the limit. If it is one of failures, find what fails before you raise it. A caller who asks for a token before every call should keep it until it expires.",
		Commands: []string{"gatehouse refusal list --address {address}"},
	},
	{
		Reason:   auth.ReasonTokenExpired,
		Meaning:  "The token is one of ours and its time is over. Or it is a client's assertion, by which it is to be known, that has expired, or a DPoP proof that is older than a minute and a half.",
		Sees:     []string{clientRefused, tokenRefused + "`The access token expired`", refreshRefuse},
		Retry:    "Yes, with a new token.",
		Mend:     "The caller gets a new token as he got the first one: with his credential, or, while the refresh token lives, with that. Nothing needs to be done here. If he thinks the token is still good, his clock is wrong, or he reads the expiry wrongly: at most addresses it is in milliseconds.",
		Commands: []string{"gatehouse token inspect -"},
	},
	{
		Reason:   auth.ReasonTokenNotYetValid,
		Meaning:  "The token is one of ours, but it says that it begins later than this server's clock shows, by more than half a minute. The clock of the server that made it and of this one disagree. Of a client's assertion: the client's clock is ahead.",
		Sees:     []string{clientRefused, tokenRefused + "`The access token is not valid`"},
		Retry:    "Yes, as soon as the clocks agree.",
		Mend:     "Set the clocks of all servers by the same source (NTP). The caller's own clock has nothing to do with it, unless it is he who signs: then it is his that is ahead.",
		Commands: []string{"gatehouse token inspect -"},
	},
	{
		Reason:   auth.ReasonTokenRevoked,
		Meaning:  "The token is one of ours and was revoked before its time: by a logout, with its session or its credential, or because a refresh token of its session was used twice.",
		Sees:     []string{tokenRefused + "`The access token was revoked`"},
		Retry:    "Yes, with a new token, if the credential is still good.",
		Mend:     "The caller gets a new token with his credential. The credential's page says whether it is the credential that was revoked.",
		Commands: []string{"gatehouse credential show {credential}", "gatehouse session list --account {account}"},
	},
	{
		Reason:   auth.ReasonTokenWrongType,
		Meaning:  "The token is good, and the address or route asks for one of another type. A token of one contract opens no door of another. Or the route asks for a token that is bound to a key (dpop), and this one is not.",
		Sees:     []string{tokenRefused + "`The access token is of another type`"},
		Retry:    "No. The same token fails again.",
		Mend:     "The caller takes the token that belongs to this address: ACCESS_TOKEN from /authentication, ORDER_API from /order-authentication, B2B_ACCESS from /auth/login, OAUTH_ACCESS from /oauth/token. If the route should take his, add the type to the route's accepts.",
		Commands: []string{"gatehouse config check"},
	},
	{
		Reason:   auth.ReasonTokenForeign,
		Meaning:  "The token was signed with a key of ours, but it names another issuer or is meant for another audience. Or an OAuth client presented a refresh token of another account than its own, or an assertion that is not for this server (aud). Or the token is bound to a key (DPoP) and came without a proof of that, or with a proof of another request or token.",
		Sees:     []string{clientRefused, tokenRefused + "`The access token is not valid`", refreshRefuse},
		Retry:    "No. The same token fails again.",
		Mend:     "The caller sends a token of this server, and one that is bound to a key as Authorization: DPoP with a proof for this method and URL, where the URL begins with public_url. If the issuer was renamed, put the former name into accept_issuers until the last token with it has expired.",
		Commands: []string{"gatehouse token inspect -", "gatehouse config check"},
	},
	{
		Reason:   auth.ReasonSignature,
		Meaning:  "No key of ours that is still in use made the token's signature: the token is of another server, was changed, or its key was revoked or has been gone for long. Or none of the keys that an OAuth client has here made the signature of its assertion, or the key in a DPoP proof not that of the proof.",
		Sees:     []string{clientRefused, tokenRefused + "`The access token is not valid`", refreshRefuse},
		Retry:    "Yes, with a new token.",
		Mend:     "The caller gets a new token from this server. If this happens to everybody at once, a signing key was revoked, or the database is not the one that made these tokens.",
		Commands: []string{"gatehouse token inspect -", "gatehouse signing-key list"},
	},
	{
		Reason:   auth.ReasonInsufficientScope,
		Meaning:  "The token is good and lacks a scope that the route asks for: it never had it, or its credential has lost it since. Or a client asked for a scope that its credential does not have, or the session that it refreshes.",
		Sees:     []string{"calls with a token: 403, `Insufficient scope`; in contract 3 `FORBIDDEN`, in contract 4 `insufficient_scope`", "`POST /oauth/token`, for a scope that the client does not have: 400 `invalid_scope`"},
		Retry:    "No. The same token fails again.",
		Mend:     "Compare the credential's scopes with those of the route. If the customer is to have it, he gets a credential with that scope.",
		Commands: []string{"gatehouse credential show {credential}", "gatehouse credential create --account {account} --kind {kind} --scope SCOPE"},
	},
	{
		Reason:   auth.ReasonRefreshRaced,
		Meaning:  "The refresh token had been used a moment before, within tokens.b2b.reuse_leeway (10 s). That is a client racing with itself, or one that did not get the answer and asked again without an Idempotency-Key. The session lives on.",
		Sees:     []string{refreshRefuse},
		Retry:    "Not with the same token: it is spent. Whoever got the answer has the new one.",
		Mend:     "Let one worker refresh for all, and let every refresh carry an Idempotency-Key that is drawn at random and stored before it is sent: then an answer that was lost can be asked for again. A client that lost it logs in again.",
		Commands: []string{"gatehouse session list --account {account}"},
	},
	{
		Reason:   auth.ReasonRefreshReused,
		Meaning:  "A refresh token that was spent long before was used again. Either somebody else holds a copy, or the client kept an old one. Nobody can tell which, so the session has ended, with all its tokens (unless tokens.b2b.on_reuse is refuse).",
		Sees:     []string{refreshRefuse},
		Retry:    "No. The session is over.",
		Mend:     "The customer logs in again. Ask him whether two of his programs share one token file, or whether an answer was lost; if neither, treat it as theft: rotate the password, end what came from the old one, and look at the addresses.",
		Commands: []string{"gatehouse refusal list --account {account}", "gatehouse credential rotate {credential} --old-expires now --end-sessions"},
	},
	{
		Reason:   auth.ReasonNoRoute,
		Meaning:  "The path is none of the server's own addresses, and no route matches it.",
		Sees:     []string{"404, `Not Found`; under /auth/ 404 `NOT_FOUND`"},
		Retry:    "No. The same request fails again.",
		Mend:     "The caller compares the path, and the host, with the documentation. If a route should match, remember that a route's path matches whole segments, and that its host and methods must fit too.",
		Commands: []string{"gatehouse config check"},
	},
	{
		Reason:   auth.ReasonOverloaded,
		Meaning:  "A check or a write could not be made in time: the database did not answer, its disk is full, or what was revoked is not known well enough. Nobody is let in on a guess.",
		Sees:     []string{"everywhere: 503, `Service Unavailable`; in contract 3 `SERVICE_UNAVAILABLE`, in contract 4 `temporarily_unavailable`; always with `Retry-After`"},
		Retry:    "Yes, after the seconds in `Retry-After`; a refresh with the same Idempotency-Key.",
		Mend:     "It is not the caller's affair. The log has the error at this time: look at the database, its disk and its load. /readyz says whether knowledge is fresh again; that the disk takes writes again, a login shows.",
		Commands: []string{"gatehouse config check"},
	},
	{
		Reason:   auth.ReasonUpstream,
		Meaning:  "The call was let in, and the API behind the route did not answer, broke off, or took too long.",
		Sees:     []string{"calls through a route: 502, `Bad Gateway` (`BAD_GATEWAY`), or 504, `Gateway Timeout` (`GATEWAY_TIMEOUT`); 503 with `Retry-After`, `Service Unavailable` (`SERVICE_UNAVAILABLE`), while it is not asked because it failed too often in a row"},
		Retry:    "Yes, later. A call that changes something may have done so all the same.",
		Mend:     "Look whether the API at the route's upstream runs and can be reached from here, and whether the route's timeouts fit what it does. gatehouse_upstream_healthy says which of its servers fail.",
		Commands: []string{"gatehouse config check"},
	},
}

// explanation returns the entry of a reason.
func explanation(r auth.Reason) (Explanation, bool) {
	for _, e := range Explanations {
		if e.Reason == r {
			return e, true
		}
	}
	return Explanation{}, false
}
