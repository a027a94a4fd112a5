package auth

import (
	"testing"
	"time"
)

func TestAdvise(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	ago := func(d time.Duration) time.Time {
		if d < 0 {
			return time.Time{} // never
		}
		return now.Add(-d)
	}
	for _, c := range []struct {
		rotated, oldUsed, newUsed, left time.Duration
		want                            string
	}{
		{5 * day, 6 * day, day, 2 * day, "Safe to finish: the old secret was not used for 5 d"},
		{9 * day, 6 * day, day, 2 * day, "Safe to finish: the old secret was not used for 6 d"},
		{9 * day, -1, day, 2 * day, "Safe to finish: the old secret was not used for 9 d"},
		{5 * day, 2 * time.Hour, day, 6 * day, "Wait: the old secret was used 2 h ago"},
		{5 * day, 2 * time.Hour, day, 36 * time.Hour, "Hurry: the old secret was used 2 h ago and ends in 36 h"},
		{5 * day, 2 * time.Hour, -1, 36 * time.Hour, "Hurry: the old secret was used 2 h ago and ends in 36 h"},
		{5 * day, 5 * day, -1, 6 * day, "Wait: the new secret was not used yet"},
		{time.Hour, 2 * time.Hour, 0, 6 * day, "Wait: there has been a new secret for 1 h only"},
		{5 * day, 5 * time.Minute, 0, -time.Second, ""},
	} {
		credential := Credential{Secrets: []Secret{
			{Number: 2, CreatedAt: ago(c.rotated), LastUse: Use{At: ago(c.newUsed)}},
			{Number: 1, ExpiresAt: now.Add(c.left), LastUse: Use{At: ago(c.oldUsed)}},
		}}
		if got := Advise(credential, now); got.Says != c.want || (got.Word == "") != (c.want == "") {
			t.Errorf("%+v: got %q", c, got)
		}
		credential.RevokedAt = now
		if got := Advise(credential, now); got != (Advice{}) {
			t.Errorf("of a revoked one: %v", got)
		}
	}
	if got := Advise(Credential{Secrets: []Secret{{Number: 1}}}, now); got != (Advice{}) {
		t.Errorf("of one secret: %v", got)
	}
}
