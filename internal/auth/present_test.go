package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const someID, someSecret = "abcdefghijkl", "0123456789ABCDEFGHIJKLMNOPQRSTUV"

func TestAKeyHasOneSpelling(t *testing.T) {
	key := FormatKey("gk", Live, someID, someSecret)
	if len(key) != len("gk_live_")+12+32+1+6 {
		t.Errorf("a key of %d letters: %s", len(key), key)
	}
	p, err := ParseKey("gk", Live, key)
	if err != nil || p.ID != someID || p.Reveal() != someSecret || p.Kind != APIKey {
		t.Fatalf("ParseKey = %v, %v", p, err)
	}
	for i := range key {
		for _, c := range []byte("0aZ_-.= \n") {
			bent := key[:i] + string(c) + key[i+1:]
			if bent == key {
				continue
			}
			if _, err := ParseKey("gk", Live, bent); err == nil {
				t.Errorf("with %q at %d it is a key too", c, i)
			} else if strings.Contains(err.Error(), someSecret) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		}
		if _, err := ParseKey("gk", Live, key[:i]); err == nil {
			t.Errorf("cut at %d it is a key too", i)
		}
	}
}

func TestWhyAKeyIsRefused(t *testing.T) {
	for _, c := range []struct {
		key  string
		want Reason
	}{
		{"", ReasonNoCredential},
		{"x", ReasonMalformed},
		{"sk_live_" + someID + someSecret + "_000000", ReasonMalformed},
		{"gk_live_" + someID + someSecret + "_000000", ReasonChecksum},
		{FormatKey("gk", Test, someID, someSecret), ReasonWrongEnvironment},
		{FormatKey("gk", Live, someID, someSecret) + "0", ReasonMalformed},
		{" " + FormatKey("gk", Live, someID, someSecret), ReasonMalformed},
	} {
		_, err := ParseKey("gk", Live, c.key)
		if !errors.Is(err, ErrBadCredential) || AsError(err).Reason != c.want {
			t.Errorf("ParseKey(%q): %v, want reason %s", c.key, err, c.want)
		}
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	p := NewPresented(Login, someID, "u_"+someID, someSecret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{p, &p, struct{ p Presented }{p}, []Presented{p}} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, someSecret) || strings.Contains(got, fmt.Sprintf("%x", someSecret)) {
				t.Errorf("%s printed the secret: %s", verb, got)
			}
		}
	}
}

func TestParseBasic(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct {
		header     string
		identifier string
		secret     string
		want       Reason
	}{
		{"Basic " + b64([]byte("u_"+someID+":pass:word")), "u_" + someID, "pass:word", ""},
		{"bAsIc " + b64([]byte("u_"+someID+":p")), "u_" + someID, "p", ""},
		{"Basic  " + b64([]byte("bob:p")), "bob", "p", ""}, // unknown, and costs what an unknown one costs
		{"", "", "", ReasonNoCredential},
		{"Basic", "", "", ReasonMalformed},
		{"Bearer x", "", "", ReasonMalformed},
		{"Basic " + b64([]byte("nocolon")), "", "", ReasonMalformed},
		{"Basic " + b64([]byte(":p")), "", "", ReasonNoCredential},
		{"Basic " + b64([]byte("u:")), "", "", ReasonNoCredential},
		{"Basic " + b64([]byte("u:p\x00")), "", "", ReasonMalformed},
		{"Basic " + b64([]byte("u:\xff")), "", "", ReasonMalformed},
		{"Basic " + b64([]byte("test_u_"+someID+":p")), "", "", ReasonWrongEnvironment},
		{"Basic " + strings.TrimRight(b64([]byte("u:p4")), "="), "", "", ReasonMalformed},
		{"Basic " + b64([]byte("u:"+strings.Repeat("p", MaxPresented+1))), "", "", ReasonMalformed},
		{"Basic " + strings.Repeat("A", 1<<20), "", "", ReasonMalformed},
	} {
		p, err := ParseBasic(Basic, Live, c.header)
		if c.want == "" {
			if err != nil || p.Identifier != c.identifier || p.Reveal() != c.secret {
				t.Errorf("ParseBasic(%.40q) = %q, %q, %v", c.header, p.Identifier, p.Reveal(), err)
			}
		} else if !errors.Is(err, ErrBadCredential) || AsError(err).Reason != c.want {
			t.Errorf("ParseBasic(%.40q): %v, want reason %s", c.header, err, c.want)
		}
	}
}

// What ended with byte 72, or with NUL, elsewhere: here every byte of a password counts.
func TestEveryByteOfAPasswordCounts(t *testing.T) {
	long := strings.Repeat("p", 72)
	for _, pair := range [][2]string{{long, long + "JUNK"}, {"pass", "pass "}, {"é", "e\u0301"}, {"P", "p"}} {
		a, errA := ParseUser(Login, Live, "u_"+someID, pair[0])
		b, errB := ParseUser(Login, Live, "u_"+someID, pair[1])
		if errA != nil || errB != nil || a.Reveal() == b.Reveal() {
			t.Errorf("%q and %q are one password", pair[0], pair[1])
		}
	}
}

