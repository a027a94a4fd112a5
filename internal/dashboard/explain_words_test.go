package dashboard

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ofOperators is what the people of an account are never told of: commands, settings, limits by their names, what the server is
// made of.
var ofOperators = regexp.MustCompile(`(?i)gatehouse |trusted_proxies|accept_issuers|observe_until|reuse_leeway|on_reuse|public_url|_per_[a-z]+|limits\.|contracts\.|tokens\.|\broutes?\b|upstream|database|/readyz|_healthy|\bconfig`)

// Every reason has words for the people of an account, which say what happened and what to do, and nothing of how the server is run.
func TestEveryReasonHasWordsForMembers(t *testing.T) {
	for _, reason := range auth.Reasons {
		words, known := forMembers[reason]
		if !known || words.Meaning == "" || words.Do == "" {
			t.Errorf("%s: there are no words for members", reason)
		}
		for _, text := range []string{words.Meaning, words.Do} {
			if found := ofOperators.FindString(text); found != "" {
				t.Errorf("%s: members are told of %q: %s", reason, found, text)
			}
			if strings.ContainsAny(text, "{}`") || !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence for a page", reason, text)
			}
		}
	}
	if len(forMembers) != len(auth.Reasons) {
		t.Errorf("there are words for %d reasons of %d", len(forMembers), len(auth.Reasons))
	}
	if words := forMember("of_tomorrow"); words.Meaning == "" || !strings.HasSuffix(words.Do, ask) {
		t.Errorf("a reason of a newer version is told as %+v", words)
	}
}
