package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/desk"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/server"
	"github.com/gatehouse/gatehouse/verify"
)

// directory looks at the data directory and the files in it. It says whether there is one to open.
func (e *examination) directory(c *config.Config) bool {
	info, err := os.Stat(c.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		e.note(wrong, "data", "gatehouse serve or gatehouse migrate up makes one; if the data lies elsewhere, set data_dir", "there is no data directory %s", c.DataDir)
		return false
	}
	if err != nil || !info.IsDir() {
		e.note(wrong, "data", "set data_dir to a folder that this user can read", "%s: %v", c.DataDir, or(fmt.Sprint(err), "is no folder"))
		return false
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		e.note(wrong, "data", fmt.Sprintf("run this as that user: sudo -u '#%d' gatehouse doctor", stat.Uid),
			"%s belongs to user %d, and this runs as user %d", c.DataDir, stat.Uid, os.Geteuid())
		return false
	}
	fine := true
	for _, f := range []struct{ path, grade, mode string }{
		{c.DataDir, doubtful, "700"},
		{server.DatabasePath(c.DataDir), wrong, "600"},
		{server.MasterKeyPath(c.DataDir), wrong, "600"},
	} {
		info, err := os.Stat(f.path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			e.note(f.grade, "data", "chmod "+f.mode+" "+f.path, "others can get at %s (mode %#o)", f.path, info.Mode().Perm())
			fine = false
		}
	}
	if fine {
		e.well("data", "%s, for its owner alone", c.DataDir)
	}
	return true
}

// database opens the database with its keys, and looks through it.
func (e *examination) database(c *config.Config) {
	path := server.DatabaseName(c)
	have, want, err := server.Schema(e.sh.ctx, c)
	switch {
	case err != nil:
		e.note(wrong, "database", "", "%s", message(err))
		return
	case have < want:
		e.note(wrong, "schema", "gatehouse migrate up, or start gatehouse serve, which does it too", "version %d, this program wants %d", have, want)
		return
	}
	if have > want {
		e.well("schema", "version %d, of a later program; this one, of version %d, can work with it", have, want)
	} else {
		e.well("schema", "version %d, as this program wants", have)
	}
	op, err := server.Open(e.sh.ctx, c, server.OpenOptions{})
	if err != nil {
		e.note(wrong, "master key", "", "%s", message(err))
		return
	}
	defer op.Close()
	err = op.DB.Check(e.sh.ctx)
	is, but, unsaid := op.DB.Durability(e.sh.ctx)
	switch {
	case err != nil:
		e.note(wrong, "database", "stop the server, keep the file, and put a backup in its place", "%s: %s", path, message(err))
	case !c.Database.Set():
		e.well("database", "%s, every page and index is sound", path)
	case unsaid != nil:
		e.note(wrong, "database", "", "%s: %s", path, message(unsaid))
	case but != "":
		e.note(wrong, "database", "set it back, in postgresql.conf or by ALTER ROLE", "%s: %s", path, but)
	default:
		e.well("database", "%s; %s", path, is)
	}
	if c.Database.Set() {
		e.replicas(op)
	}
	e.masterKey(c, op)
	e.keys(c, op)
	e.clock(op)
}

func (e *examination) masterKey(c *config.Config, op *server.Opened) {
	if op.Meta.MasterKey != op.Masters.Current.ID {
		e.note(doubtful, "master key", "gatehouse master-key rotate, with both keys at hand",
			"everything is sealed under %s still, and %s is current", op.Meta.MasterKey, op.Masters.Current.ID)
		return
	}
	where := "given by the configuration"
	if !c.MasterKey.Set() {
		where = "in " + server.MasterKeyPath(c.DataDir) + ": keep a copy elsewhere"
	}
	e.well("master key", "%s fits, %s", op.Meta.MasterKey, where)
}