func TestParseBearer(t *testing.T) {
	for _, c := range []struct {
		values []string
		token  string
		sent   bool
	}{
		{[]string{"Bearer abc"}, "abc", false},
		{[]string{"bEARER abc"}, "abc", false},
		{[]string{"Bearer  abc"}, "abc", false},
		{nil, "", false},
		{[]string{""}, "", false},
		{[]string{"Basic abc"}, "", false},
		{[]string{"Bearer"}, "", true},
		{[]string{"Bearer "}, "", true},
		{[]string{"Bearer abc", "Bearer abc"}, "", true},
		{[]string{"Bearer abc", ""}, "", true},
	} {
		got, err := ParseBearer(c.values)
		if got != c.token || (err == nil) != (c.token != "") {
			t.Errorf("ParseBearer(%q) = %q, %v", c.values, got, err)
		}
		if err != nil && AsError(err).TokenSent != c.sent {
			t.Errorf("ParseBearer(%q): says a token was sent: %v", c.values, !c.sent)
		}
	}
}

func TestParseRate(t *testing.T) {
	for _, s := range []string{"10/s", "600/min", "100/h", "5000/d", "0"} {
		r, err := ParseRate(s)
		if err != nil || r.String() != s {
			t.Errorf("ParseRate(%q) = %v, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "10", "10/", "/s", "-1/s", "0/s", "+1/s", "01/s", "1.5/s", "1e3/s", "10/m", "10/sec", " 10/s", "10 /s", "9999999999999/s"} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("ParseRate(%q) = %v", s, r)
		}
	}
}

func TestPickScope(t *testing.T) {
	const have = "a b c:d"
	for asked, want := range map[string]string{
		"": have, "a": "a", "c:d a": "a c:d", "b b  b": "b", "a b c:d": have,
		" ": "", "A": "", "a x": "", "a,b": "", "a\tb": "", strings.Repeat("a ", 600): "",
	} {
		if got, ok := PickScope(have, asked); got != want || ok != (want != "") {
			t.Errorf("PickScope(%q, %.20q) = %q, %v, want %q", have, asked, got, ok, want)
		}
	}
	if got, ok := PickScope("", ""); got != "" || !ok {
		t.Errorf("nothing of nothing: %q, %v", got, ok)
	}
}

func TestErrorsSayToCallersWhatAllAreTold(t *testing.T) {
	about := Subject{Account: 100001, Credential: someID}
	e := ErrBadCredential.Because(ReasonRevoked).Of(about).With(Limit{Name: "x", Quota: 1})
	wrapped := fmt.Errorf("exchange: %w", e)
	if !errors.Is(wrapped, ErrBadCredential) || errors.Is(wrapped, ErrBadToken) || AsError(wrapped).About != about {
		t.Errorf("%#v", wrapped)
	}
	if ErrBadCredential.Reason != "" || ErrBadCredential.About != (Subject{}) {
		t.Error("the sentinel was changed")
	}
	if got := AsError(errors.New("disk on fire")); got.Kind != Internal || strings.Contains(got.Msg, "fire") {
		t.Errorf("what nobody classified is shown: %+v", got)
	}
}

func TestTighter(t *testing.T) {
	wide, narrow := Limit{Name: "wide", Quota: 100, Remaining: 90}, Limit{Name: "narrow", Quota: 10, Remaining: 5}
	refused := Limit{Name: "refused", Quota: 1000, Remaining: 0, Refused: true}
	for _, c := range []struct{ a, b, want Limit }{
		{wide, narrow, narrow},
		{narrow, wide, narrow},
		{Limit{}, wide, wide},
		{wide, Limit{}, wide},
		{narrow, refused, refused},
		{refused, narrow, refused},
	} {
		if got := Tighter(c.a, c.b); got != c.want {
			t.Errorf("Tighter(%s, %s) = %s", c.a.Name, c.b.Name, got.Name)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(FormatKey("gk", Live, someID, someSecret))
	f.Add("gk_live_")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseKey("gk", Live, s)
		if err == nil && FormatKey("gk", Live, p.ID, p.Reveal()) != s {
			t.Fatalf("%q has a second spelling", s)
		}
	})
}

func FuzzParseBasic(f *testing.F) {
	f.Add("Basic " + base64.StdEncoding.EncodeToString([]byte("u_"+someID+":secret")))
	f.Add("Basic ====")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseBasic(Basic, Live, s)
		if err != nil {
			return
		}
		again, err := ParseBasic(Basic, Live, "Basic "+base64.StdEncoding.EncodeToString([]byte(p.Identifier+":"+p.Reveal())))
		if err != nil || again.Identifier != p.Identifier || again.Reveal() != p.Reveal() {
			t.Fatalf("%q does not survive: %v", s, err)
		}
	})
}

func FuzzParseClientBasic(f *testing.F) {
	f.Add("Basic " + base64.StdEncoding.EncodeToString([]byte("u%5F"+someID+":se+cret%3A")))
	f.Add("Basic JTo=")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseClientBasic(Live, s)
		if err != nil {
			return
		}
		again, err := ParseClientBasic(Live, "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(p.Identifier)+":"+url.QueryEscape(p.Reveal()))))
		if err != nil || again.Identifier != p.Identifier || again.Reveal() != p.Reveal() {
			t.Fatalf("%q does not survive: %v", s, err)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	f.Add("600/min")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRate(s); err == nil && r.String() != s {
			t.Fatalf("%q is also spelled %q", s, r)
		}
	})
}

func FuzzParseScope(f *testing.F) {
	f.Add("a b")
	f.Fuzz(func(t *testing.T, s string) {
		scope, err := ParseScope([]string{s})
		if err != nil {
			return
		}
		if again, err := ParseScope([]string{scope}); err != nil || again != scope {
			t.Fatalf("%q: %q, then %q, %v", s, scope, again, err)
		}
	})
}
