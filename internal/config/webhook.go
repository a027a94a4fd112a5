package config

import (
	"encoding/base64"
	"fmt"
	"strings"
)

func webhookKey(i int) string { return fmt.Sprintf("webhooks[%d]", i) }

// Key is what a webhook's messages are signed with, nil if its secret is none.
func (w Webhook) Key() []byte {
	encoded, ok := strings.CutPrefix(w.Secret.Reveal(), "whsec_")
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil
	}
	return key
}

func (l *loader) checkWebhooks() {
	for i, w := range l.c.Webhooks {
		key := webhookKey(i)
		if l.wrong[key] { // not a webhook at all
			continue
		}
		// A query is part of what others are told to call, and often what protects them.
		address, _, _ := strings.Cut(w.URL, "?")
		if err := checkURL(address, true); err != nil || strings.Contains(w.URL, "#") || !printable(w.URL, false) {
			if err == nil {
				err = fmt.Errorf("is not a URL: write https://example.com/webhooks")
			}
			l.problem(key+".url", "%s %w", shownURL(address), err)
		} else if strings.HasPrefix(w.URL, "http://") && !w.AllowInternal {
			l.problem(key+".url", "%s would be called in clear text: write https://, or set allow_internal where it lies inside your network", quote(address))
		}
		for j, e := range w.Events {
			if word := strings.TrimSuffix(e, "*"); e == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz._") != "" {
				l.problem(fmt.Sprintf("%s.events[%d]", key, j), "%s is no event: write credential.revoked, credential.* or leave events out", quote(e))
			}
		}
		switch {
		case !w.Secret.Set():
			l.problem(key+".secret", `is missing: without it nobody can tell your messages from others. Make one: echo "whsec_$(openssl rand -base64 32)"`)
		case w.Key() == nil:
			l.problem(key+".secret", `is not whsec_ and 24 to 64 bytes in base64: echo "whsec_$(openssl rand -base64 32)"`)
		}
		for j, other := range l.c.Webhooks[:i] {
			if w.URL == other.URL {
				l.problem(key+".url", "is that of %s too: give one of them all the events", webhookKey(j))
			}
		}
	}
}
