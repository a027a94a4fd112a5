package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/api"
)

type webhooks struct {
	List webhookList `cmd:"" help:"List who is told what happens."`
	Test webhookTest `cmd:"" help:"Send a test message, and say what came of it."`
}

type webhookList struct{ printed }

func (webhookList) Help() string {
	return `Those of the configuration (webhooks). Of a URL the host is shown, for the rest may be all that protects it.

    gatehouse webhook list`
}

func (c *webhookList) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	all, err := o.Webhooks(sh.ctx)
	if err != nil {
		return err
	}
	heading := []string{"WEBHOOK", "HOST", "EVENTS"}
	return showList(sh, all.Items, c.JSON, "there are no webhooks: docs/webhooks.md says how to configure one", heading, func(w api.Webhook) []string {
		return []string{w.ID, w.Host, or(strings.Join(w.Events, " "), "all")}
	})
}

type webhookTest struct {
	Webhook string `arg:"" help:"The id, as \"webhook list\" shows it, or the host if there is only one webhook there."`
	printed
}

func (webhookTest) Help() string {
	return `The message has the type webhook.test and is signed and sent as all others are, from here or, with --server, from that server: the same addresses are refused, the same certificates asked for. What waits for this webhook neither goes nor waits for longer. Unless the receiver answers 200 to 299 within ten seconds the exit status is 1.

    gatehouse webhook test hooks.example.com`
}

func (c *webhookTest) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	id, err := c.id(sh, o)
	if err != nil {
		return err
	}
	came, err := o.TestWebhook(sh.ctx, id)
	if err != nil {
		return err
	}
	if !came.Delivered {
		err = fmt.Errorf("%s did not take the message %s, after %d ms: %s", came.Host, came.Message, came.Milliseconds, came.Error)
	}
	if c.JSON {
		return errors.Join(sh.json(came), err)
	}
	if err != nil {
		return err
	}
	return sh.printf("%s took the message %s: it answered %d after %d ms\n", came.Host, came.Message, came.Status, came.Milliseconds)
}

// id is the id of the webhook that is meant.
func (c *webhookTest) id(sh *shell, o *visit) (string, error) {
	all, err := o.Webhooks(sh.ctx)
	if err != nil {
		return "", err
	}
	var there []api.Webhook
	for _, w := range all.Items {
		if w.ID == c.Webhook {
			return w.ID, nil
		}
		if strings.EqualFold(w.Host, c.Webhook) {
			there = append(there, w)
		}
	}
	switch len(there) {
	case 0:
		return "", fmt.Errorf("there is no webhook %s: gatehouse webhook list shows them", strconv.QuoteToASCII(c.Webhook))
	case 1:
		return there[0].ID, nil
	}
	return "", usage("there are %d webhooks at %s: name one by its id, as gatehouse webhook list shows it", len(there), there[0].Host)
}
