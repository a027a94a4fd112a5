package secret

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"pgregory.net/rapid"
)

func TestMintUsesTheWholeAlphabetAndNothingElse(t *testing.T) {
	counts := map[rune]int{}
	for range 2000 {
		s := Mint(auth.SecretLength)
		if len(s) != auth.SecretLength || !auth.Alphanumeric(s) {
			t.Fatalf("Mint = %q", s)
		}
		for _, r := range s {
			counts[r]++
		}
	}
	// 64,000 letters over 62: 1,032 each, give or take 32. A bias of a modulo would show as 25 % more.
	for _, r := range auth.Alphabet {
		if n := counts[r]; n < 1032-6*32 || n > 1032+6*32 {
			t.Errorf("letter %c was drawn %d times of an expected 1032", r, n)
		}
	}
}

func TestDigestsOfDifferentPartsDiffer(t *testing.T) {
	m := NewMAC("p1", []byte("a key of the test"))
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.StringN(0, 4, 8), 0, 4).Draw(t, "a")
		b := rapid.SliceOfN(rapid.StringN(0, 4, 8), 0, 4).Draw(t, "b")
		same := len(a) == len(b)
		for i := range min(len(a), len(b)) {
			same = same && a[i] == b[i]
		}
		if (m.Sum(a...) == m.Sum(b...)) != same {
			t.Fatalf("%q and %q: equal digests %v, equal parts %v", a, b, !same, same)
		}
	})
}

func TestSealedTextOpensOnlyWhereItBelongs(t *testing.T) {
	key := mustParse(t, GenerateMasterKey())
	here := Label{Table: "keys", Row: "k1", Purpose: "signing", Algorithm: "EdDSA"}
	sealed := key.Seal(here, []byte("the working key"))
	if plain, err := key.Open(here, sealed); err != nil || string(plain) != "the working key" {
		t.Fatalf("Open = %q, %v", plain, err)
	}
	for _, other := range []Label{
		{"keyz", "k1", "signing", "EdDSA"},
		{"keys", "k2", "signing", "EdDSA"},
		{"keys", "k1", "refresh", "EdDSA"},
		{"keys", "k1", "signing", "HS256"},
		{"keysk1", "", "signing", "EdDSA"},
	} {
		if _, err := key.Open(other, sealed); err == nil {
			t.Errorf("sealed as %v, opened as %v", here, other)
		}
	}
	for i := range sealed {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := key.Open(here, bent); err == nil {
			t.Errorf("byte %d was changed, and the text opened", i)
		}
	}
	if _, err := mustParse(t, GenerateMasterKey()).Open(here, sealed); err == nil {
		t.Error("another key opened it")
	}
}

func TestAMasterKeyThatDoesNotFitIsNamed(t *testing.T) {
	right, wrong := mustParse(t, GenerateMasterKey()), mustParse(t, GenerateMasterKey())
	check := right.Check()
	if err := (Masters{Current: wrong, Previous: right}).Fits(right.ID, check); err != nil {
		t.Errorf("the previous key fits: %v", err)
	}
	err := (Masters{Current: wrong}).Fits(right.ID, check)
	if err == nil || !strings.Contains(err.Error(), right.ID) || !strings.Contains(err.Error(), wrong.ID) {
		t.Errorf("want an error that names both keys, got %v", err)
	}
}

func TestParseMasterKey(t *testing.T) {
	good := GenerateMasterKey()
	for _, s := range []string{good, good + "\n", good + "\r\n"} {
		if _, err := ParseMasterKey(s); err != nil {
			t.Errorf("ParseMasterKey(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", good[:42], good + "A", good + "\n\n", "\n" + good, good[:20] + "\n" + good[20:], strings.Repeat("=", 43)} {
		if _, err := ParseMasterKey(s); err == nil {
			t.Errorf("ParseMasterKey(%q) took it", s)
		} else if len(s) > 10 && strings.Contains(err.Error(), s) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestKeysPrintTheirIDAlone(t *testing.T) {
	text := GenerateMasterKey()
	key := mustParse(t, text)
	mac := NewMAC("pepper-1", []byte("very secret pepper"))
	for _, got := range []string{fmt.Sprintf("%v %+v %#v", key, key, key), fmt.Sprintf("%v %+v %#v", mac, mac, mac)} {
		if strings.Contains(got, text) || strings.Contains(got, "very secret") {
			t.Errorf("printed a secret: %s", got)
		}
	}
}

func mustParse(t *testing.T, s string) *MasterKey {
	t.Helper()
	k, err := ParseMasterKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func BenchmarkDigest(b *testing.B) {
	m := NewMAC("p", []byte("a key"))
	b.ReportAllocs()
	for b.Loop() {
		m.Digest(auth.APIKey, "abcdefghijkl", "0123456789abcdef0123456789abcdef")
	}
}

func TestWhatIsHandedOutComesBackAsItWas(t *testing.T) {
	sum := Sum(NewMAC("p", []byte("a key")).Sum)
	handed := sum.HandOut("100001", "accounts", "ada")
	if text, ok := sum.TakeBack(handed, "accounts", "ada"); !ok || text != "100001" {
		t.Errorf("it came back as %q (%v)", text, ok)
	}
	if text, ok := sum.TakeBack(sum.HandOut("")); !ok || text != "" {
		t.Errorf("nothing came back as %q (%v)", text, ok)
	}
	for what, foreign := range map[string]struct {
		handed string
		about  []string
	}{
		"another list":           {handed, []string{"sessions", "ada"}},
		"another person":         {handed, []string{"accounts", "eve"}},
		"less said":              {handed, []string{"accounts"}},
		"the place in the about": {sum.HandOut("", "accounts", "ada", "100001"), []string{"accounts", "ada"}},
		"parts run together":     {handed, []string{"accountsada"}},
		"another key":            {Sum(NewMAC("p", []byte("b key")).Sum).HandOut("100001", "accounts", "ada"), []string{"accounts", "ada"}},
		"a line break inside":    {handed[:7] + "\n" + handed[7:], []string{"accounts", "ada"}},
		"padding":                {handed + "=", []string{"accounts", "ada"}},
		"a letter more":          {handed + "A", []string{"accounts", "ada"}},
		"nothing":                {"", nil},
		"no proof":               {"MTAwMDAx", nil},
	} {
		if text, ok := sum.TakeBack(foreign.handed, foreign.about...); ok || text != "" {
			t.Errorf("%s: it came back as %q", what, text)
		}
	}
}
