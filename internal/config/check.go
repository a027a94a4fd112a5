package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// check looks at everything that a value's own spelling does not show.
func (l *loader) check() {
	l.checkAddresses()
	l.checkNames()
	l.checkContracts()
	l.checkCORS()
	l.checkDocs()
	l.checkTokens()
	l.checkTimes()
	l.checkLimits()
	l.checkProviders()
	l.checkWebhooks()
	l.checkRoutes()
}

// mostEnvironments is how many a snippet can be switched between.
const mostEnvironments = 8

func (l *loader) checkDocs() {
	seen := map[string]bool{}
	for i, e := range l.c.Docs.Choices() {
		at := fmt.Sprintf("docs.environments[%d]", i)
		switch {
		case i >= mostEnvironments:
			l.problem(at, "is one more than the %d that a snippet can be switched between", mostEnvironments)
		case e.Name == "" || e.URL == "":
			l.problem(at, "is not a name and a URL: write Production=https://api.example.com")
		case seen[e.Name]:
			l.problem(at, "%s is there twice", quote(e.Name))
		default:
			if err := checkURL(e.URL, false); err != nil {
				l.problem(at, "%s %w", shownURL(e.URL), err)
			}
		}
		seen[e.Name] = true
	}
}

func (l *loader) checkAddresses() {
	c := l.c
	for key, addr := range map[string]string{"listen": c.Listen, "admin_listen": c.AdminListen} {
		if err := checkListen(addr); err != nil {
			l.problem(key, "%s %w", quote(addr), err)
		}
	}
	if c.Listen == c.AdminListen && !strings.HasSuffix(c.Listen, ":0") {
		l.problem("admin_listen", "%s is listen too: take another port, and keep it away from the internet", quote(c.AdminListen))
	}
	if err := checkURL(c.PublicURL, false); err != nil {
		l.problem("public_url", "%s %w", shownURL(c.PublicURL), err)
	}
	if err := checkURL(c.Dashboard.AdminURL, false); err != nil && c.Dashboard.AdminURL != "" { // else admin_listen is no address, which is told there
		l.problem("dashboard.admin_url", "%s %w", shownURL(c.Dashboard.AdminURL), err)
	}
	for i, entry := range c.TrustedProxies {
		if entry == "private" {
			continue
		}
		if _, err := auth.ParsePrefix(entry); err != nil {
			l.problem(fmt.Sprintf("trusted_proxies[%d]", i), "%w; or write private for all private ranges", err)
		}
	}
	if c.ProxyProtocol && len(c.TrustedProxies) == 0 {
		l.problem("proxy_protocol", "nobody may send its header: name the proxy in trusted_proxies")
	}
	if c.RequireHTTPS && !c.TLS.On() && len(c.TrustedProxies) == 0 {
		l.problem("require_https", "every request would be refused: set tls.cert_file and tls.key_file, or tls.acme.hosts, or name the proxy with TLS in trusted_proxies")
	}
	l.checkTLS("tls", AdminTLS{c.TLS.CertFile, c.TLS.KeyFile, c.TLS.ClientCAFile, c.TLS.ClientCertificates}, c.TLS.On())
	l.checkTLS("admin_tls", c.AdminTLS, c.AdminTLS.CertFile != "")
	l.checkACME()
	l.count("min_body_rate", int64(c.MinBodyRate), 0, 1_000_000_000)
	l.count("max_connections", int64(c.MaxConnections), 0, 1_000_000)
	l.count("max_connections_per_address", int64(c.MaxConnectionsPerAddress), 0, 1_000_000)
}

// checkTLS looks at the files of one listener, which speaks TLS or not.
func (l *loader) checkTLS(key string, t AdminTLS, on bool) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		l.problem(key, "set both, cert_file and key_file")
	}
	if t.ClientCAFile != "" && !on {
		l.problem(key+".client_ca_file", "certificates are shown over TLS, and there is none: set %s.cert_file and %s.key_file", key, key)
	}
	oneOf(l, key+".client_certificates", t.ClientCertificates, CertificateRequired, CertificateOptional)
	if t.ClientCertificates == CertificateOptional && t.ClientCAFile == "" {
		l.problem(key+".client_certificates", "nobody is asked for one: set %s.client_ca_file", key)
	}
}

