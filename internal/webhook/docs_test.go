package webhook

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// manual is the page for receivers.
func manual(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// block is the page's one block in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(manual(t), "```"+language+"\n")
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("docs/webhooks.md has no %s", language)
	}
	return text
}

// Each event is in the page's table, and none that there is not.
func TestEveryEventIsDocumented(t *testing.T) {
	_, table, _ := strings.Cut(manual(t), "| event | when |")
	table, _, _ = strings.Cut(table, "\n\n")
	var told []string
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			told = append(told, m[1])
		}
	}
	all := Types()
	slices.Sort(all)
	slices.Sort(told)
	if !slices.Equal(all, told) {
		t.Errorf("events are\n%q, and the page has\n%q", all, told)
	}
}

// what a receiver is sent, and whether he should take it.
type sent struct {
	id, timestamp, signature, body string
	want                           bool
}

func samples(secret []byte, now time.Time) []sent {
	body := `{"type":"credential.rotated","data":{"name":"Ä"}}`
	stamp, old := fmt.Sprint(now.Unix()), fmt.Sprint(now.Add(-6*time.Minute).Unix())
	good := Sign(secret, "evt_1", stamp, []byte(body))
	return []sent{
		{"evt_1", stamp, good, body, true},
		{"evt_1", stamp, "v1,AAAA " + good, body, true},
		{"evt_2", stamp, good, body, false},
		{"evt_1", stamp, good, body + " ", false},
		{"evt_1", stamp, good[:len(good)-2], body, false},
		{"evt_1", stamp, "", body, false},
		{"evt_1", old, Sign(secret, "evt_1", old, []byte(body)), body, false},
		{"evt_1", "soon", Sign(secret, "evt_1", "soon", []byte(body)), body, false},
	}
}

// What the page tells receivers to do takes our messages, and nothing else.
func TestReceiversOfThePage(t *testing.T) {
	key, now := []byte("0123456789abcdef0123456789abcdef"), time.Now()
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	var checks, want []string
	for _, s := range samples(key, now) {
		checks = append(checks, fmt.Sprintf("console.log(verify(%q, {'webhook-id': %q, 'webhook-timestamp': %q, 'webhook-signature': %q}, %q));",
			secret, s.id, s.timestamp, s.signature, s.body))
		want = append(want, fmt.Sprint(s.want))
	}
	for _, s := range samples(key, now) {
		h := http.Header{}
		h.Set("webhook-id", s.id)
		h.Set("webhook-timestamp", s.timestamp)
		h.Set("webhook-signature", s.signature)
		if err := Verify(secret, h, []byte(s.body), now); (err == nil) != s.want {
			t.Errorf("in Go %+v: %v", s, err)
		}
	}
	node := beside.Need(t, "node", "nodejs")
	program := filepath.Join(t.TempDir(), "main.mjs")
	if err := os.WriteFile(program, []byte(block(t, "js")+strings.Join(checks, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, program).CombinedOutput()
	if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, want) {
		t.Errorf("in JavaScript got %q, want %q: %v", got, want, err)
	}
}
