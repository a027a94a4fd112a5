package gate

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A sandbox's token that expires in 5 s is refused after 5 s: a customer's test does not wait for the leeway too.
func TestAQuirksTokenExpiresToTheSecond(t *testing.T) {
	w := newWorld(t, Limits{})
	w.config.Quirks = map[auth.CredentialID]Quirk{"good": {Lifetime: 5 * time.Second}}
	grant, err := w.Exchange(t.Context(), auth.NewPresented(auth.APIKey, "good", "good", right), auth.Caller{})
	if err != nil || grant.Expires.Sub(w.now) > 5*time.Second {
		t.Fatalf("got a token until %v, %v", grant.Expires, err)
	}
	want := auth.Want{Types: []verify.Type{verify.AccessToken}}
	w.now = grant.Expires.Add(-time.Millisecond)
	if _, _, err := w.Verify(t.Context(), grant.Token, auth.Caller{}, want); err != nil {
		t.Errorf("before its end: %v", err)
	}
	w.now = grant.Expires
	if _, _, err := w.Verify(t.Context(), grant.Token, auth.Caller{}, want); auth.AsError(err).Reason != auth.ReasonTokenExpired {
		t.Errorf("at its end: %v", err)
	}
}

func TestQuirks(t *testing.T) {
	w := newWorld(t, Limits{})
	for quirk, want := range map[Quirk]error{{}: nil, {Limited: true}: auth.ErrRateLimited, {Unavailable: true}: auth.ErrOverloaded} {
		w.config.Quirks = map[auth.CredentialID]Quirk{"good": quirk}
		if err := w.present("good", right); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", quirk, err, want)
		}
		if err := w.present("good", wrong); !errors.Is(err, auth.ErrBadCredential) {
			t.Errorf("%+v, a wrong secret: %v", quirk, err)
		}
	}
}