func (l *loader) checkACME() {
	t, a := l.c.TLS, l.c.TLS.ACME
	if len(a.Hosts) == 0 {
		if a.Email != "" || a.Directory != "" || a.CAFile != "" {
			l.problem("tls.acme.hosts", "names nobody that there should be a certificate for: write the host of public_url")
		}
		return
	}
	if t.CertFile != "" || t.KeyFile != "" {
		l.problem("tls.acme", "certificates come from files already: leave out tls.cert_file and tls.key_file, or tls.acme")
	}
	for i, host := range a.Hosts {
		key := fmt.Sprintf("tls.acme.hosts[%d]", i)
		switch {
		case !publicName(host):
			l.problem(key, "%s is no name of a host: write it in small letters, as auth.example.com, without a port or a pattern", quote(host))
		case slices.Contains(a.Hosts[:i], host):
			l.problem(key, "%s is there twice", quote(host))
		}
	}
	if a.Directory != "" {
		if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
			l.problem("tls.acme.directory", "%s is no https:// URL", quote(a.Directory))
		}
	}
	if !strings.HasPrefix(l.c.PublicURL, "https://") {
		l.problem("public_url", "%s is not how customers reach a server with certificates: write https://%s", quote(l.c.PublicURL), a.Hosts[0])
	}
}

// publicName says whether a certificate can be had for a name: two labels or more, in small letters, and no address.
func publicName(s string) bool {
	if net.ParseIP(s) != nil || !strings.Contains(s, ".") || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("is not an address: write 127.0.0.1:8000, [::1]:8000 or :8000")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return errors.New("has no port from 0 to 65535: write 127.0.0.1:8000")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/"\@?#`, r) }) {
		return errors.New("has no host that can be: write 127.0.0.1:8000")
	}
	return nil
}

// checkURL looks at the URL of a server.
func checkURL(s string, withPath bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || !printable(s, false):
		return errors.New("is not a URL: write https://api.example.com")
	case !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://"):
		return errors.New("does not begin with http:// or https://: write https://api.example.com")
	case u.Hostname() == "":
		return errors.New("has no host: write https://api.example.com")
	case u.User != nil:
		return errors.New("has credentials in it, which everybody would see: leave them out")
	case strings.ContainsAny(s, "?#"):
		return errors.New("has a query or a fragment: leave it out")
	case !withPath && u.Path != "":
		return fmt.Errorf("has a path: write %s://%s", u.Scheme, u.Host)
	case withPath && u.Path != "" && checkPath(u.EscapedPath()) != nil:
		return fmt.Errorf("has a path with %w", checkPath(u.EscapedPath()))
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("has no port from 1 to 65535")
		}
	}
	return nil
}

// shownURL is how a message names a URL that is wrong.
func shownURL(s string) string {
	if strings.Contains(s, "@") { // a password may be in it
		return "the URL"
	}
	return quote(s)
}

// printable says whether s has only printable ASCII, and neither '"' nor '\', which would have to be escaped in a header.
func printable(s string, spaces bool) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == ' ' && !spaces || r > '~' || r == '"' || r == '\\'
	})
}

