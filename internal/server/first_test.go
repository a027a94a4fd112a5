package server

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/people"
)

var setupLink = regexp.MustCompile(`http://localhost(?::\d+)?/dashboard/join#(\w{38})`)

// The link for the first operator is told where somebody sits, and nowhere else: a later start makes another, and none once there is
// an operator.
func TestTheFirstOperatorIsToldAtATerminal(t *testing.T) {
	w := newWorld(t, unlimited)
	w.stop() // what is logged is written by then
	if log := w.log.String(); !strings.Contains(log, "gatehouse operator create --email E-MAIL --name NAME") || setupLink.MatchString(log) {
		t.Errorf("where nobody sits the log is %s", log)
	}
	again := func() string {
		t.Helper()
		screen := new(beside.Said)
		w.screen = screen
		w.start(unlimited)
		w.stop()
		if strings.Contains(w.log.String(), "join") {
			t.Errorf("the log is %s", w.log)
		}
		return screen.String()
	}
	var codes []string
	for range 2 {
		found := setupLink.FindStringSubmatch(again())
		if found == nil {
			t.Fatalf("no link is told: %s", w.screen)
		}
		codes = append(codes, found[1])
	}
	w.start(unlimited + "dashboard: {enabled: false}\n") // which makes none
	caller := auth.Caller{}
	join := func(code string) error {
		_, err := w.people.Join(t.Context(), code, people.Joining{Email: "root@example.com", Name: "Root", Password: "correct horse battery"}, caller)
		return err
	}
	if err := join(codes[0]); !errors.Is(err, auth.ErrBadLink) {
		t.Errorf("the link of the start before: %v", err)
	}
	if err := join(codes[1]); err != nil {
		t.Errorf("the link: %v", err)
	}
	if err := join(codes[1]); !errors.Is(err, auth.ErrBadLink) {
		t.Errorf("the link again: %v", err)
	}
	acts, err := w.Registry().Audit(t.Context(), operator, auth.AuditQuery{Most: 10})
	if err != nil || acts[0].Act.Action != "person.join" || acts[1].Act.Action != "operator.setup-link" {
		t.Errorf("the trail is %+v, %v", acts, err)
	}
	w.stop()
	if said := again(); said != "" {
		t.Errorf("with an operator it is told %q", said)
	}
}
