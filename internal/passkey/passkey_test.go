package passkey

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/ceremony"
	"github.com/gatehouse/gatehouse/internal/passkey/passkeytest"
)

const (
	us      = "https://auth.example.com"
	browser = "the cookie of a browser"
)

type memory map[string]bool

func (m memory) First(_ context.Context, name string, _ time.Time) (bool, error) {
	first := !m[name]
	m[name] = true
	return first, nil
}

// A house is passkeys with a clock, and with those who own some.
type house struct {
	*Passkeys
	now    time.Time
	owners map[auth.PersonID]*Owner
}

func newHouse(t testing.TB, base string) *house {
	t.Helper()
	h := &house{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), owners: map[auth.PersonID]*Owner{}}
	clock := func() time.Time { return h.now }
	c, err := ceremony.New(ceremony.Config{Once: memory{}, Now: clock, MAC: func(parts ...string) [sha256.Size]byte {
		m := hmac.New(sha256.New, []byte("key"))
		for _, p := range parts {
			fmt.Fprintf(m, "%d:%s", len(p), p)
		}
		return [sha256.Size]byte(m.Sum(nil))
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.Passkeys, err = New(Config{BaseURL: base, Name: "Gatehouse", Ceremonies: c, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// owner is somebody who has registered the newest passkey of some devices.
func (h *house) owner(t testing.TB, person auth.PersonID, devices ...*passkeytest.Device) *Owner {
	t.Helper()
	o := &Owner{Person: person, Email: string(person) + "@example.com"}
	h.owners[person] = o
	for _, d := range devices {
		h.add(t, o, d)
	}
	return o
}

func (h *house) add(t testing.TB, o *Owner, d *passkeytest.Device) auth.Passkey {
	t.Helper()
	options, err := h.Register(browser, *o)
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.Registered(t.Context(), browser, *o, d.Create(t, options))
	if err != nil {
		t.Fatal(err)
	}
	o.Passkeys = append(o.Passkeys, key)
	return key
}

// find is how whoever keeps passkeys finds whose one is.
func (h *house) find(_ context.Context, id []byte) (Owner, error) {
	for _, o := range h.owners {
		if slices.ContainsFunc(o.Passkeys, func(k auth.Passkey) bool { return bytes.Equal(k.ID, id) }) {
			return *o, nil
		}
	}
	return Owner{}, auth.ErrNotFound
}

func (h *house) options(t testing.TB) []byte {
	t.Helper()
	options, err := h.SignIn(browser)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// signIn signs in, and keeps what is to be kept.
func (h *house) signIn(t testing.TB, d *passkeytest.Device) (auth.PersonID, auth.Passkey, error) {
	t.Helper()
	person, key, err := h.SignedIn(t.Context(), browser, d.Get(t, h.options(t)), h.find)
	if err == nil {
		o := h.owners[person]
		i := slices.IndexFunc(o.Passkeys, func(k auth.Passkey) bool { return bytes.Equal(k.ID, key.ID) })
		o.Passkeys[i] = key
	}
	return person, key, err
}

func TestAPasskeySignsItsOwnerIn(t *testing.T) {
	for name, d := range map[string]*passkeytest.Device{
		"ES256":  {Origin: us, Counts: 7},
		"EdDSA":  {Origin: us, Ed25519: true},
		"synced": {Origin: us, Synced: true},
		"a port": {Origin: us + ":443"},
	} {
		h := newHouse(t, us)
		h.owner(t, "p_other", &passkeytest.Device{Origin: us})
		o := h.owner(t, "p_jane", d)
		made := o.Passkeys[0]
		if made.Synced != d.Synced || made.BackedUp != d.Synced || !slices.Equal(made.Transports, []string{"internal"}) || !made.CreatedAt.Equal(h.now) || !made.UsedAt.IsZero() || made.Counter != d.Counts {
			t.Errorf("%s: made %+v", name, made)
		}
		for range 2 {
			h.now = h.now.Add(time.Hour)
			person, key, err := h.signIn(t, d)
			if err != nil || person != "p_jane" || !key.UsedAt.Equal(h.now) || key.Counter != d.Counts || !bytes.Equal(key.PublicKey, made.PublicKey) {
				t.Errorf("%s: %s %+v, %v", name, person, key, err)
			}
		}
		options, err := h.Confirm(browser, *o)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := h.Confirmed(t.Context(), browser, *o, d.Get(t, options)); err != nil || !bytes.Equal(key.ID, made.ID) || key.Counter != d.Counts {
			t.Errorf("%s: confirmed %+v, %v", name, key, err)
		}
	}
}

func TestWhatBrowsersAreAsked(t *testing.T) {
	h := newHouse(t, "https://Auth.example.com:8443")
	d := &passkeytest.Device{Origin: "https://auth.example.com:8443"}
	o := h.owner(t, "p_jane", d)
	var got struct {
		RP, User               map[string]string
		Attestation, Challenge string
		Selection              map[string]any `json:"authenticatorSelection"`
		Params                 []struct{ Alg int }
		Exclude                []struct{ ID string } `json:"excludeCredentials"`
		Allow                  []struct{ ID string } `json:"allowCredentials"`
		RPID                   string
		UserVerification       string
	}
	ask := func(options json.RawMessage, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(options, &got); err != nil {
			t.Fatal(err)
		}
	}
	ask(h.Register(browser, *o))
	id := base64.RawURLEncoding.EncodeToString(o.Passkeys[0].ID)
	if got.RP["id"] != "auth.example.com" || got.RP["name"] != "Gatehouse" || got.User["name"] != "p_jane@example.com" || got.Attestation != "none" ||
		got.Selection["residentKey"] != "required" || got.Selection["userVerification"] != "required" || got.Selection["requireResidentKey"] != true ||
		len(got.Exclude) != 1 || got.Exclude[0].ID != id || len(got.Challenge) != 75 {
		t.Errorf("to register: %+v", got)
	}
	if d.Create(t, must(h.Register(browser, *o))) != nil {
		t.Error("the device would make a second passkey")
	}
	ask(h.SignIn(browser))
	if got.RPID != "auth.example.com" || got.UserVerification != "required" || len(got.Allow) != 0 {
		t.Errorf("to sign in: %+v", got)
	}
	ask(h.Confirm(browser, *o))
	if len(got.Allow) != 1 || got.Allow[0].ID != id || got.UserVerification != "required" {
		t.Errorf("to confirm: %+v", got)
	}
	if _, err := h.Confirm(browser, Owner{Person: "p_none"}); !errors.Is(err, ErrNotOffered) {
		t.Errorf("to confirm without a passkey: %v", err)
	}
}

func must(options json.RawMessage, err error) []byte {
	if err != nil {
		panic(err)
	}
	return options
}

// Each device does one thing that a good one would not.
func TestPasskeysThatAreRefused(t *testing.T) {
	wrong := map[string]struct {
		device passkeytest.Device
		want   error
		reason auth.Reason
	}{
		"asked by another page":        {passkeytest.Device{Origin: "https://auth.example.com.evil.example"}, ErrRefused, auth.ReasonTokenForeign},
		"asked without TLS":            {passkeytest.Device{Origin: "http://auth.example.com"}, ErrRefused, auth.ReasonTokenForeign},
		"asked at another port":        {passkeytest.Device{Origin: us + ":8443"}, ErrRefused, auth.ReasonTokenForeign},
		"asked by no page":             {passkeytest.Device{Origin: ""}, ErrRefused, auth.ReasonTokenForeign},
		"bound to another host":        {passkeytest.Device{Origin: us, Host: "example.com"}, ErrRefused, auth.ReasonTokenForeign},
		"nobody confirmed":             {passkeytest.Device{Origin: us, Unverified: true}, ErrRefused, auth.ReasonTokenForeign},
		"nobody touched it":            {passkeytest.Device{Origin: us, Absent: true}, ErrRefused, auth.ReasonTokenForeign},
		"asked in a frame":             {passkeytest.Device{Origin: us, Change: func(c map[string]any) { c["crossOrigin"] = true }}, ErrRefused, auth.ReasonTokenForeign},
		"asked for something else":     {passkeytest.Device{Origin: us, Change: func(c map[string]any) { c["type"] = "payment.get" }}, ErrRefused, auth.ReasonTokenForeign},
		"a challenge of its own":       {passkeytest.Device{Origin: us, Change: func(c map[string]any) { c["challenge"] = strings.Repeat("A", 75) }}, ceremony.ErrForeign, auth.ReasonTokenForeign},
		"a challenge in other letters": {passkeytest.Device{Origin: us, Change: func(c map[string]any) { c["challenge"] = c["challenge"].(string) + "=" }}, ceremony.ErrForeign, auth.ReasonTokenForeign},
		"no challenge":                 {passkeytest.Device{Origin: us, Change: func(c map[string]any) { delete(c, "challenge") }}, ceremony.ErrForeign, auth.ReasonTokenForeign},
	}
	for name, one := range wrong {
		h := newHouse(t, us)
		good := &passkeytest.Device{Origin: us}
		o := h.owner(t, "p_jane", good)
		refused := func(doing string, err error) {
			t.Helper()
			if !errors.Is(err, one.want) || auth.AsError(err).Reason != one.reason {
				t.Errorf("%s, %s: %v", name, doing, err)
			}
		}
		bad := one.device
		_, err := h.Registered(t.Context(), browser, *o, bad.Create(t, must(h.Register(browser, *o))))
		refused("register", err)

		bad = one.device
		bad.Keys = []*passkeytest.Key{{ID: good.Keys[0].ID, Handle: good.Keys[0].Handle, Signer: good.Keys[0].Signer, Host: "auth.example.com"}}
		if bad.Host != "" {
			bad.Keys[0].Host = bad.Host
		}
		_, _, err = h.SignedIn(t.Context(), browser, bad.Get(t, h.options(t)), h.find)
		refused("sign in", err)
		_, err = h.Confirmed(t.Context(), browser, *o, bad.Get(t, must(h.Confirm(browser, *o))))
		refused("confirm", err)
		if _, _, err := h.signIn(t, good); err != nil {
			t.Errorf("%s: and then the good one: %v", name, err)
		}
	}
}

func TestAChallengeIsForOnePersonPurposeAndBrowser(t *testing.T) {
	h := newHouse(t, us)
	jane, joe := &passkeytest.Device{Origin: us}, &passkeytest.Device{Origin: us}
	o, other := h.owner(t, "p_jane", jane), h.owner(t, "p_joe", joe)
	ctx := t.Context()

	answer := jane.Get(t, h.options(t))
	if _, _, err := h.SignedIn(ctx, "another browser", answer, h.find); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("in another browser: %v", err)
	}
	if _, err := h.Confirmed(ctx, browser, *o, answer); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("signing in taken for confirming: %v", err)
	}
	if _, _, err := h.SignedIn(ctx, browser, answer, h.find); err != nil {
		t.Errorf("as it was meant: %v", err)
	}
	if _, _, err := h.SignedIn(ctx, browser, answer, h.find); !errors.Is(err, ceremony.ErrOver) {
		t.Errorf("once more: %v", err)
	}

	answer = jane.Get(t, must(h.Confirm(browser, *o)))
	if _, _, err := h.SignedIn(ctx, browser, answer, h.find); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("confirming taken for signing in: %v", err)
	}
	if _, err := h.Confirmed(ctx, browser, *other, answer); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("of somebody else: %v", err)
	}
	if _, err := h.Confirmed(ctx, browser, *other, joe.Sign(t, joe.Keys[0], challengeOf(t, must(h.Confirm(browser, *o))))); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("somebody else's challenge: %v", err)
	}
	if _, err := h.Confirmed(ctx, browser, *o, joe.Sign(t, joe.Keys[0], challengeOf(t, must(h.Confirm(browser, *o))))); !errors.Is(err, ErrRefused) {
		t.Errorf("somebody else's passkey: %v", err)
	}

	answer = (&passkeytest.Device{Origin: us}).Create(t, must(h.Register(browser, *o)))
	if _, err := h.Registered(ctx, browser, *other, answer); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("a passkey for somebody else: %v", err)
	}
	h.now = h.now.Add(ceremony.Life)
	if _, err := h.Registered(ctx, browser, *o, answer); !errors.Is(err, ceremony.ErrOver) {
		t.Errorf("too late: %v", err)
	}
	answer = jane.Get(t, h.options(t))
	h.now = h.now.Add(ceremony.Life)
	if _, _, err := h.SignedIn(ctx, browser, answer, h.find); !errors.Is(err, ceremony.ErrOver) {
		t.Errorf("too late: %v", err)
	}
}