func (l *loader) checkNames() {
	c := l.c
	for key, s := range map[string]string{"issuer": c.Issuer, "audience": c.Audience} {
		if !printable(s, false) && c.origin(key) != (origin{}) { // filled in from public_url it is told there
			l.problem(key, `%s must be printable ASCII without spaces, " and \`, quote(s))
		}
	}
	for i, s := range c.AcceptIssuers {
		if s == "" || !printable(s, false) {
			l.problem(fmt.Sprintf("accept_issuers[%d]", i), `%s must be printable ASCII without spaces, " and \`, quote(s))
		}
	}
	if c.Realm == "" || !printable(c.Realm, true) {
		l.problem("realm", `%s must be printable ASCII without " and \, and not empty`, quote(c.Realm))
	}
	oneOf(l, "environment", c.Environment, auth.Live, auth.Test)
	if c.KeyPrefix == "" || len(c.KeyPrefix) > 16 || strings.Trim(c.KeyPrefix, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		l.problem("key_prefix", "%s must be 1 to 16 lower-case letters and digits, as gk", quote(c.KeyPrefix))
	}
	if c.DataDir == "" {
		l.problem("data_dir", "is empty: name a folder, as ./gatehouse-data")
	}
	oneOf(l, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(l, "log.format", c.Log.Format, "json", "text")
}

// oneOf wants got to be one of the known values.
func oneOf[T ~string](l *loader, key string, got T, known ...T) {
	if slices.Contains(known, got) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	last := len(words) - 1
	l.problem(key, "%s is unknown: write %s or %s", quote(string(got)), strings.Join(words[:last], ", "), words[last])
}

func (l *loader) checkContracts() {
	c := l.c.Contracts.Liquid
	if !isToken(c.Header) {
		l.problem("contracts.liquid.header", "%s is not the name of a header: write X-LIQUID-API-KEY", quote(c.Header))
	} else if takenHeader(c.Header) {
		l.problem("contracts.liquid.header", "%s has a meaning of its own: take a name that nobody else uses, as X-LIQUID-API-KEY", quote(c.Header))
	}
	if c.APIVersion == "" || len(c.APIVersion) > 64 {
		l.problem("contracts.liquid.api_version", "%s must have 1 to 64 letters, as 1.7.0", quote(c.APIVersion))
	}
	for i, s := range c.Languages {
		if !language(s) {
			l.problem(fmt.Sprintf("contracts.liquid.languages[%d]", i), "%s is not a language tag: write en or pt-BR", quote(s))
		}
	}
}

// isToken says whether s can be the name of a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

func language(s string) bool {
	return s != "" && len(s) <= 35 && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r > 'z' || !auth.Alphanumeric(string(r)))
	})
}

// takenHeader says whether a header has a meaning in HTTP or for the gateway, so that it can be neither the key header nor
// an identity header. An underscore counts as a dash, as many servers have it.
func takenHeader(name string) bool {
	name = plainHeader(name)
	for _, prefix := range []string{
		"accept", "access-control-", "content-", "if-", "proxy-", "ratelimit", "sec-", "x-auth-", "x-forwarded-", "x-original-",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"age", "allow", "authorization", "cache-control", "connection", "cookie", "date", "dpop", "expect", "forwarded", "from", "host",
		"idempotency-key", "keep-alive", "location", "max-forwards", "origin", "pragma", "range", "referer", "retry-after",
		"server", "set-cookie", "te", "trailer", "transfer-encoding", "true-client-ip", "upgrade", "user-agent", "vary", "via",
		"www-authenticate", "x-http-method-override", "x-real-ip", "x-request-id",
	}, name)
}