// keys looks at the working keys.
func (e *examination) keys(c *config.Config, op *server.Opened) {
	now := op.DB.Now()
	rows, err := op.Registry.SigningKeys(e.sh.ctx, actor())
	if err != nil {
		e.note(wrong, "keys", "", "%s", message(err))
		return
	}
	states := desk.KeyStates(rows, now)
	for i, k := range rows {
		if states[i] != "signing" {
			continue
		}
		name := map[auth.Ring]string{auth.SigningRing: "access tokens", auth.RefreshRing: "refresh tokens"}[k.Ring]
		switch late := now.Sub(k.ActiveAt) - c.SigningKeys.RotateEvery; {
		case k.Ring == auth.SigningRing && k.Algorithm != string(c.Tokens.Algorithm):
			e.note(doubtful, "keys", "nothing, if you changed tokens.algorithm lately: a running server changes over by itself",
				"%s are signed with %s, and tokens.algorithm is %s", name, k.Algorithm, c.Tokens.Algorithm)
		case late > c.SigningKeys.PublishAhead:
			e.note(doubtful, "keys", "start the server, which rotates them by itself", "key %s has signed %s since %s, longer than signing_keys.rotate_every",
				k.ID, name, stamp(k.ActiveAt))
		default:
			e.well("keys", "%s signs %s (%s) since %s", k.ID, name, k.Algorithm, stamp(k.ActiveAt))
		}
	}
}

// clock compares the machine's clock with the latest time in the database, which it has shown already.
func (e *examination) clock(op *server.Opened) {
	if offset := op.DB.ClockOffset(); offset.Abs() > time.Second {
		e.note(doubtful, "clock", "set both clocks, with NTP; tokens are told by the database's", "this machine's clock is %s from the database's", offset.Abs().Round(time.Millisecond))
		return
	}
	now := time.Now()
	latest := op.Meta.CreatedAt
	for _, k := range op.Rings.Rows() {
		if k.CreatedAt.After(latest) {
			latest = k.CreatedAt
		}
	}
	if trail, err := op.DB.Audit(e.sh.ctx, auth.AuditQuery{Most: 1}); err == nil && len(trail) > 0 && trail[0].At.After(latest) {
		latest = trail[0].At
	}
	if behind := latest.Sub(now); behind > verify.Leeway {
		e.note(wrong, "clock", "set the machine's clock, with NTP; tokens made by the wrong one may seem expired, or not valid yet",
			"it shows %s, and this database knows %s already", stamp(now), stamp(latest))
		return
	}
	e.well("clock", "%s, after everything in the database; whether it is right only NTP knows", stamp(now))
}

// replicas says which servers share the database.
func (e *examination) replicas(op *server.Opened) {
	all, now, err := op.DB.Replicas(e.sh.ctx)
	if err != nil {
		e.note(wrong, "servers", "", "%s", message(err))
		return
	}
	var silent []string
	for _, r := range all {
		if now.Sub(r.HeardAt) > 5*time.Second {
			silent = append(silent, r.ID)
		}
	}
	if len(silent) > 0 {
		e.note(doubtful, "servers", "look at these: they were killed, or do not reach the database", "%d are registered; not heard for five seconds: %s", len(all), strings.Join(silent, ", "))
		return
	}
	e.well("servers", "%s running with this database", count(len(all), "server is", "servers are"))
}

// server looks for the running server, or whether one could start.
func (e *examination) server(c *config.Config) {
	if c.Database.Set() {
		url := readyURL(c)
		if status, err := ask(e.sh.ctx, url); err != nil {
			e.well("server", "none answers on this machine at %s", url)
		} else if status != http.StatusOK {
			e.note(wrong, "server", "curl "+url+" and its log say why", "it is running on this machine, and not ready: %s answers %d", url, status)
		} else {
			e.well("server", "running on this machine, and ready by %s", url)
		}
		return
	}
	if !server.Running(c.DataDir) {
		e.well("server", "none is running on this data directory")
		e.canListen("listen", c.Listen)
		e.canListen("admin_listen", c.AdminListen)
		return
	}
	url := readyURL(c)
	status, err := ask(e.sh.ctx, url)
	switch {
	case err != nil && c.AdminTLS.ClientCAFile != "" && c.AdminTLS.ClientCertificates == config.CertificateRequired:
		e.well("server", "running; admin_listen asks for a certificate, so whether it is ready was not asked")
	case err != nil:
		e.note(doubtful, "server", "look into its log; or was it started with another admin_listen?", "one holds the data directory, and does not answer at %s: %v", url, err)
	case status != http.StatusOK:
		e.note(wrong, "server", "curl "+url+" and its log say why", "it is running, and not ready: %s answers %d", url, status)
	default:
		e.well("server", "running, and ready by %s", url)
	}
	if _, err := server.ControlClient(c.DataDir).Recent(e.sh.ctx, auth.RefusalFilter{Most: 1}); err != nil {
		e.note(doubtful, "server", "nothing: explain and refusal list know what is in the database, and that is at most a second behind",
			"it does not answer commands (control.sock): %v", err)
	}
}

