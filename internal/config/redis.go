package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Redis is where limits are shared, as the key redis spells it:
//
//	redis://user:password@host:6379/0
//	rediss://:password@a:6379,b:6379,c:6379?ca_file=redis-ca.pem
//
// rediss is TLS. Several addresses are members of one cluster; with cluster=true a single one is too. With TLS there are ca_file,
// the authorities that its certificate is signed by instead of the system's, and cert_file and key_file, our own certificate.
type Redis struct {
	Addresses []string // host:port
	Cluster   bool
	Database  int
	User      string // "" is the default one
	Password  Secret
	TLS       *tls.Config // nil: clear text
	caFile    string
	certFile  string
	keyFile   string
}

const redisPort = "6379"

// ParseRedis reads the URL of a Redis and no file that it names. Its errors do not repeat s.
func ParseRedis(s string) (*Redis, error) {
	r := &Redis{}
	scheme, rest, _ := strings.Cut(s, "://")
	switch scheme {
	case "redis":
	case "rediss":
		r.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return nil, errors.New("is not a URL of Redis: write redis://host:6379, or rediss:// for TLS")
	}
	if strings.Contains(rest, "#") {
		return nil, errors.New("has a # in it: write %23 where the password has one")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(rest, " \t") {
		return nil, errors.New("has a space in it: leave it out, or write %20 where the password has one")
	}
	at := strings.LastIndexByte(authority, '@')
	if err := r.setUser(authority[:max(at, 0)]); err != nil {
		return nil, err
	}
	for address := range strings.SplitSeq(authority[at+1:], ",") {
		address, err := redisAddress(address)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Addresses, address) {
			return nil, errors.New("names one address twice: leave out one of them")
		}
		r.Addresses = append(r.Addresses, address)
	}
	r.Cluster = len(r.Addresses) > 1
	if err := r.setParameters(query); err != nil {
		return nil, err
	}
	if path != "" {
		n, err := strconv.Atoi(path)
		if err != nil || n < 0 || strconv.Itoa(n) != path {
			return nil, errors.New("has a path that is not the number of a database: write redis://host:6379/0; where the password has a slash, write %2F")
		}
		r.Database = n
	}
	if r.Cluster && r.Database != 0 {
		return nil, fmt.Errorf("names database %d, and a cluster has number 0 alone", r.Database)
	}
	return r, nil
}

func (r *Redis) setUser(info string) error {
	user, password, _ := strings.Cut(info, ":")
	var errs [2]error
	r.User, errs[0] = url.PathUnescape(user)
	password, errs[1] = url.PathUnescape(password)
	if errors.Join(errs[:]...) != nil {
		return errors.New("has a user or password with a % that nothing follows: write %25 for a percent sign")
	}
	r.Password = NewSecret(password)
	if r.User != "" && password == "" {
		return errors.New("has a user without a password: write redis://user:password@host, or redis://:password@host where there is no user")
	}
	return nil
}

// redisAddress completes host, or host:port.
func redisAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port, err = net.SplitHostPort(s + ":" + redisPort)
	}
	n, bad := strconv.ParseUint(port, 10, 16)
	if strings.Contains(host, ":") {
		_, err = netip.ParseAddr(host)
	}
	if err != nil || bad != nil || n == 0 || host == "" || strings.ContainsAny(host, "[]%@/") {
		return "", errors.New("has an address that is not host:port: write redis://host:6379, or redis://a:6379,b:6379,c:6379 for the members of a cluster")
	}
	return net.JoinHostPort(host, port), nil
}

func (r *Redis) setParameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("has parameters that cannot be read: write ?ca_file=redis-ca.pem")
	}
	for name, all := range values {
		value := all[len(all)-1]
		switch name {
		case "cluster":
			if value != "true" {
				return errors.New("cluster can be true, or be left out")
			}
			r.Cluster = true
		case "ca_file":
			r.caFile = value
		case "cert_file":
			r.certFile = value
		case "key_file":
			r.keyFile = value
		default:
			return errors.New("has a parameter that is none of cluster, ca_file, cert_file and key_file; where the password has a ?, write %3F")
		}
		if len(all) > 1 || value == "" {
			return fmt.Errorf("wants %s once, and with a value", name)
		}
	}
	files := r.caFile != "" || r.certFile != "" || r.keyFile != ""
	switch {
	case files && r.TLS == nil:
		return errors.New("names certificates and is in clear text: write rediss:// for TLS")
	case (r.certFile == "") != (r.keyFile == ""):
		return errors.New("wants cert_file and key_file together")
	}
	return nil
}

// Exposed are the addresses to which passwords and answers go in clear text over a network.
func (r *Redis) Exposed() []string {
	if r.TLS != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Addresses), func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		addr, err := netip.ParseAddr(host)
		return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
	})
}

// readRedis reads the key redis and the files that it names.
func (l *loader) readRedis() {
	const key = "redis"
	if !l.c.Redis.Set() {
		return
	}
	r, err := ParseRedis(l.c.Redis.Reveal())
	if err != nil {
		l.problem(key, "%w", err)
		return
	}
	if r.caFile != "" {
		path := l.path(key, r.caFile)
		data, err := readSome(path, mostFile)
		if err != nil {
			l.problem(key, "cannot read the certificates: %w", err)
			return
		}
		r.TLS.RootCAs = x509.NewCertPool()
		if !r.TLS.RootCAs.AppendCertsFromPEM(data) {
			l.problem(key, "%s holds no certificate: write it as PEM, between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----", path)
			return
		}
	}
	if r.certFile != "" {
		certificate, err := tls.LoadX509KeyPair(l.path(key, r.certFile), l.path(key, r.keyFile))
		if err != nil {
			l.problem(key, "cannot read our certificate and its key: %w", err)
			return
		}
		r.TLS.Certificates = []tls.Certificate{certificate}
	}
	l.c.SharedLimits = r
}
