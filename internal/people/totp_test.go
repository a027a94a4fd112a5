package people

import (
	"strings"
	"testing"
	"time"
)

// The test vectors of RFC 6238, appendix B, for SHA-1: they have eight digits, of which ours are the last six.
func TestRFC6238(t *testing.T) {
	key := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		now := time.Unix(at, 0)
		code := totpCode(key, totpStep(now))
		if code != want[2:] {
			t.Errorf("at %d: got %s, want %s", at, code, want[2:])
		}
		step := at / 30
		for off, counts := range map[time.Duration]bool{0: true, 30 * time.Second: true, -30 * time.Second: true, time.Minute: false, -time.Minute: false} {
			if got := matchTOTP(key, code, now.Add(off), 0); (got == step) != counts && now.Add(off).Unix() > 0 {
				t.Errorf("at %d the code %v away: got step %d", at, off, got)
			}
		}
		if got := matchTOTP(key, code, now, step); got != 0 {
			t.Errorf("at %d a code that was used counts, as of step %d", at, got)
		}
	}
}

func TestRecoveryCodesAreDrawnEvenly(t *testing.T) {
	drawn := mint(recoveryAlphabet, 31_000)
	for _, c := range recoveryAlphabet {
		if n := strings.Count(drawn, string(c)); n < 800 || n > 1200 { // six standard deviations of 1,000
			t.Errorf("%c comes %d times in 31,000", c, n)
		}
	}
	for typed, want := range map[string]string{
		"abcde-fghjk": "abcdefghjk", " ABCDE FGHJK ": "abcdefghjk", "abcdefghjk": "abcdefghjk", "abcde-fghj": "", "abcde-fghjk2": "", "abcde-fghj0": "", "": "",
	} {
		if got := asRecoveryCode(typed); got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
	for typed, want := range map[string]string{"123456": "123456", " 123 456": "123456", "12345": "", "1234567": "", "12345a": "", "": "", "１２３４５６": ""} {
		if got := digits(typed); got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(hashPassword("x", Cost{Memory: 8, Time: 1, Threads: 1}))
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err != nil {
			return
		}
		if h.String() != s {
			t.Errorf("%q is written %q", s, h.String())
		}
		if h.Memory > 256*1024 || h.Time > 16 {
			t.Errorf("%q costs %+v", s, h.Cost)
		}
	})
}
