package admin_test

import (
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/contract/admin"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A cursor that comes back is the place that went out, and no other text is a cursor.
func FuzzCursor(f *testing.F) {
	f.Add("100001", "AAAA")
	f.Add("3YpE7Kq0aBcD", "")
	f.Add("1.2.x", strings.Repeat("A", 40))
	f.Fuzz(func(t *testing.T, place, text string) {
		if place == "" {
			return
		}
		sealed := admin.Seal(place)
		if got, ok := admin.Unseal(sealed); !ok || got != place {
			t.Errorf("%q came back as %q, %v", place, got, ok)
		}
		if got, ok := admin.Unseal(text); ok && admin.Seal(got) != text {
			t.Errorf("%q was taken for a cursor of %q", text, got)
		}
	})
}

// A body that is taken has no member that its type does not know, and is taken again as it is written then.
func FuzzBody(f *testing.F) {
	f.Add(`{"name":"shop","scopes":["a"],"expires_at":null,"jwks":{"keys":[]}}`)
	f.Add(`{"expires_at":"2027-01-31T10:00:00Z"}`)
	f.Add(`{"Name":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var u, again api.CredentialUpdate
		if web.Strict(text, &u) != nil {
			return
		}
		written, err := admin.Encode(u)
		if err != nil {
			t.Skip() // a time that JSON cannot hold
		}
		if err := web.Strict(string(written), &again); err != nil {
			t.Errorf("%q was taken and written as %q: %v", text, written, err)
		}
	})
}
