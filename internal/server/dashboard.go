package server

import (
	"context"
	"net/url"
	"slices"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/manual"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/web"
)

// newPeople makes what lets people into the dashboards.
func (s *Server) newPeople(c *config.Config) (*people.People, error) {
	base, err := url.Parse(c.PublicURL)
	if err != nil {
		return nil, err
	}
	return people.New(people.Config{
		Store: s.opened.DB, Keys: s.opened.Rings, Masters: s.opened.Masters, Limits: s.limiter,
		Issuer: "Gatehouse " + base.Hostname(), Now: s.opened.DB.Now, Cost: s.options.hashing,
		Idle: c.Dashboard.SessionIdle, OperatorAge: c.Dashboard.SessionLifetime.Operators, MemberAge: c.Dashboard.SessionLifetime.Members,
	})
}

// dashboardOf makes the pages of one side; without dashboard.enabled there are none.
func (s *Server) dashboardOf(c *config.Config, side dashboard.Side) ([]web.Address, error) {
	if !c.Dashboard.Enabled {
		return nil, nil
	}
	at := c.PublicURL
	if side == dashboard.Operators {
		at = c.Dashboard.AdminURL
	}
	base, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	made := dashboard.Config{
		Side: side, Base: base, MemberBase: c.PublicURL, Title: c.Docs.Title, Registry: s.opened.Registry, Repeats: s.opened.DB, People: s.people, Digest: s.opened.Rings.HandedOut,
		Call: manual.Call(c.PublicURL), Log: s.log, Now: s.opened.DB.Now,
	}
	if side == dashboard.Operators {
		made.Status = s.status
	}
	if c.Docs.Enabled {
		made.Docs = c.PublicURL + manual.Root
	}
	if made.Programs, err = programsOf(c); err != nil {
		return nil, err
	}
	if err := s.addWays(&made, c, at); err != nil {
		return nil, err
	}
	pages, err := dashboard.New(made)
	if err != nil {
		return nil, err
	}
	return pages.Addresses(), nil
}

// status is how the servers are, for operators.
func (s *Server) status(ctx context.Context) (dashboard.Status, error) {
	replicas, now, err := s.opened.DB.Replicas(ctx)
	for i := range replicas {
		if replicas[i].ID == s.replica { // it answers; beside an embedded database it says so nowhere else
			replicas[i].HeardAt = now
		}
	}
	return dashboard.Status{Replicas: replicas, Now: now}, err
}

// programsOf are the programs of the manual, each with a route that its token opens.
func programsOf(c *config.Config) (map[auth.Kind]dashboard.Program, error) {
	found, err := manual.Programs(manualOf(c))
	if err != nil {
		return nil, err
	}
	programs := make(map[auth.Kind]dashboard.Program, len(found))
	for kind, p := range found {
		program := dashboard.Program{Identifier: p.Identifier, Secret: p.Secret}
		for _, s := range p.Samples {
			program.Samples = append(program.Samples, dashboard.Sample(s))
		}
		for _, r := range c.Routes {
			if slices.Contains(r.Accepts, kind.Contract().Type()) && (len(r.Methods) == 0 || slices.Contains(r.Methods, "GET")) {
				program.Path = r.Path
				break
			}
		}
		programs[kind] = program
	}
	return programs, nil
}
