package manual

import "github.com/gatehouse/gatehouse/internal/auth"

// A Row is an error as a customer's developer needs to know it.
type Row struct {
	Status  int
	Code    string // as it stands in the answer
	Message string
	Meaning
}

// A Meaning is what there is to know of an error, in whatever words it is told.
type Meaning struct {
	Why   string
	Do    string
	Again string // whether it helps to send the same again
}

// A Family is the errors of addresses that speak alike.
type Family struct {
	Title, Says string
	Contracts   []auth.Contract // where one of them is spoken
	Rows        []Row
}

const (
	never   = "no"
	later   = "after `Retry-After`"
	perhaps = "later, if doing it twice does no harm"
	renewed = "once, with a new token"
)

// What is the same wherever it is told.
var (
	elsewhere  = Meaning{"Your address is not on your account's list", "Call from an address that is, or have yours added", never}
	unscoped   = Meaning{"The token lacks a scope that this address asks for", "Ask for a credential that has it", never}
	nothing    = Meaning{"There is nothing at this address", "Check the address", never}
	method     = Meaning{"The address has other methods: see `Allow`", "Use one of those; HEAD is not GET here", never}
	tooLarge   = Meaning{"The body has more than 64 KiB", "Send less", never}
	tooOften   = Meaning{"You came too often", "Wait, and come less often: [Rate limits](/docs/rate-limits)", later}
	broken     = Meaning{"Something broke on our side", "Tell support the request id", perhaps}
	behind     = Meaning{"The API behind did not answer properly", "Tell support, if it stays", perhaps}
	undecided  = Meaning{"It cannot be decided now", "Wait", later}
	behindLate = Meaning{"The API behind took too long", "Tell support, if it stays", perhaps}
)

