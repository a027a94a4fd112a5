package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (l *loader) checkCORS() {
	c := l.c.CORS
	for i, s := range c.AllowedOrigins {
		at := fmt.Sprintf("cors.allowed_origins[%d]", i)
		if err := checkOrigin(s); err != nil {
			l.problem(at, "%s %w", quote(s), err)
		} else if slices.Contains(c.AllowedOrigins[:i], s) {
			l.problem(at, "%s is there twice", s)
		}
	}
	if len(c.AllowedHeaders) > 0 && len(c.AllowedOrigins) == 0 {
		l.problem("cors.allowed_headers", "is of no use without cors.allowed_origins")
	}
	identity := make(map[string]bool)
	for _, r := range l.c.Routes {
		for name := range r.Headers {
			identity[plainHeader(name)] = true
		}
	}
	seen := make(map[string]bool)
	for i, s := range c.AllowedHeaders {
		at, name := fmt.Sprintf("cors.allowed_headers[%d]", i), plainHeader(s)
		switch {
		case s == "*":
			l.problem(at, "* is every header: name those that your API reads, as X-Customer")
		case !isToken(s):
			l.problem(at, "%s is not the name of a header: write X-Customer", quote(s))
		case name == "cookie":
			l.problem(at, "%s is never sent across origins here, for answers do not allow credentials: leave it out", s)
		case strings.HasPrefix(name, "x-auth-") || identity[name]:
			l.problem(at, "%s says who is calling, which is for the gateway to say: leave it out", s)
		case neverAPages(name):
			l.problem(at, "%s is not for a page to send: leave it out", s)
		case seen[name]:
			l.problem(at, "%s is there twice", s)
		}
		seen[name] = true
	}
}

// checkOrigin wants an origin letter by letter as browsers send it (RFC 6454, section 6.2), for so it is compared.
func checkOrigin(s string) error {
	switch {
	case strings.Contains(s, "*"):
		return errors.New("is a pattern: name each origin, as https://app.example.com")
	case s == "null":
		return errors.New("is what files and sandboxed frames send, whoever made them: name an origin, as https://app.example.com")
	case !strings.Contains(s, "://"):
		if host, err := browsersSpelling("https://" + s); err == nil {
			return fmt.Errorf("has no scheme: write %s, or http://", host)
		}
	}
	spelled, err := browsersSpelling(s)
	if err != nil {
		return err
	}
	if s != spelled {
		return fmt.Errorf("is not how browsers spell it: write %s", spelled)
	}
	return nil
}

var errNoOrigin = errors.New("is not an origin: write https://app.example.com")

// browsersSpelling returns the origin of a URL as browsers spell it: scheme and host in lower case, the port unless it is
// the scheme's own, and nothing else.
func browsersSpelling(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errNoOrigin
	}
	host := strings.ToLower(u.Hostname())
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) {
		return "", errors.New("has letters that browsers send in another form: write the host's name as DNS has it, with xn--")
	}
	if address, err := netip.ParseAddr(host); err == nil && address.Is6() {
		host = "[" + address.WithZone("").String() + "]"
	} else if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", errNoOrigin
	}
	spelled := u.Scheme + "://" + host
	if u.Port() == "" {
		return spelled, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return "", errors.New("has no port from 1 to 65535")
	}
	if u.Scheme == "https" && port == 443 || u.Scheme == "http" && port == 80 {
		return spelled, nil
	}
	return spelled + ":" + strconv.FormatUint(port, 10), nil
}

// neverAPages says whether a header is one that browsers let no script set, or one of those that say where a request comes
// from or what it is, which go no further than the gateway.
func neverAPages(name string) bool {
	for _, prefix := range []string{"access-control-", "proxy-", "sec-", "x-forwarded-", "x-original-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"accept-charset", "accept-encoding", "connection", "content-length", "date", "dnt", "expect", "forwarded", "host",
		"keep-alive", "origin", "referer", "set-cookie", "te", "trailer", "transfer-encoding", "true-client-ip", "upgrade", "via",
		"x-http-method-override", "x-real-ip",
	}, name)
}