// readyURL is where the server with this configuration says whether it is ready.
func readyURL(c *config.Config) string {
	scheme := "http://"
	if c.AdminTLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + reachable(c.AdminListen) + "/readyz"
}

func ask(ctx context.Context, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := atAdmin().RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// reachable is an address to listen on as one to go to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host != "" && (ip == nil || !ip.IsUnspecified()) {
		return listen
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func (e *examination) canListen(key, addr string) {
	if strings.HasSuffix(addr, ":0") {
		e.well("addresses", "%s takes a free port", key)
		return
	}
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.note(wrong, "addresses", "stop that program, or set "+key+" to another address", "%s %s is taken by another program", key, addr)
	case errors.Is(err, syscall.EACCES):
		e.note(wrong, "addresses", "take a port from 1024 on, or give the program the right (CAP_NET_BIND_SERVICE)", "%s %s: this user may not listen there", key, addr)
	case err != nil:
		e.note(wrong, "addresses", "set "+key+" to an address of this machine", "%s %s: %v", key, addr, err)
	default:
		_ = l.Close()
		e.well("addresses", "%s %s is free", key, addr)
	}
}

// loopback says whether only this machine reaches an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// urls looks at how customers are told to come here.
func (e *examination) urls(c *config.Config) {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		e.note(wrong, "public_url", "", "%v", err)
		return
	}
	local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	switch {
	case local && !loopback(c.Listen):
		e.note(doubtful, "public_url", "set public_url to how customers reach this server",
			"it is %s, and other machines reach listen %s: they would be told a URL that is their own machine's, and so would be the issuer of every token", c.PublicURL, c.Listen)
	case !local && u.Scheme == "http":
		e.note(doubtful, "public_url", "put TLS in front and write https://", "%s is not encrypted: credentials and tokens travel in clear text", c.PublicURL)
	case c.Issuer != c.PublicURL:
		e.well("public_url", "%s; the issuer is %s", c.PublicURL, c.Issuer)
	default:
		e.well("public_url", "%s, which is the issuer too", c.PublicURL)
	}
	if !loopback(c.AdminListen) {
		e.note(doubtful, "admin_listen", "listen on an address that only operators reach, as 127.0.0.1:9000", "%s can be reached from other machines", c.AdminListen)
	}
}

// proxies looks at whose word is taken for where a caller comes from.
func (e *examination) proxies(c *config.Config) {
	proxies, err := limit.ParseProxies(c.TrustedProxies)
	switch {
	case err != nil:
		e.note(wrong, "proxies", "", "trusted_proxies: %v", err)
	case proxies.Everyone():
		e.note(wrong, "proxies", "name your load balancer in trusted_proxies, and nobody else",
			"trusted_proxies holds every address: any caller can say where he comes from, and allowlists and limits by address are worth nothing")
	case proxies.Len() == 0 && !loopback(c.Listen) && !c.TLS.On():
		e.note(doubtful, "proxies", "set tls.cert_file and tls.key_file, or tls.acme, or put a proxy with TLS in front and name it in trusted_proxies",
			"listen %s can be reached from other machines, without TLS and without a proxy: credentials travel in clear text", c.Listen)
	case proxies.Len() == 0:
		e.well("proxies", "none is trusted: the address of a connection is the caller's")
	default:
		e.well("proxies", "%s may say where a caller comes from", strings.Join(c.TrustedProxies, ", "))
	}
}

// routes looks whether there is something behind the gateway.
func (e *examination) routes(c *config.Config) {
	if err := server.CheckRoutes(c); err != nil {
		e.note(wrong, "routes", "mend it, then gatehouse config check", "%s", message(err))
		return
	}
	if len(c.Routes) == 0 {
		e.well("routes", "none: this server hands out tokens, and checks no calls")
		return
	}
	seen := map[string]bool{}
	for _, r := range c.Routes {
		for _, one := range r.Upstream {
			u, err := url.Parse(one)
			if err != nil || u.Host == "" || seen[u.Host] {
				continue
			}
			seen[u.Host] = true
			e.upstream(u, r.Path)
		}
	}
}

// upstream looks whether a server of the API of a route can be reached.
func (e *examination) upstream(u *url.URL, route string) {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	conn, err := net.DialTimeout("tcp", host, time.Second)
	if err != nil {
		e.note(doubtful, "routes", "start the API, or mend the route's upstream", "%s does not answer: %v", u.Host, err)
		return
	}
	_ = conn.Close()
	e.well("routes", "%s answers, the API of %s", u.Host, route)
}
