// Package config reads what an operator set: from gatehouse.yaml, from GATEHOUSE_… variables, from flags. It leaves to
// server what is done with it. The comments of [Config] are the manual; example.yaml is made of them.
//
// The invariant: a [Config] that came from [Load] holds only values that a server can run with; whatever is wrong, unknown
// or doubtful is an error that names file, line and key, and all of them are told at once. Nothing of a secret is in an
// error or printed.
package config

import (
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A Config is all that can be set. Durations are written 90s, 15m, 24h or 30d, or several of these as 1h30m, or 0; rates
// 10/s, 600/min, 100/h or 5000/d. A path that is not absolute is relative to the folder of the configuration file, or to
// the working directory where there is none or a flag says it.
type Config struct {
	// The address for customers: the contracts, the gateway, /.well-known, /docs, /openapi.yaml, /healthz, /readyz. Port 0 takes a free one.
	Listen string `yaml:"listen"`
	// The address for operators: /metrics, /healthz, /readyz. Never open it to the internet.
	AdminListen string `yaml:"admin_listen"`
	// How customers reach `listen`: https://auth.example.com, without a path. It is the issuer unless `issuer` is set, and
	// the base of every link.
	PublicURL string `yaml:"public_url"`
	// The claim "iss" of every token. Empty: public_url. Whoever checks tokens compares it letter by letter.
	Issuer string `yaml:"issuer"`
	// Former issuers whose tokens are still accepted. Leave one here for as long as its tokens live.
	AcceptIssuers []string `yaml:"accept_issuers"`
	// The claim "aud" of every access token. Empty: the issuer.
	Audience string `yaml:"audience"`
	// The realm of every WWW-Authenticate.
	Realm string `yaml:"realm"`
	// live, or test for a staging deployment. It stands in every credential, and one of the other is worth nothing here.
	Environment auth.Environment `yaml:"environment"`
	// What API keys begin with: 1 to 16 lower-case letters and digits. Keys with another beginning are no longer known.
	KeyPrefix string `yaml:"key_prefix"`
	// The folder of the embedded database and of its master key.
	DataDir string `yaml:"data_dir"`
	// postgres://user:password@host:5432/name: a PostgreSQL database, version 15 or later, instead of the embedded one, for any
	// number of equal servers. Several hosts, a:5432,b:5432, are a primary and its standbys: the one that takes writes is used.
	// What is special in the password is written %40 for @, %2F for /, and so on; sslmode=verify-full&sslrootcert=FILE asks for
	// TLS that proves who answers.
	Database Secret `yaml:"database"`
	// For PostgreSQL.
	DatabasePool DatabasePool `yaml:"database_pool"`
	// redis://user:password@host:6379/0, or rediss:// for TLS: a Redis or Valkey through which replicas share limits. Several
	// addresses, a:6379,b:6379,c:6379, are of one cluster. Without it, and while it is away, each replica counts for itself.
	Redis Secret `yaml:"redis"`
	// The file with the master key, as `gatehouse master-key generate` prints it. Empty: the variable
	// GATEHOUSE_MASTER_KEY, or else the file beside the embedded database.
	MasterKeyFile string `yaml:"master_key_file"`
	// Whose X-Forwarded-For is believed: addresses and CIDRs, `private` for all private ranges. Name your load balancer
	// here, and nobody else: a peer in this list may say where its requests come from.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// The PROXY protocol, version 2, on `listen`: connections of trusted_proxies must begin with its header, which says
	// where they come from, and all others must not.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// Refuse with 400 what comes to the contracts and the routes in clear text: without `tls`, unless one of
	// trusted_proxies says X-Forwarded-Proto: https.
	RequireHTTPS bool `yaml:"require_https"`
	// How many connections to `listen` there may be at once, WebSockets among them. One more is closed as soon as it comes.
	// Each that is passed on costs a second file descriptor. 0: any number.
	MaxConnections int `yaml:"max_connections"`
	// How many connections to `listen` an address may have at once (the /64 for IPv6; trusted_proxies any number). 0: any
	// number.
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// How many bytes a second of a request's body through a route must come on average, once it was waited for ten seconds. Time
	// in which the API does not read does not count, nor do WebSockets. 0: any number, for routes where bodies stay open.
	MinBodyRate int `yaml:"min_body_rate"`
	// Certificates for `listen`. With them it speaks TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, and no clear text.
	TLS TLS `yaml:"tls"`
	// Certificates for `admin_listen`, which speaks clear text without them.
	AdminTLS AdminTLS `yaml:"admin_tls"`
	// Calls from scripts of pages elsewhere.
	CORS CORS `yaml:"cors"`
	// What we speak over the wire. The addresses of a disabled contract are 404, and its credentials open nothing.
	Contracts Contracts `yaml:"contracts"`
	// How tokens are signed and how long they live. A new lifetime holds for new tokens; those that are out keep theirs.
	Tokens Tokens `yaml:"tokens"`
	// Keys that sign rotate by themselves.
	SigningKeys SigningKeys `yaml:"signing_keys"`
	// How long a revocation may take to reach everybody.
	Revocation Revocation `yaml:"revocation"`
	// How much is kept in memory.
	Cache Cache `yaml:"cache"`
	// How often somebody may come. `burst` is how many may come at once, `rate` how fast they come back. Burst 0 stands for
	// the number in the rate, rate 0 is no limit. The two are set apart: who changes a rate looks at its burst.
	Limits Limits `yaml:"limits"`
	// The audit trail: who changed what.
	Audit Audit `yaml:"audit"`
	// Who was refused and why, for `gatehouse explain` and `gatehouse refusal list`.
	Refusals Refusals `yaml:"refusals"`
	// Backups that the server makes by itself, while it serves. See docs/backup.md.
	Backup Backup `yaml:"backup"`
	// Others who are told what happened, over HTTP: a list of sections. See docs/webhooks.md.
	Webhooks []Webhook `yaml:"webhooks"`
	// How long before its end webhooks tell that a credential ends.
	WebhookNotice time.Duration `yaml:"webhook_notice"`
	// The dashboards at /dashboard/: the operators' on admin_listen, the members' on listen. See docs/dashboard.md.
	Dashboard Dashboard `yaml:"dashboard"`
	// Pages for customers' developers at /docs: how to get a token and what an error means, with this server's own values. And
	// the OpenAPI document of the contracts, at /openapi.yaml.
	Docs Docs `yaml:"docs"`
	// The log goes to standard error. No secret is ever in it.
	Log Log `yaml:"log"`
	// How long requests may take to end when the server is told to stop.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
	// The APIs behind the gateway. The most specific route wins: host, then path, then method; none is 404. Our own
	// addresses win over routes.
	Routes []Route `yaml:"routes"`

	// MasterKey is what GATEHOUSE_MASTER_KEY or the file of master_key_file holds, without white space around it; not set
	// where neither is given. MasterKeyPrevious likewise, of GATEHOUSE_MASTER_KEY_PREVIOUS and …_FILE.
	MasterKey         Secret `yaml:"-"`
	MasterKeyPrevious Secret `yaml:"-"`
	// SharedLimits is what redis says; nil: nothing.
	SharedLimits *Redis `yaml:"-"`
	// File is the configuration file, as it was named; "" if there is none.
	File string `yaml:"-"`

	dir     string // the working directory, absolute
	origins map[string]origin
}

// DatabasePool is for PostgreSQL.
type DatabasePool struct {
	// Connections at most, for each replica.
	MaxConnections int `yaml:"max_connections"`
	// How long one statement may take.
	StatementTimeout time.Duration `yaml:"statement_timeout"`
}

// TLS is how `listen` is encrypted.
type TLS struct {
	// PEM: the certificate, then those that lead to the root; and its key. Both are read anew when they change.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// PEM: the authorities that clients' certificates must be signed by. It is read anew when it changes. Empty: clients are
	// asked for none. It is a lock on the door: who somebody is, a credential or a token says, and no certificate.
	ClientCAFile string `yaml:"client_ca_file"`
	// With client_ca_file: `require` lets nobody in without a certificate, `optional` does. One that is no good never opens.
	ClientCertificates ClientCertificates `yaml:"client_certificates"`
	// Certificates that come by themselves, instead of those in files.
	ACME ACME `yaml:"acme"`
}

// AdminTLS is how `admin_listen` is encrypted, and who gets in. The keys are those of `tls`.
type AdminTLS struct {
	CertFile           string             `yaml:"cert_file"`
	KeyFile            string             `yaml:"key_file"`
	ClientCAFile       string             `yaml:"client_ca_file"`
	ClientCertificates ClientCertificates `yaml:"client_certificates"`
}

// ClientCertificates says whether clients must show a certificate.
type ClientCertificates string

// Whether clients must show a certificate.
const (
	CertificateRequired ClientCertificates = "require"
	CertificateOptional ClientCertificates = "optional"
)

// On says whether there is TLS.
func (t TLS) On() bool { return t.CertFile != "" || len(t.ACME.Hosts) > 0 }

// ACME is from whom certificates come by themselves. Naming hosts means that you accept the terms of that authority.
type ACME struct {
	// The names that customers reach this server by, each of which gets a certificate. They must lead here, to port 443. Account,
	// keys and certificates lie in the folder acme in data_dir.
	Hosts []string `yaml:"hosts"`
	// Where the authority may write to you. Empty: nowhere.
	Email string `yaml:"email"`
	// The directory of the ACME server. Empty: that of Let's Encrypt.
	Directory string `yaml:"directory"`
	// PEM: the authorities of the ACME server's own certificate. Empty: those that the system trusts.
	CAFile string `yaml:"ca_file"`
}

// CORS is what browsers may do from elsewhere.
type CORS struct {
	// The origins of the pages whose scripts may call the contracts and the routes, as browsers send them:
	// https://app.example.com or http://localhost:3000. Empty: none. It keeps nobody out who is not a browser.
	AllowedOrigins []string `yaml:"allowed_origins"`
	// The headers that such a script may send, beside Authorization, Content-Type, Idempotency-Key, X-Request-Id, that of
	// the API key and those of the published SDK.
	AllowedHeaders []string `yaml:"allowed_headers"`
}

// Contracts are the ways we speak over the wire.
type Contracts struct {
	// API key to access token: GET /authentication.
	Liquid LiquidContract `yaml:"liquid"`
	// User ID and password to an order token: GET /order-authentication.
	Orders Contract `yaml:"orders"`
	// Username and password to a pair: POST /auth/login, /auth/refresh, /auth/logout.
	B2B Contract `yaml:"b2b"`
	// OAuth 2: POST /oauth/token, /oauth/introspect, /oauth/revoke.
	OAuth Contract `yaml:"oauth"`
}

// Enabled says whether contract c is spoken.
func (c Contracts) Enabled(of auth.Contract) bool {
	switch of {
	case auth.Liquid:
		return c.Liquid.Enabled
	case auth.Orders:
		return c.Orders.Enabled
	case auth.B2B:
		return c.B2B.Enabled
	case auth.OAuth2:
		return c.OAuth.Enabled
	}
	return false
}

// A Contract is a contract that can only be switched on and off.
type Contract struct {
	Enabled bool `yaml:"enabled"`
}

// LiquidContract is the contract of API keys.
type LiquidContract struct {
	Enabled bool `yaml:"enabled"`
	// The request header with the API key.
	Header string `yaml:"header"`
	// metadata.version and metadata.languages of every answer, which contract `orders` has too.
	APIVersion string   `yaml:"api_version"`
	Languages  []string `yaml:"languages"`
}

// Tokens says how tokens are signed and how long they live.
type Tokens struct {
	// EdDSA, ES256, RS256 or HS256. HS256 keys can be checked by this server alone.
	Algorithm verify.Algorithm `yaml:"algorithm"`
	// Contract `liquid`.
	AccessToken AccessToken `yaml:"access_token"`
	// Contract `orders`.
	OrderAPI OrderAPI `yaml:"order_api"`
	// Contract `b2b`.
	B2B B2BTokens `yaml:"b2b"`
	// Contract `oauth`.
	OAuth OAuthTokens `yaml:"oauth"`
}

// AccessToken is for tokens of the type ACCESS_TOKEN.
type AccessToken struct {
	Lifetime time.Duration `yaml:"lifetime"`
	// How long after the key was presented a token can be renewed in band. 0: never.
	MaxRenewal time.Duration `yaml:"max_renewal"`
}

// OrderAPI is for tokens of the type ORDER_API.
type OrderAPI struct {
	Lifetime time.Duration `yaml:"lifetime"`
}

// B2BTokens is for pairs.
type B2BTokens struct {
	AccessLifetime  time.Duration `yaml:"access_lifetime"`
	RefreshLifetime time.Duration `yaml:"refresh_lifetime"`
	// How long after a refresh the old token is taken for a client that raced with itself, not for theft; and how long
	// an answer can be had again under the same Idempotency-Key. At most 60s.
	ReuseLeeway time.Duration `yaml:"reuse_leeway"`
	// How long after its login a session ends, however often it is refreshed. 0: never; 90d is a good choice.
	MaxSessionAge time.Duration `yaml:"max_session_age"`
	// What a stolen refresh token does: revoke_session, or refuse, which only refuses it.
	OnReuse auth.OnReuse `yaml:"on_reuse"`
}

// OAuthTokens is for tokens of the type OAUTH_ACCESS.
type OAuthTokens struct {
	Lifetime time.Duration `yaml:"lifetime"`
}

// SigningKeys is how keys rotate.
type SigningKeys struct {
	RotateEvery time.Duration `yaml:"rotate_every"`
	// How long a key stands in the key set before it signs, so that whoever caches the set knows it by then.
	PublishAhead time.Duration `yaml:"publish_ahead"`
}

// Revocation is how long a revocation may take.
type Revocation struct {
	// A server that has not heard from the database for so long answers 503, for it may have missed a revocation.
	MaxStaleness time.Duration `yaml:"max_staleness"`
	// How long a logout or a command waits at most until every server has applied it. Above max_staleness, no revocation
	// is ever answered before it holds everywhere: 6s and 5s do that.
	Wait time.Duration `yaml:"wait"`
}

// Cache is how much is kept in memory.
type Cache struct {
	// Credentials that were presented lately; about 1 KB each.
	Credentials int `yaml:"credentials"`
	// Tokens whose signature was checked lately. 0: none.
	Tokens int `yaml:"tokens"`
}

// Limits says how often somebody may come.
type Limits struct {
	// Attempts at the contracts' own addresses, by the caller's address (the /64 for IPv6).
	ExchangePerAddress Limit `yaml:"exchange_per_address"`
	// Exchanges of one credential, and what else a client of OAuth 2 asks for; charged only when its secret was right.
	ExchangePerCredential Limit `yaml:"exchange_per_credential"`
	// Wrong credentials, by the caller's address.
	FailuresPerAddress Limit `yaml:"failures_per_address"`
	// Wrong passwords, by the user name as it was presented.
	FailuresPerIdentifier Limit `yaml:"failures_per_identifier"`
	// Calls through routes, by account, unless `gatehouse account limit` set another for it.
	RequestsPerAccount Limit `yaml:"requests_per_account"`
}

// A Limit is a rate and how many may come at once. [Limit.AsRate] is both.
type Limit struct {
	Rate  auth.Rate `yaml:"rate"`
	Burst int64     `yaml:"burst"`
}

// AsRate is the limit as a limiter takes it, its burst included.
func (l Limit) AsRate() auth.Rate {
	if l.Rate.None() {
		return auth.Rate{}
	}
	r := l.Rate
	r.Burst = l.Burst
	return r
}

// Audit is the audit trail.
type Audit struct {
	Retention time.Duration `yaml:"retention"`
}

// Refusals are who was refused and why.
type Refusals struct {
	Retention time.Duration `yaml:"retention"`
}

// Backup is what is kept elsewhere.
type Backup struct {
	// How long after the last backup the next is made, as 24h; of several replicas one makes it. 0: none is made.
	Schedule time.Duration `yaml:"schedule"`
	// How many of them are kept. Older ones go once a new one was read back.
	Keep int `yaml:"keep"`
	// The folder, which should be on another disk, and is best one that all replicas share. Empty: backups in data_dir.
	Dir string `yaml:"dir"`
}

// A Webhook is an address that is told what happened.
type Webhook struct {
	// Where to: https://example.com/gatehouse. It is nothing inside the network unless allow_internal, and may send nobody on.
	URL string `yaml:"url"`
	// What it is told: credential.revoked, or credential.* for all of a sort. Empty: everything.
	Events []string `yaml:"events"`
	// What messages are signed with, by which the receiver knows them: whsec_ and 24 to 64 random bytes in base64.
	Secret Secret `yaml:"secret"`
	// The file that the secret is in, instead.
	SecretFile string `yaml:"secret_file"`
	// It lies inside the network: on this machine, in a private range. Then http:// will do too.
	AllowInternal bool `yaml:"allow_internal"`
}

// Dashboard is pages for operators and members.
type Dashboard struct {
	// Without it there is neither.
	Enabled bool `yaml:"enabled"`
	// Where operators reach theirs: cookies, links and passkeys belong to this host. Empty: http://localhost and the port of
	// admin_listen, or https:// with admin_tls. Members reach theirs at public_url.
	AdminURL string `yaml:"admin_url"`
	// How long somebody stays signed in without a click, from one minute to 30 days.
	SessionIdle time.Duration `yaml:"session_idle"`
	// How long somebody stays signed in at the longest, from ten minutes to a year. A shorter time holds for sessions from before, too.
	SessionLifetime SessionLifetime `yaml:"session_lifetime"`
	// Providers of OpenID Connect that persons can sign in through, beside passkeys and passwords: a list of sections. Each has a
	// redirect URI of its own, public_url or admin_url with /dashboard/openid/callback/NAME behind it. See docs/sign-in.md.
	OpenID []OpenIDProvider `yaml:"openid"`
}

// SessionLifetime is how long a session at a dashboard lives at the longest, by whose it is.
type SessionLifetime struct {
	Operators time.Duration `yaml:"operators"`
	Members   time.Duration `yaml:"members"`
}

// An OpenIDProvider is a provider of OpenID Connect. It says who somebody is: who may come in is known here, by invitation.
type OpenIDProvider struct {
	// Of small letters, digits and dashes. It is the end of the redirect URI.
	Name string `yaml:"name"`
	// What stands on the button. Empty: the name.
	Title string `yaml:"title"`
	// As the provider writes it, letter by letter: https://accounts.example.com. What else is to be known of it is asked there.
	Issuer string `yaml:"issuer"`
	// What the provider gave you when you registered this server. Without a secret, PKCE alone keeps others from using a code.
	ClientID     string `yaml:"client_id"`
	ClientSecret Secret `yaml:"client_secret"`
	// The file that the secret is in, instead.
	ClientSecretFile string `yaml:"client_secret_file"`
	// operators or members. A provider for both is two, with two redirect URIs.
	For ProviderFor `yaml:"for"`
	// What is asked for besides openid.
	Scopes []string `yaml:"scopes"`
	// Only addresses of these domains can be linked: example.com. Empty: any that the provider has verified.
	EmailDomains []string `yaml:"email_domains"`
}

// ProviderFor says whose dashboard a provider is of.
type ProviderFor string

// Whose it is.
const (
	ForOperators ProviderFor = "operators"
	ForMembers   ProviderFor = "members"
)

// Docs is pages for customers.
type Docs struct {
	Enabled bool `yaml:"enabled"`
	// What the pages are called. Empty: API access.
	Title string `yaml:"title"`
	// Whom customers ask: a sentence, with an address in it.
	Support string `yaml:"support"`
	// The deployments that customers may call, each as Name=https://api.example.com, at most eight: every snippet can be
	// switched between them. Empty: this one alone, at public_url.
	Environments []string `yaml:"environments"`
}

// An Environment is one of [Docs.Environments].
type Environment struct {
	Name string
	URL  string // without a slash at its end
}

// Choices are the environments, taken apart.
func (d Docs) Choices() []Environment {
	var all []Environment
	for _, e := range d.Environments {
		name, url, _ := strings.Cut(e, "=")
		all = append(all, Environment{strings.TrimSpace(name), strings.TrimSuffix(strings.TrimSpace(url), "/")})
	}
	return all
}

// Log is what the server tells.
type Log struct {
	// debug, info, warn or error.
	Level string `yaml:"level"`
	// json or text.
	Format string `yaml:"format"`
}

// A Route is an API behind the gateway, or a part of one.
type Route struct {
	// A prefix by whole segments: /api/orders matches /api/orders and /api/orders/7, never /api/orders-old. A slash at
	// its end changes nothing.
	Path string `yaml:"path"`
	// Only requests for this host name, in lower case and without a port. Empty: any.
	Host string `yaml:"host"`
	// Only these methods, each by its name: HEAD is not GET. Empty: any.
	Methods []string `yaml:"methods"`
	// The API: http://host:port, with a path that is put before the request's if you like; or a list of these, if it runs
	// on several servers that can each take every call. Empty: the route is for forward-auth only, and 404 at the gateway.
	Upstream URLs `yaml:"upstream"`
	// How upstreams with https:// are known for what they say they are.
	UpstreamTLS UpstreamTLS `yaml:"upstream_tls"`
	// How each upstream is asked whether it is well. One that fails twice in a row gets no calls, unless no other is left,
	// until it answers again.
	Health Health `yaml:"health"`
	// An upstream that fails so often in a row gets no calls for a while; then one, to see whether it is back.
	Breaker Breaker `yaml:"breaker"`
	// The types of tokens that open the route: ACCESS_TOKEN, ORDER_API, B2B_ACCESS, OAUTH_ACCESS.
	Accepts []verify.Type `yaml:"accepts"`
	// The scopes that a token needs, all of them.
	Scopes []string `yaml:"scopes"`
	// Only tokens that are bound to a key of the client's (DPoP), with a proof that is made for each call. Without it, such
	// tokens pass with their proof, and bearer tokens too.
	DPoP bool `yaml:"dpop"`
	// Open to everybody, without a token. Identity headers are removed all the same.
	Public bool `yaml:"public"`
	// Only watch the route until then: a day (to its end, UTC) or a time as 2027-01-31T18:00:00Z. What would be refused for
	// its token, address, scopes or limits is let through without identity headers, logged and counted. After that, or
	// empty: it is refused.
	ObserveUntil time.Time `yaml:"observe_until"`
	// In whose words the gateway's own errors are: liquid, b2b or oauth. Empty: of the contract of the first type in
	// `accepts`.
	Errors auth.Contract `yaml:"errors"`
	// upstream: the API's answers keep the Access-Control headers that it gave them, and get none of ours. Empty: they lose
	// them, and get those of the section `cors`.
	CORS string `yaml:"cors"`
	// How often each account may come here, besides limits.requests_per_account.
	Limits Limit `yaml:"limits"`
	// How long the API may take.
	Timeouts Timeouts `yaml:"timeouts"`
	// Take `path` off the front before the request goes on: /api/orders/7 arrives as /7.
	StripPrefix bool `yaml:"strip_prefix"`
	// Identity headers besides ours: the header's name, and what it holds: account, ref, credential, type or scope. What
	// a client sends under these names is removed.
	Headers map[string]Fact `yaml:"headers"`
	// What else the API gets, or does not get.
	RequestHeaders RequestHeaders `yaml:"request_headers"`
	// What the client gets, or does not get, beside or instead of what the API said.
	ResponseHeaders ResponseHeaders `yaml:"response_headers"`
}

// URLs are one URL, or a list of them.
type URLs []string

// UpstreamTLS is how upstreams with https:// are known.
type UpstreamTLS struct {
	// PEM: the certificates that one of these must be signed by, instead of those that the system trusts. It is read whenever
	// the configuration is.
	CAFile string `yaml:"ca_file"`
	// The name that their certificates are for, and that they are asked for. Empty: the host of each URL.
	ServerName string `yaml:"server_name"`

	CA string `yaml:"-"` // what CAFile holds
}

// RequestHeaders are headers of requests to an API.
type RequestHeaders struct {
	// Names and values, whatever the client sent under these names. The values are taken for secrets: Authorization, for
	// one, by which the API knows the gateway.
	Set map[string]Secret `yaml:"set"`
	// What the API does not get, however the client spells it.
	Remove []string `yaml:"remove"`
}

// ResponseHeaders are headers of an API's answers. Those of the gateway's own errors stay as they are.
type ResponseHeaders struct {
	Set    map[string]string `yaml:"set"`
	Remove []string          `yaml:"remove"`
}

// Health is how an upstream is asked whether it is well.
type Health struct {
	// A GET for this path on the upstream's host, which it is to answer with 2xx or 3xx: /healthz. Empty: it is not asked.
	Path     string        `yaml:"path"`
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
}

// Breaker is when an upstream gets no calls for a while.
type Breaker struct {
	// Calls in a row that it accepted no connection for, did not answer in time, or broke off. Its own errors are answers. 0:
	// it gets calls come what may.
	Failures int           `yaml:"failures"`
	OpenFor  time.Duration `yaml:"open_for"`
}

// CORSUpstream is what [Route.CORS] can be set to.
const CORSUpstream = "upstream"

// Timeouts is how long an API may take.
type Timeouts struct {
	// To accept a connection.
	Connect time.Duration `yaml:"connect"`
	// To begin its answer, once it has the request; past it, the answer is 504. 0: as long as it likes.
	Header time.Duration `yaml:"header"`
}

// A Fact is something about a caller that a header can hold.
type Fact string

// The facts.
const (
	FactAccount    Fact = "account"
	FactRef        Fact = "ref"
	FactCredential Fact = "credential"
	FactType       Fact = "type"
	FactScope      Fact = "scope"
)

const (
	day  = 24 * time.Hour
	year = 366 * day
)

// Default returns what holds where nothing is set. Unlike what [Load] returns, its issuer and audience are empty and its
// data_dir is relative.
func Default() *Config {
	return &Config{
		Listen:      "127.0.0.1:8000",
		AdminListen: "127.0.0.1:9000",
		PublicURL:   "http://127.0.0.1:8000",
		Realm:       "gatehouse",
		Environment: auth.Live,
		KeyPrefix:   "gk",
		DataDir:     "./gatehouse-data",

		MaxConnections:           20_000,
		MaxConnectionsPerAddress: 1000,

		TLS:         TLS{ClientCertificates: CertificateRequired},
		AdminTLS:    AdminTLS{ClientCertificates: CertificateRequired},
		MinBodyRate: 240,
		DatabasePool: DatabasePool{
			MaxConnections:   20,
			StatementTimeout: 2 * time.Second,
		},
		Contracts: Contracts{
			Liquid: LiquidContract{
				Enabled:    true,
				Header:     "X-LIQUID-API-KEY",
				APIVersion: "1.7.0",
				Languages:  []string{"en"},
			},
			Orders: Contract{Enabled: true},
			B2B:    Contract{Enabled: true},
			OAuth:  Contract{Enabled: true},
		},
		Tokens: Tokens{
			Algorithm:   verify.EdDSA,
			AccessToken: AccessToken{Lifetime: day, MaxRenewal: 30 * day},
			OrderAPI:    OrderAPI{Lifetime: 10 * time.Minute},
			B2B: B2BTokens{
				AccessLifetime:  time.Hour,
				RefreshLifetime: 7 * day,
				ReuseLeeway:     10 * time.Second,
				OnReuse:         auth.RevokeSession,
			},
			OAuth: OAuthTokens{Lifetime: time.Hour},
		},
		SigningKeys: SigningKeys{RotateEvery: 30 * day, PublishAhead: day},
		Revocation:  Revocation{MaxStaleness: time.Minute, Wait: 2 * time.Second},
		Cache:       Cache{Credentials: 100_000, Tokens: 100_000},
		Limits: Limits{
			ExchangePerAddress:    Limit{auth.Rate{Count: 600, Per: time.Minute}, 100},
			ExchangePerCredential: Limit{auth.Rate{Count: 600, Per: time.Minute}, 100},
			FailuresPerAddress:    Limit{auth.Rate{Count: 60, Per: time.Minute}, 30},
			FailuresPerIdentifier: Limit{auth.Rate{Count: 100, Per: time.Hour}, 20},
		},
		Audit:         Audit{Retention: 365 * day},
		Backup:        Backup{Keep: 7},
		WebhookNotice: 7 * day,
		Refusals:      Refusals{Retention: 7 * day},
		Dashboard:     Dashboard{Enabled: true, SessionIdle: 12 * time.Hour, SessionLifetime: SessionLifetime{Operators: 12 * time.Hour, Members: 7 * day}},
		Docs:          Docs{Enabled: true},
		Log:           Log{Level: "info", Format: "json"},
		ShutdownGrace: 10 * time.Second,
	}
}

// defaultRoute is what a route is where the file says nothing.
func defaultRoute() Route {
	return Route{
		Health:   Health{Interval: 10 * time.Second, Timeout: 2 * time.Second},
		Breaker:  Breaker{Failures: 5, OpenFor: 10 * time.Second},
		Timeouts: Timeouts{Connect: 5 * time.Second, Header: 30 * time.Second},
	}
}
