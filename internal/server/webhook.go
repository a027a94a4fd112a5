package server

import (
	"fmt"
	"slices"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/webhook"
)

// newWebhooks makes what tells others, nil if nobody is to be told.
func (s *Server) newWebhooks(c *config.Config) (*webhook.Sender, error) {
	if len(c.Webhooks) == 0 {
		return nil, nil
	}
	var endpoints []webhook.Endpoint
	for i, w := range c.Webhooks {
		for _, wanted := range w.Events {
			if !slices.ContainsFunc(webhook.Types(), func(kind string) bool { return webhook.Wanted([]string{wanted}, kind) }) {
				return nil, fmt.Errorf("webhooks[%d].events: there is no event %q: docs/webhooks.md has them all", i, wanted)
			}
		}
		endpoints = append(endpoints, webhook.Endpoint{URL: w.URL, Events: w.Events, Key: w.Key, AllowInternal: w.AllowInternal})
	}
	return webhook.New(webhook.Config{
		Store: s.opened.DB, Replica: s.replica, Endpoints: endpoints, ExpiringWithin: c.WebhookNotice, Now: s.opened.DB.Now, Log: s.log, Stats: &s.told,
	})
}