func challengeOf(t *testing.T, options []byte) string {
	t.Helper()
	var o struct{ Challenge string }
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	return o.Challenge
}

func TestSignaturesOfOthers(t *testing.T) {
	h := newHouse(t, us)
	jane, joe := &passkeytest.Device{Origin: us}, &passkeytest.Device{Origin: us, Ed25519: true}
	h.owner(t, "p_jane", jane)
	h.owner(t, "p_joe", joe)
	for name, key := range map[string]*passkeytest.Key{
		"another key under her id":     {ID: jane.Keys[0].ID, Handle: jane.Keys[0].Handle, Signer: joe.Keys[0].Signer, Host: "auth.example.com"},
		"her key, named as his":        {ID: joe.Keys[0].ID, Handle: joe.Keys[0].Handle, Signer: jane.Keys[0].Signer, Host: "auth.example.com"},
		"his key with her name on it":  {ID: joe.Keys[0].ID, Handle: jane.Keys[0].Handle, Signer: joe.Keys[0].Signer, Host: "auth.example.com"},
		"his key without a name on it": {ID: joe.Keys[0].ID, Signer: joe.Keys[0].Signer, Host: "auth.example.com"},
		"a key that nobody knows":      {ID: []byte("unknown"), Handle: jane.Keys[0].Handle, Signer: jane.Keys[0].Signer, Host: "auth.example.com"},
	} {
		if person, _, err := h.SignedIn(t.Context(), browser, jane.Sign(t, key, challengeOf(t, h.options(t))), h.find); !errors.Is(err, ErrRefused) || person != "" {
			t.Errorf("%s: %q, %v", name, person, err)
		}
	}
	// Every byte of what was signed counts.
	var answer struct {
		ID, RawID, Type string
		Response        map[string]string
	}
	for _, part := range []string{"authenticatorData", "signature"} {
		for i := range 37 {
			if err := json.Unmarshal(jane.Get(t, h.options(t)), &answer); err != nil {
				t.Fatal(err)
			}
			b, _ := base64.RawURLEncoding.DecodeString(answer.Response[part])
			b[i] ^= 1
			answer.Response[part] = base64.RawURLEncoding.EncodeToString(b)
			raw, _ := json.Marshal(map[string]any{"id": answer.ID, "rawId": answer.ID, "type": answer.Type, "response": answer.Response})
			if _, _, err := h.SignedIn(t.Context(), browser, raw, h.find); !errors.Is(err, ErrRefused) {
				t.Errorf("byte %d of %s: %v", i, part, err)
			}
		}
	}
}

