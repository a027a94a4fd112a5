package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseEmail(t *testing.T) {
	for given, want := range map[string]string{
		"jane@example.com":           "jane@example.com",
		"  Jane.Doe+x@Example.COM\n": "jane.doe+x@example.com",
		"ÜMIT@bücher.example":        "ümit@bücher.example",
		"root@localhost":             "root@localhost",
		"":                           "",
		"jane":                       "",
		"@example.com":               "",
		"jane@":                      "",
		"jane@a@b":                   "",
		"jane doe@example.com":       "",
		"jane@.example.com":          "",
		"jane@example.com.":          "",
		"<jane@example.com>":         "",
		"jane@example.com\x00":       "",
		"jane\u202e@example.com":     "", // turns round what follows where it is shown
		"jane\u200b@example.com":     "", // is not seen at all
		"jane@exam\xffple.com":       "",
		strings.Repeat("a", 250) + "@example.com": "",
	} {
		got, err := ParseEmail(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", given, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v is not invalid", given, err)
		}
	}
}

func TestAnOperatorTokenHasOneSpelling(t *testing.T) {
	secret := strings.Repeat("s3", 16)
	text := FormatOperatorToken("ot_abcdefABCDEF", secret)
	id, p, err := ParseOperatorToken(text)
	if err != nil || id != "ot_abcdefABCDEF" || p.Reveal() != secret {
		t.Fatalf("got %s, %v, %v", id, p, err)
	}
	if got := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(got, secret) {
		t.Errorf("the secret is printed: %s", got)
	}
	for i := range text {
		for _, c := range []byte{'x', '_', ' ', 0} {
			if other := text[:i] + string(c) + text[i+1:]; other != text {
				if _, _, err := ParseOperatorToken(other); !errors.Is(err, ErrBadToken) {
					t.Errorf("%q: %v", other, err)
				}
			}
		}
		if _, _, err := ParseOperatorToken(text[:i]); !errors.Is(err, ErrBadToken) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if got := Masked("seen gko_ " + text + " here"); strings.Contains(got, secret) || !strings.Contains(got, "abcdefABCDEF***") {
		t.Errorf("masked it is %q", got)
	}
}

func FuzzParseOperatorToken(f *testing.F) {
	f.Add(FormatOperatorToken("ot_abcdefABCDEF", strings.Repeat("s3", 16)))
	f.Add("gko_")
	f.Fuzz(func(t *testing.T, s string) {
		id, p, err := ParseOperatorToken(s)
		if err != nil {
			if !errors.Is(err, ErrBadToken) || len(s) > 8 && strings.Contains(err.Error(), s) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again := FormatOperatorToken(id, p.Reveal()); again != s {
			t.Errorf("%q is written %q", s, again)
		}
	})
}

func FuzzParseCode(f *testing.F) {
	f.Add(FormatCode(strings.Repeat("s3", 16)))
	f.Add(" " + FormatCode(strings.Repeat("s3", 16)) + "\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		code, err := ParseCode(s)
		if err != nil {
			if !errors.Is(err, ErrBadLink) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if strings.TrimSpace(s) != code || FormatCode(code[:SecretLength]) != code {
			t.Errorf("%q is read as %q", s, code)
		}
	})
}