// families are all errors, by how they are told.
var families = []Family{
	{
		Title:     "API keys, order tokens, and calls with them",
		Says:      "The body is `{\"statusCode\": …, \"message\": …, \"metadata\": {…}, \"errors\": []}`; the code is `statusCode`.",
		Contracts: []auth.Contract{auth.Liquid, auth.Orders},
		Rows: []Row{
			{400, "5000", "API Key not found", Meaning{"The key is missing, mistyped, unknown, of another environment, revoked or expired, or your account is suspended: which, nobody outside is told", "Check the key; ask for a new one", never}},
			{400, "400", "Bad Request", Meaning{"The path or the framing of the request has more than one meaning", "Send the path in its one spelling, without `//`, dot segments and escaped slashes", never}},
			{401, "401", "Invalid credentials", Meaning{"User ID or password are missing or wrong, or the credential is dead", "Check them; ask for new ones", never}},
			{401, "401", "Unauthorized", Meaning{"The token of a call is missing, expired, revoked, of another type or not valid; `WWW-Authenticate` says which", "Get a new token", renewed}},
			{403, "403", "IP address not authorized", elsewhere},
			{403, "403", "Insufficient scope", unscoped},
			{404, "404", "Not Found", nothing},
			{405, "405", "Method Not Allowed", method},
			{413, "413", "Payload Too Large", Meaning{"The body is larger than the address takes", "Send less", never}},
			{429, "429", "Too Many Requests", tooOften},
			{500, "500", "Internal Server Error", broken},
			{502, "502", "Bad Gateway", behind},
			{503, "503", "Service Unavailable", undecided},
			{504, "504", "Gateway Timeout", behindLate},
		},
	},
	{
		Title:     "Login, refresh, logout, and calls with their tokens",
		Says:      "The body is `{\"error\": {\"name\": …, \"code\": …, \"message\": …}}`.",
		Contracts: []auth.Contract{auth.B2B},
		Rows: []Row{
			{400, "SYNTAX_ERROR", "Invalid request body", Meaning{"The body is empty, no JSON, has a member twice, or something after the object", "Send one JSON object in UTF-8", never}},
			{400, "VALIDATION_FAILURE", "Username and password are required", Meaning{"One of them is missing, empty or no string", "Send both", never}},
			{400, "VALIDATION_FAILURE", "Refresh token is required", Meaning{"It is missing, empty or no string", "Send it", never}},
			{400, "VALIDATION_FAILURE", "Invalid Idempotency-Key", Meaning{"It is not 16 to 128 visible ASCII characters, or was sent twice", "Draw a random one", never}},
			{400, "BAD_REQUEST", "Bad request", Meaning{"The path or the framing of the request has more than one meaning", "Send the path in its one spelling", never}},
			{401, "UNAUTHORIZED", "Invalid credentials", Meaning{"Username or password are wrong, or the credential is dead, or your account is suspended", "Check them; ask for new ones", never}},
			{401, "UNAUTHORIZED", "Invalid refresh token", Meaning{"It is expired, revoked, spent, or no refresh token", "Log in again", never}},
			{401, "UNAUTHORIZED", "Authentication required", Meaning{"The access token is missing, expired, revoked, of another type or not valid; `WWW-Authenticate` says which", "Refresh, or log in again", renewed}},
			{403, "FORBIDDEN", "IP address not authorized", elsewhere},
			{403, "FORBIDDEN", "Insufficient scope", unscoped},
			{404, "NOT_FOUND", "Not found", nothing},
			{405, "METHOD_NOT_ALLOWED", "Method not allowed", method},
			{413, "PAYLOAD_TOO_LARGE", "Request body too large", tooLarge},
			{415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json", Meaning{"The body says it is something else", "Send `Content-Type: application/json`", never}},
			{429, "TOO_MANY_REQUESTS", "Too many login attempts. Please try again later.", tooOften},
			{429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later.", tooOften},
			{500, "INTERNAL_SERVER_ERROR", "Internal server error", broken},
			{502, "BAD_GATEWAY", "Bad gateway", behind},
			{503, "SERVICE_UNAVAILABLE", "Service temporarily unavailable", undecided},
			{504, "GATEWAY_TIMEOUT", "Gateway timeout", behindLate},
		},
	},
	{
		Title:     "OAuth 2",
		Says:      "The body is `{\"error\": …, \"error_description\": …}` (RFC 6749, section 5.2); the code is `error`, and the description is for people.",
		Contracts: []auth.Contract{auth.OAuth2},
		Rows: []Row{
			{400, "invalid_request", "", Meaning{"A parameter is missing, twice, or not allowed, or there are two ways of client authentication", "Mend the request", never}},
			{400, "invalid_grant", "", Meaning{"The refresh token is expired, revoked, spent, or not of your account", "Log in again", never}},
			{400, "invalid_scope", "", Meaning{"The client does not have a scope that was asked for", "Ask for fewer", never}},
			{400, "unsupported_grant_type", "", Meaning{"There are `client_credentials` and `refresh_token`", "Use one of them", never}},
			{400, "invalid_dpop_proof", "", Meaning{"The DPoP proof is of another request, too old, or was used; of a call it is 401", "Sign a new one", never}},
			{401, "invalid_client", "", Meaning{"The client is unknown, its secret or assertion wrong, or the credential dead", "Check id and secret; ask for new ones", never}},
			{401, "invalid_token", "", Meaning{"The token of a call is missing, expired, revoked, of another type or not valid; `WWW-Authenticate` says which", "Get a new token", renewed}},
			{403, "access_denied", "", elsewhere},
			{403, "insufficient_scope", "", unscoped},
			{404, "invalid_request", "", nothing},
			{405, "invalid_request", "", method},
			{413, "invalid_request", "", tooLarge},
			{415, "invalid_request", "", Meaning{"The body is not a form, or is encoded", "Send `Content-Type: application/x-www-form-urlencoded`", never}},
			{429, "temporarily_unavailable", "", tooOften},
			{500, "server_error", "", broken},
			{502, "server_error", "", behind},
			{503, "temporarily_unavailable", "", undecided},
			{504, "server_error", "", behindLate},
		},
	},
}

// Families are the errors of what is spoken here.
func (v values) Families() []Family {
	var spoken []Family
	for _, f := range families {
		for _, c := range f.Contracts {
			if v.Spoken(c) {
				spoken = append(spoken, f)
				break
			}
		}
	}
	return spoken
}