func TestACountThatGoesBackwards(t *testing.T) {
	h := newHouse(t, us)
	d := &passkeytest.Device{Origin: us, Counts: 10}
	o := h.owner(t, "p_jane", d)
	copied := &passkeytest.Device{Origin: us, Keys: d.Keys, Counts: d.Counts}
	if _, key, err := h.signIn(t, d); err != nil || key.Counter != 12 {
		t.Fatal(key, err)
	}
	for range 2 { // 12 and no more
		if _, _, err := h.signIn(t, &passkeytest.Device{Origin: us, Keys: d.Keys, Counts: 11}); !errors.Is(err, ErrCopied) {
			t.Errorf("as far again: %v", err)
		}
	}
	if _, _, err := h.signIn(t, &passkeytest.Device{Origin: us, Keys: d.Keys}); !errors.Is(err, ErrCopied) {
		t.Errorf("a count that is no longer there: %v", err)
	}
	copied.Counts = 5
	if _, err := h.Confirmed(t.Context(), browser, *o, copied.Get(t, must(h.Confirm(browser, *o)))); !errors.Is(err, ErrCopied) {
		t.Errorf("confirming: %v", err)
	}
	if _, key, err := h.signIn(t, d); err != nil || key.Counter != 13 {
		t.Errorf("the one that counts on: %+v, %v", key, err)
	}
}

