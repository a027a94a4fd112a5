package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/limit"
)

type doctor struct {
	Ready     bool     `help:"Instead: ask the running server whether it is ready, and say nothing if it is: for the health check of a container."`
	Address   address  `placeholder:"IP" help:"Instead: say whose address a request counts as that comes from this peer"`
	Forwarded []string `sep:"none" placeholder:"VALUE" help:"… with this X-Forwarded-For; once for each such header."`
	printed
}

func (doctor) Help() string {
	return `Configuration, data directory, database, keys, clock, the running server, addresses, proxies, routes: what is well, what is doubtful, what is wrong, and what to do about it. It changes nothing. Exit status 1 if something is wrong.

    gatehouse doctor
    gatehouse doctor --ready
    gatehouse doctor --address 10.0.0.5 --forwarded "198.51.100.9, 203.0.113.7"`
}

// The grades of a finding.
const (
	well     = "ok"
	doubtful = "warn"
	wrong    = "fail"
)

// A finding is what was seen of one thing.
type finding struct {
	Check   string `json:"check"`
	Grade   string `json:"grade"`
	Message string `json:"message"`
	Do      string `json:"do,omitempty"`
}

// An examination gathers findings.
type examination struct {
	sh       *shell
	findings []finding
}

func (e *examination) well(check, format string, args ...any) {
	e.findings = append(e.findings, finding{check, well, fmt.Sprintf(format, args...), ""})
}

// note is for what is doubtful or wrong: what is seen, and what to do about it.
func (e *examination) note(grade, check, do, format string, args ...any) {
	e.findings = append(e.findings, finding{check, grade, fmt.Sprintf(format, args...), do})
}

func (c *doctor) Run(sh *shell) error {
	switch {
	case c.Ready && (c.Address.IsValid() || len(c.Forwarded) > 0):
		return usage("--ready goes with no other flag")
	case c.Ready:
		return askReady(sh)
	case c.Address.IsValid() || len(c.Forwarded) > 0:
		return c.resolve(sh)
	}
	e := &examination{sh: sh}
	e.all()
	bad := 0
	for _, f := range e.findings {
		if f.Grade == wrong {
			bad++
		}
	}
	if c.JSON {
		if err := sh.json(e.findings); err != nil {
			return err
		}
	} else if err := e.print(); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%s above", count(bad, "thing is wrong: see", "things are wrong: see"))
	}
	return nil
}

// askReady asks the server with this configuration, on this machine, at admin_listen, and fails with what it says unless it
// is ready. It opens no database.
func askReady(sh *shell) error {
	c, err := sh.config(nil)
	if err != nil {
		return err
	}
	url := readyURL(c)
	status, err := ask(sh.ctx, url)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("not ready: %s answers %d", url, status)
	}
	return err
}

func (e *examination) print() error {
	for _, f := range e.findings {
		if err := e.sh.printf("%-5s %-14s %s\n", f.Grade, f.Check, clean(f.Message)); err != nil {
			return err
		}
		if f.Do == "" {
			continue
		}
		if err := e.sh.printf("%-5s %-14s %s\n", "", "", "do: "+clean(f.Do)); err != nil {
			return err
		}
	}
	return nil
}

// all looks at everything, as far as what is wrong lets it.
func (e *examination) all() {
	c, ok := e.configuration()
	if !ok {
		return
	}
	if c.Database.Set() || e.directory(c) {
		e.database(c)
	}
	e.redis(c)
	e.server(c)
	e.urls(c)
	e.certificates(c)
	e.proxies(c)
	e.routes(c)
}

// resolve says whose address a request counts as.
func (c *doctor) resolve(sh *shell) error {
	if !c.Address.IsValid() {
		return usage("--forwarded wants --address too: the peer that the header came from")
	}
	loaded, err := sh.config(nil)
	if err != nil {
		return err
	}
	proxies, err := limit.ParseProxies(loaded.TrustedProxies)
	if err != nil {
		return err
	}
	peer := c.Address.Addr
	resolved, untrusted := proxies.Resolve(peer, c.Forwarded)
	trusted := proxies.Trusts(peer)
	why := explainResolution(peer, resolved, trusted, untrusted, len(c.Forwarded) > 0)
	if c.JSON {
		return sh.json(struct {
			Peer      netip.Addr `json:"peer"`
			Trusted   bool       `json:"trusted"`
			Forwarded []string   `json:"forwarded"`
			Address   netip.Addr `json:"address"`
			Why       string     `json:"why"`
		}{peer, trusted, append([]string{}, c.Forwarded...), resolved, why})
	}
	list := "none"
	if len(loaded.TrustedProxies) > 0 {
		list = strings.Join(loaded.TrustedProxies, ", ")
	}
	return sh.facts("address", resolved.String(), "because", why, "peer", peer.String(),
		"forwarded", strings.Join(c.Forwarded, " | "), "trusted", list+" (trusted_proxies)")
}

func explainResolution(peer, resolved netip.Addr, trusted, untrusted, sent bool) string {
	switch {
	case untrusted:
		return fmt.Sprintf("the peer is not in trusted_proxies, so the header is not believed; if %s is your proxy, name it there", peer)
	case !trusted:
		return "the peer is not in trusted_proxies, and sent no X-Forwarded-For: its own address counts"
	case !sent:
		return "the peer is in trusted_proxies, and sent no X-Forwarded-For: its own address counts"
	case resolved == peer:
		return "the peer is in trusted_proxies, but what stands rightmost in the header is no address: the last one known counts"
	}
	return "the peer is in trusted_proxies: counted is, from the right of the header, the first address that is not (all are: the leftmost; no address: the last good one before it)"
}

// configuration loads the configuration.
func (e *examination) configuration() (*config.Config, bool) {
	c, err := e.sh.config(nil)
	if err != nil {
		for _, p := range problems(err) {
			where := strings.Join(slices.DeleteFunc([]string{p.Where, p.Key}, func(s string) bool { return s == "" }), ": ")
			e.note(wrong, "configuration", "mend it, then gatehouse config check", "%s: %s", where, p.Problem)
		}
		return nil, false
	}
	e.well("configuration", "%s", or(c.File, "no file: defaults and environment"))
	return c, true
}
