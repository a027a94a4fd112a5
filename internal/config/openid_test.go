package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const provider = `
dashboard:
  openid:
    - name: company
      issuer: https://accounts.example.com/
      client_id: gatehouse
      for: members
`

func TestProviders(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "hunter2\n")
	write(t, filepath.Join(dir, "gatehouse.yaml"), provider+`      client_secret_file: secret
    - name: company
      title: Company account
      issuer: http://localhost:8080/realm
      client_id: gatehouse
      client_secret: hunter3
      for: operators
      scopes: [profile, email]
      email_domains: [example.com]
    - {name: open, issuer: "https://open.example.com", client_id: "x", for: members}
`)
	c := mustLoad(t, Options{Dir: dir})
	got := c.Dashboard.OpenID
	if len(got) != 3 {
		t.Fatalf("got %d", len(got))
	}
	if p := got[0]; p.Issuer != "https://accounts.example.com/" || p.ClientSecret.Reveal() != "hunter2" || p.For != ForMembers || !slices.Equal(p.Scopes, []string{"email"}) {
		t.Errorf("got %+v", p)
	}
	if p := got[1]; p.Title != "Company account" || p.ClientSecret.Reveal() != "hunter3" || !slices.Equal(p.Scopes, []string{"profile", "email"}) || !slices.Equal(p.EmailDomains, []string{"example.com"}) {
		t.Errorf("got %+v", p)
	}
	if p := got[2]; p.ClientSecret.Set() {
		t.Errorf("got %+v", p)
	}
	shown := c.Print() + fmt.Sprintf("%v %+v %#v", got, c.Dashboard, got)
	if strings.Contains(shown, "hunter") || !strings.Contains(shown, "client_secret: \"***\"") {
		t.Errorf("shown: %s", shown)
	}
	if v, ok := c.Value("dashboard.openid"); v != "3" || !ok {
		t.Errorf("%q", v)
	}
	if at := c.Origin("dashboard.openid[1].client_id"); at != "gatehouse.yaml:12" {
		t.Errorf("set at %s", at)
	}
	// What was printed is read again, but for the secrets.
	again := t.TempDir()
	write(t, filepath.Join(again, "gatehouse.yaml"), strings.ReplaceAll(c.Print(), filepath.Join(dir, "secret"), `""`))
	if p := mustLoad(t, Options{Dir: again}).Dashboard.OpenID; len(p) != 3 || p[1].Issuer != got[1].Issuer {
		t.Errorf("read again: %+v", p)
	}
	// A new secret is another configuration, which waits for a restart.
	write(t, filepath.Join(dir, "secret"), "hunter4\n")
	if _, waiting := mustLoad(t, Options{Dir: dir}).Follow(c); !slices.Equal(waiting, []string{"dashboard.openid"}) {
		t.Errorf("waiting: %v", waiting)
	}
}

func TestProvidersThatCannotBe(t *testing.T) {
	more := func(rest string) string { return provider + "      " + rest + "\n" }
	but := func(old, with string) string { return strings.Replace(provider, old, with, 1) }
	for _, one := range []struct{ file, want string }{
		{but("company", "My Company"), `gatehouse.yaml:4: dashboard.openid[0].name: "My Company" must be 1 to 40 small letters, digits and dashes, as company: it is part of an address`},
		{but("    - name: company\n", "    - title: x\n"), `gatehouse.yaml:4: dashboard.openid[0].name: "" must be 1 to 40 small letters, digits and dashes, as company: it is part of an address`},
		{but("https://accounts.example.com/", "accounts.example.com"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "accounts.example.com" does not begin with http:// or https://: write https://api.example.com`},
		{but("https://accounts.example.com/", "ftp://accounts.example.com/"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "ftp://accounts.example.com/" does not begin with http:// or https://: write https://api.example.com`},
		{but("https://accounts.example.com/", "https:///"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "https:///" has no host: write https://api.example.com`},
		{but("https://accounts.example.com/", "https://me:hunter2@accounts.example.com/"), `gatehouse.yaml:5: dashboard.openid[0].issuer: the URL has credentials in it, which everybody would see: leave them out`},
		{but("https://accounts.example.com/", "https://accounts.example.com/?realm=/"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "https://accounts.example.com/?realm=/" has a query or a fragment: leave it out`},
		{but("https://accounts.example.com/", "https://accounts.example.com/../"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "https://accounts.example.com/../" has a path with a dot segment: requests for those are refused`},
		{but("https://accounts.example.com/", "https://accounts.example.com:0/"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "https://accounts.example.com:0/" has no port from 1 to 65535`},
		{but("https://accounts.example.com/", "http://accounts.example.com/"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "http://accounts.example.com/" would be asked in clear text: write https://`},
		{but("https://accounts.example.com/", "http://accounts.example.com"), `gatehouse.yaml:5: dashboard.openid[0].issuer: "http://accounts.example.com" would be asked in clear text: write https://`},
		{but("https://accounts.example.com/", `""`), `gatehouse.yaml:5: dashboard.openid[0].issuer: "" is missing: write it as the provider does, https://accounts.example.com`},
		{but("client_id: gatehouse", `client_id: ""`), `gatehouse.yaml:6: dashboard.openid[0].client_id: is missing: the provider gives you one where you register this server`},
		{but("for: members", "for: both"), `gatehouse.yaml:7: dashboard.openid[0].for: "both" is unknown: write operators or members`},
		{but("      for: members\n", ""), `gatehouse.yaml:4: dashboard.openid[0].for: "" is unknown: write operators or members`},
		{more("scopes: [email, 'a b']"), `gatehouse.yaml:8: dashboard.openid[0].scopes[1]: "a b" is no scope: write email`},
		{more("scopes: []\n      email_domains: [example.com]"), `gatehouse.yaml:8: dashboard.openid[0].scopes: without email the provider does not tell the address that email_domains are about`},
		{more("email_domains: ['@example.com']"), `gatehouse.yaml:8: dashboard.openid[0].email_domains[0]: "@example.com" is no domain: write what stands behind the @, in small letters, as example.com`},
		{more("client_secret: a\n      client_secret_file: b"), `gatehouse.yaml:9: dashboard.openid[0].client_secret_file: client_secret is set too: leave out one of them`},
		{more("redirect: a"), `gatehouse.yaml:8: there is no key dashboard.openid[0].redirect: known are name, title, issuer, client_id, client_secret, client_secret_file, for, scopes, email_domains`},
		{"dashboard: {openid: company}", `gatehouse.yaml:1: dashboard.openid: takes a list: write [one, another]`},
		{provider + strings.TrimPrefix(provider, "\ndashboard:\n  openid:\n"), `gatehouse.yaml:8: dashboard.openid[1].name: "company" is the name of dashboard.openid[0] too: people could not tell them apart`},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "gatehouse.yaml"), one.file)
		_, err := Load(Options{Dir: dir})
		if err == nil || err.Error() != one.want {
			t.Errorf("%s\ngot  %v\nwant %s", one.file, err, one.want)
		}
	}
	dir := t.TempDir()
	_, err := Load(Options{Dir: dir, Environ: []string{"GATEHOUSE_DASHBOARD_OPENID=company"}})
	if p := (*Problem)(nil); !errors.As(err, &p) || p.Error() != "environment GATEHOUSE_DASHBOARD_OPENID: dashboard.openid: can be set in the configuration file only" {
		t.Errorf("got %v", err)
	}
}