func plainHeader(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func (l *loader) checkTokens() {
	t := l.c.Tokens
	oneOf(l, "tokens.algorithm", t.Algorithm, verify.EdDSA, verify.ES256, verify.RS256, verify.HS256)
	oneOf(l, "tokens.b2b.on_reuse", t.B2B.OnReuse, auth.RevokeSession, auth.RefuseOnly)
	l.between("tokens.access_token.lifetime", t.AccessToken.Lifetime, time.Second, year)
	l.between("tokens.access_token.max_renewal", t.AccessToken.MaxRenewal, 0, 10*year)
	l.between("tokens.order_api.lifetime", t.OrderAPI.Lifetime, time.Second, year)
	l.between("tokens.b2b.access_lifetime", t.B2B.AccessLifetime, time.Second, year)
	l.between("tokens.b2b.refresh_lifetime", t.B2B.RefreshLifetime, time.Second, 10*year)
	l.between("tokens.b2b.reuse_leeway", t.B2B.ReuseLeeway, 0, time.Minute)
	l.between("tokens.b2b.max_session_age", t.B2B.MaxSessionAge, 0, 100*year)
	l.between("tokens.oauth.lifetime", t.OAuth.Lifetime, time.Second, year)
	for key, d := range map[string]time.Duration{
		"tokens.access_token.lifetime": t.AccessToken.Lifetime, "tokens.order_api.lifetime": t.OrderAPI.Lifetime,
		"tokens.b2b.access_lifetime": t.B2B.AccessLifetime, "tokens.b2b.refresh_lifetime": t.B2B.RefreshLifetime,
		"tokens.oauth.lifetime": t.OAuth.Lifetime,
	} {
		if d%time.Second != 0 {
			l.problem(key, "%s is not a whole number of seconds, and the time in a token is: write %s", FormatDuration(d), FormatDuration(d.Truncate(time.Second)))
		}
	}
	if t.B2B.RefreshLifetime < t.B2B.AccessLifetime {
		l.problem("tokens.b2b.refresh_lifetime", "%s is shorter than access_lifetime, %s: a pair could not be refreshed when it must be",
			FormatDuration(t.B2B.RefreshLifetime), FormatDuration(t.B2B.AccessLifetime))
	}
	s := l.c.SigningKeys
	l.between("signing_keys.rotate_every", s.RotateEvery, time.Hour, 10*year)
	l.between("signing_keys.publish_ahead", s.PublishAhead, time.Minute, year)
	if s.PublishAhead >= s.RotateEvery {
		l.problem("signing_keys.publish_ahead", "%s is not shorter than rotate_every, %s", FormatDuration(s.PublishAhead), FormatDuration(s.RotateEvery))
	}
}

// between wants a duration within bounds.
func (l *loader) between(key string, d, least, most time.Duration) {
	if d < least || d > most {
		l.problem(key, "%s is out of bounds: write %s to %s", FormatDuration(d), FormatDuration(least), FormatDuration(most))
	}
}

func (l *loader) checkTimes() {
	c := l.c
	l.between("revocation.max_staleness", c.Revocation.MaxStaleness, 2*time.Second, time.Hour)
	l.between("revocation.wait", c.Revocation.Wait, 0, time.Minute)
	l.between("audit.retention", c.Audit.Retention, time.Hour, 100*year)
	l.between("refusals.retention", c.Refusals.Retention, time.Hour, 10*year)
	l.between("dashboard.session_idle", c.Dashboard.SessionIdle, time.Minute, 30*day)
	l.between("dashboard.session_lifetime.operators", c.Dashboard.SessionLifetime.Operators, 10*time.Minute, year)
	l.between("dashboard.session_lifetime.members", c.Dashboard.SessionLifetime.Members, 10*time.Minute, year)
	l.between("webhook_notice", c.WebhookNotice, time.Hour, year)
	if c.Backup.Schedule != 0 {
		l.between("backup.schedule", c.Backup.Schedule, time.Minute, year)
	}
	l.count("backup.keep", int64(c.Backup.Keep), 1, 10_000)
	l.between("shutdown_grace", c.ShutdownGrace, 0, 10*time.Minute)
	l.count("cache.credentials", int64(c.Cache.Credentials), 1, 10_000_000)
	l.count("cache.tokens", int64(c.Cache.Tokens), 0, 10_000_000)
}

// count wants a number within bounds.
func (l *loader) count(key string, n, least, most int64) {
	if n < least || n > most {
		l.problem(key, "%d is out of bounds: write %d to %d", n, least, most)
	}
}

// mostBurst is the largest burst, as that of the number in a rate.
const mostBurst = 1_000_000_000

func (l *loader) checkLimits() {
	for key, limit := range map[string]Limit{
		"limits.exchange_per_address":    l.c.Limits.ExchangePerAddress,
		"limits.exchange_per_credential": l.c.Limits.ExchangePerCredential,
		"limits.failures_per_address":    l.c.Limits.FailuresPerAddress,
		"limits.failures_per_identifier": l.c.Limits.FailuresPerIdentifier,
		"limits.requests_per_account":    l.c.Limits.RequestsPerAccount,
	} {
		l.checkLimit(key, limit)
	}
}

func (l *loader) checkLimit(key string, limit Limit) {
	l.count(key+".burst", limit.Burst, 0, mostBurst)
	r := limit.AsRate()
	if r.None() {
		return
	}
	if full := float64(r.Per) * float64(r.Capacity()) / float64(r.Count); full > float64(year) {
		l.problem(key+".burst", "%d at %s take %.0f years to come back: write a smaller burst", limit.Burst, r, math.Ceil(full/float64(year)))
	}
}
