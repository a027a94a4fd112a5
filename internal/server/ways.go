package server

import (
	"cmp"
	"fmt"

	"github.com/gatehouse/gatehouse/internal/ceremony"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/passkey"
	"github.com/gatehouse/gatehouse/internal/signon"
)

// addWays gives the pages of one side, at base, the ways to sign in besides passwords.
func (s *Server) addWays(made *dashboard.Config, c *config.Config, base string) error {
	ceremonies, err := ceremony.New(ceremony.Config{MAC: s.opened.Rings.Challenge, Once: usedOnce{s.opened.DB}, Now: s.opened.DB.Now})
	if err != nil {
		return err
	}
	made.Passkeys, err = passkey.New(passkey.Config{BaseURL: base, Name: cmp.Or(made.Title, "Gatehouse"), Ceremonies: ceremonies, Now: s.opened.DB.Now})
	if err != nil {
		return err
	}
	side := config.ForMembers
	if made.Side == dashboard.Operators {
		side = config.ForOperators
	}
	var providers []signon.Provider
	for _, p := range c.Dashboard.OpenID {
		if p.For != side {
			continue
		}
		one := signon.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer, ClientID: p.ClientID, Scopes: p.Scopes, EmailDomains: p.EmailDomains}
		if p.ClientSecret.Set() {
			one.ClientSecret = p.ClientSecret.Reveal
		}
		providers = append(providers, one)
	}
	if len(providers) == 0 {
		return nil
	}
	made.Providers, err = signon.New(signon.Config{
		BaseURL: base, Path: dashboard.CallbackPath, Providers: providers, Ceremonies: ceremonies, Now: s.opened.DB.Now, Log: s.log,
	})
	if err != nil {
		return fmt.Errorf("dashboard.openid: %w", err)
	}
	return nil
}
