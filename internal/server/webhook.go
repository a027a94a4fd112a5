package server

import (
	"context"
	"fmt"
	"slices"

	wire "github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/webhook"
)

// newWebhooks makes what tells others, nil if nobody is to be told.
func (s *Server) newWebhooks(c *config.Config) (*webhook.Sender, error) {
	if len(c.Webhooks) == 0 {
		return nil, nil
	}
	for i, w := range c.Webhooks {
		for _, wanted := range w.Events {
			if !slices.ContainsFunc(webhook.Types(), func(kind string) bool { return webhook.Wanted([]string{wanted}, kind) }) {
				return nil, fmt.Errorf("webhooks[%d].events: there is no event %q: docs/webhooks.md has them all", i, wanted)
			}
		}
	}
	return webhook.New(webhook.Config{
		Store: s.opened.DB, Replica: s.replica, Endpoints: endpoints(c), ExpiringWithin: c.WebhookNotice, Now: s.opened.DB.Now, Log: s.log, Stats: &s.told,
	})
}

// endpoints are who is told, as c has it.
func endpoints(c *config.Config) []webhook.Endpoint {
	var all []webhook.Endpoint
	for _, w := range c.Webhooks {
		all = append(all, webhook.Endpoint{URL: w.URL, Events: w.Events, Key: w.Key, AllowInternal: w.AllowInternal})
	}
	return all
}

// webhooks are those of c under these names, as they are told.
func webhooks(c *config.Config, names []webhook.Name) []wire.Webhook {
	told := []wire.Webhook{}
	for i, n := range names {
		w := c.Webhooks[i]
		told = append(told, wire.Webhook{ID: n.ID, Host: n.Host, Events: append([]string{}, w.Events...), AllowInternal: w.AllowInternal})
	}
	return told
}

// testWebhook sends a test message, and says what came of it as it is told.
func testWebhook(ctx context.Context, t *webhook.Tester, id string, act auth.Act) (wire.WebhookTest, error) {
	came, err := t.Test(ctx, id, act)
	if err != nil {
		return wire.WebhookTest{}, err
	}
	told := wire.WebhookTest{
		Webhook: id, Host: came.Host, Message: came.Message, Delivered: came.Err == nil, Status: came.Status, Milliseconds: came.Took.Milliseconds(),
	}
	if came.Err != nil {
		told.Error = came.Err.Error()
	}
	return told, nil
}
