package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

func providerKey(i int) string { return fmt.Sprintf("dashboard.openid[%d]", i) }

// defaultProvider is what a provider has that says nothing of it.
func defaultProvider() OpenIDProvider { return OpenIDProvider{Scopes: []string{"email"}} }

func (l *loader) checkProviders() {
	for i, p := range l.c.Dashboard.OpenID {
		key := providerKey(i)
		if l.wrong[key] { // not a provider at all
			continue
		}
		l.checkProvider(key, p)
		for j, other := range l.c.Dashboard.OpenID[:i] {
			if p.Name == other.Name && p.For == other.For {
				l.problem(key+".name", "%s is the name of %s too: people could not tell them apart", quote(p.Name), providerKey(j))
			}
		}
	}
}

func (l *loader) checkProvider(key string, p OpenIDProvider) {
	if p.Name == "" || len(p.Name) > 40 || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		l.problem(key+".name", "%s must be 1 to 40 small letters, digits and dashes, as company: it is part of an address", quote(p.Name))
	}
	if err := checkIssuer(p.Issuer); err != nil {
		l.problem(key+".issuer", "%s %w", shownURL(p.Issuer), err)
	}
	if p.ClientID == "" {
		l.problem(key+".client_id", "is missing: the provider gives you one where you register this server")
	}
	oneOf(l, key+".for", p.For, ForOperators, ForMembers)
	for j, s := range p.Scopes {
		if s == "" || !printable(s, false) {
			l.problem(fmt.Sprintf("%s.scopes[%d]", key, j), "%s is no scope: write email", quote(s))
		}
	}
	for j, d := range p.EmailDomains {
		if !publicName(d) {
			l.problem(fmt.Sprintf("%s.email_domains[%d]", key, j), "%s is no domain: write what stands behind the @, in small letters, as example.com", quote(d))
		}
	}
	if len(p.EmailDomains) > 0 && !slices.Contains(p.Scopes, "email") {
		l.problem(key+".scopes", "without email the provider does not tell the address that email_domains are about")
	}
}

// checkIssuer looks at the name of a provider, which is where it is asked too: over TLS, or on this machine.
func checkIssuer(s string) error {
	if s == "" {
		return fmt.Errorf("is missing: write it as the provider does, https://accounts.example.com")
	}
	if err := checkURL(s, true); err != nil { // some end with a slash, which is part of the name
		return err
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("is not a URL: write https://accounts.example.com")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("would be asked in clear text: write https://")
}
