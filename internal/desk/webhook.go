package desk

import (
	"context"
	"slices"
	"strconv"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Webhooks lists who is told what happens, in the order of the configuration.
func (d *Desk) Webhooks(ctx context.Context) (api.Page[api.Webhook], error) {
	if err := d.Ask(ctx, registry.ReadWebhooks, 0); err != nil {
		return api.Page[api.Webhook]{}, err
	}
	return api.Page[api.Webhook]{Items: d.config.Webhooks()}, nil
}

// TestWebhook sends one of them a test message, and says what came of it. That it was sent is in the audit trail before it is.
func (d *Desk) TestWebhook(ctx context.Context, id string) (api.WebhookTest, error) {
	if err := d.Ask(ctx, registry.TestWebhook, 0); err != nil {
		return api.WebhookTest{}, err
	}
	all := d.config.Webhooks()
	i := slices.IndexFunc(all, func(w api.Webhook) bool { return w.ID == id })
	if i < 0 {
		return api.WebhookTest{}, auth.ErrNotFound.Saying("there is no webhook " + strconv.QuoteToASCII(id) + ": gatehouse webhook list shows them")
	}
	act, err := d.registry.Begin(ctx, d.actor, registry.TestWebhook, all[i].Host+" "+id)
	if err != nil {
		return api.WebhookTest{}, err
	}
	return d.config.TestWebhook(ctx, id, act)
}
