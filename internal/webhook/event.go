package webhook

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Events that no act of the audit trail tells.
const (
	CredentialExpiring = "credential.expiring"
	OldSecretInUse     = "secret.old_in_use"
)

// types are the events that acts are, by the acts' names.
var types = map[string]string{
	"account.create":           "account.created",
	"account.rename":           "account.renamed",
	"account.suspend":          "account.suspended",
	"account.resume":           "account.resumed",
	"account.delete":           "account.deleted",
	"account.limit":            "account.limited",
	"account.allow-ip":         "allowlist.changed",
	"account.remove-ip":        "allowlist.changed",
	"credential.create":        "credential.created",
	"credential.update":        "credential.updated",
	"credential.rotate":        "credential.rotated",
	"credential.rotate-finish": "credential.rotation_finished",
	"credential.rotate-undo":   "credential.rotation_undone",
	"credential.revoke":        "credential.revoked",
	"session.reuse":            "session.reuse_detected",
	"session.revoke":           "session.revoked",
	"member.invite":            "member.invited",
	"member.join":              "member.joined",
	"member.remove":            "member.removed",
	"operator.invite":          "operator.invited",
	"operator.join":            "operator.joined",
	"operator.remove":          "operator.removed",
	"signing-key.rotate":       "signing_key.rotated",
	"signing-key.revoke":       "signing_key.revoked",
}

// signIn is the act that is two events: of an operator, or of a member.
const signIn = "person.sign-in"

// typeOf is the event that an act is, "" for none.
func typeOf(e *auth.AuditEntry) string {
	switch {
	case e.Act.Action == signIn && e.About.Account == 0:
		return "operator.signed_in"
	case e.Act.Action == signIn:
		return "member.signed_in"
	}
	return types[e.Act.Action]
}

// Types are all events, without order.
func Types() []string {
	seen := map[string]bool{CredentialExpiring: true, OldSecretInUse: true, "operator.signed_in": true, "member.signed_in": true}
	for _, t := range types {
		seen[t] = true
	}
	var all []string
	for t := range seen {
		all = append(all, t)
	}
	return all
}

// Wanted says whether somebody who asked for these events wants one of this type: by its name, by "credential.*", or by asking for
// nothing in particular.
func Wanted(events []string, kind string) bool {
	for _, e := range events {
		prefix, all := strings.CutSuffix(e, "*")
		if e == kind || all && strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return len(events) == 0
}

// An event is the body of a message.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      data      `json:"data"`
}

// body is the body of a message.
func body(kind string, at time.Time, d data) string {
	text, err := json.Marshal(event{Type: kind, Timestamp: at.UTC().Truncate(time.Millisecond), Data: d})
	if err != nil {
		panic(err) // it is made of plain fields
	}
	return string(text)
}

// data is what an event is about, as far as it applies. There is no secret in it.
type data struct {
	Account      int64     `json:"account,omitempty"`
	Credential   string    `json:"credential,omitempty"`
	Kind         string    `json:"kind,omitempty"`
	Name         string    `json:"name,omitempty"`
	Secret       int       `json:"secret,omitempty"` // which of the credential's
	Session      string    `json:"session,omitempty"`
	Person       string    `json:"person,omitempty"` // to whom it was done
	Actor        string    `json:"actor,omitempty"`
	ActorPerson  string    `json:"actor_person,omitempty"`
	Address      string    `json:"address,omitempty"` // of who did it
	RequestID    string    `json:"request_id,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	LastUsedAt   time.Time `json:"last_used_at,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty"`
}

func ofAct(e *auth.AuditEntry) data {
	return data{
		Account: int64(e.About.Account), Credential: string(e.About.Credential), Secret: e.About.Secret, Session: string(e.About.Session),
		Person: string(e.About.Person), Actor: e.Act.Actor, ActorPerson: string(e.Act.Person), Address: address(e.Act.Address), RequestID: e.Act.RequestID,
	}
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