func TestPasskeysThatCannotBeAdded(t *testing.T) {
	h := newHouse(t, us)
	d := &passkeytest.Device{Origin: us}
	o := h.owner(t, "p_jane", d)
	// Two pages were open: the second answers when the first has been kept.
	options := must(h.Register(browser, *o))
	answer := (&passkeytest.Device{Origin: us}).Create(t, options)
	for len(o.Passkeys) < Most {
		h.add(t, o, newDevice())
	}
	if _, err := h.Registered(t.Context(), browser, *o, answer); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := h.Register(browser, *o); !errors.Is(err, ErrTooMany) {
		t.Errorf("to ask for one too many: %v", err)
	}

	h = newHouse(t, us)
	o = h.owner(t, "p_jane")
	options = must(h.Register(browser, *o))
	answer = d.Create(t, options)
	o.Passkeys = []auth.Passkey{{ID: d.Keys[len(d.Keys)-1].ID}}
	if _, err := h.Registered(t.Context(), browser, *o, answer); !errors.Is(err, ErrKnown) {
		t.Errorf("one that is there: %v", err)
	}
}

func newDevice() *passkeytest.Device { return &passkeytest.Device{Origin: us} }

func TestWherePasskeysAreOffered(t *testing.T) {
	for base, part := range map[string]string{
		"https://auth.example.com":  "",
		"https://auth.example.com/": "",
		"http://localhost:9000":     "",
		"http://a.localhost:9000":   "",
		"https://gatehouse":         "its full name",
		"http://127.0.0.1:9000":     "open these pages by localhost in place of 127.0.0.1",
		"https://192.0.2.7":         "192.0.2.7 is an address: open these pages by a name",
		"https://[2001:db8::1]:8":   "is an address",
		"http://auth.example.com":   "https:// only",
		"https://auth_1.example..":  "its full name",
	} {
		p := newHouse(t, base)
		offered, why := p.Offered()
		if offered != (part == "") || !strings.Contains(why, part) || offered != (why == "") {
			t.Errorf("%s: %v %q", base, offered, why)
		}
		if _, err := p.SignIn(browser); errors.Is(err, ErrNotOffered) == offered {
			t.Errorf("%s: %v", base, err)
		}
	}
	p := newHouse(t, "http://127.0.0.1:9000")
	_, err1 := p.Register(browser, Owner{})
	_, err2 := p.Registered(t.Context(), browser, Owner{}, nil)
	_, _, err3 := p.SignedIn(t.Context(), browser, nil, p.find)
	_, err4 := p.Confirm(browser, Owner{})
	_, err5 := p.Confirmed(t.Context(), browser, Owner{}, nil)
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, ErrNotOffered) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, c := range []Config{{}, {BaseURL: us, Name: "x"}, {BaseURL: "nowhere", Name: "x", Ceremonies: &ceremony.Ceremonies{}}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	h := newHouse(t, us)
	d := newDevice()
	o := h.owner(t, "p_jane", d)
	answer := d.Get(t, h.options(t))
	for name, raw := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("{"), "two": append(append([]byte{}, answer...), answer...), "a list": []byte("[]"), "empty": []byte("{}"),
		"huge": append(answer[:len(answer)-1:len(answer)-1], []byte(`,"x":"`+strings.Repeat("a", 64<<10)+`"}`)...),
	} {
		_, _, err1 := h.SignedIn(t.Context(), browser, raw, h.find)
		_, err2 := h.Registered(t.Context(), browser, *o, raw)
		_, err3 := h.Confirmed(t.Context(), browser, *o, raw)
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, ErrRefused) || auth.AsError(err).Reason != auth.ReasonMalformed {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	away := errors.New("the database is away")
	_, _, err := h.SignedIn(t.Context(), browser, answer, func(context.Context, []byte) (Owner, error) { return Owner{}, away })
	if !errors.Is(err, away) || errors.Is(err, ErrRefused) {
		t.Errorf("where nobody can be found: %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	h := newHouse(f, us)
	d := newDevice()
	o := h.owner(f, "p_jane", d)
	f.Add(d.Get(f, h.options(f)))
	f.Add(d.Create(f, must(h.Register(browser, Owner{Person: "p_joe"}))))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// The first seed is good once in its own browser; in this one nothing is.
		_, _, err1 := h.SignedIn(t.Context(), "another", raw, h.find)
		_, err2 := h.Registered(t.Context(), "another", *o, raw)
		_, err3 := h.Confirmed(t.Context(), "another", *o, raw)
		for _, err := range []error{err1, err2, err3} {
			if auth.AsError(err).Kind != auth.Unauthenticated {
				t.Fatalf("%q: %v", raw, err)
			}
		}
	})
}
