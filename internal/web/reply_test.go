package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestWriteLimit(t *testing.T) {
	for _, c := range []struct {
		limit       auth.Limit
		policy, now string
	}{
		{auth.Limit{}, "", ""},
		{
			auth.Limit{Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Remaining: 99, Reset: 100 * time.Millisecond},
			`"exchange_per_address";q=100;w=10`, `"exchange_per_address";r=99;t=1`,
		},
		{auth.Limit{Name: "n", Quota: 1, Window: 1500 * time.Millisecond, Reset: time.Second}, `"n";q=1;w=2`, `"n";r=0;t=1`},
		{auth.Limit{Name: "n", Quota: 1, Window: time.Second + 1, Reset: -time.Second}, `"n";q=1;w=2`, `"n";r=0;t=0`},
		{auth.Limit{Name: "n", Quota: -1, Remaining: -1}, `"n";q=0;w=0`, `"n";r=0;t=0`},
		{auth.Limit{Name: "a\"b\\c\r\nX: yé"}, `"a\"b\\c??X: y??";q=0;w=0`, `"a\"b\\c??X: y??";r=0;t=0`},
		{
			auth.Limit{Name: strings.Repeat("n", 200), Quota: 1, Window: time.Hour, Remaining: 1},
			`"` + strings.Repeat("n", 200) + `";q=1;w=3600`, `"` + strings.Repeat("n", 200) + `";r=1;t=0`,
		},
	} {
		h := make(http.Header)
		WriteLimit(h, c.limit)
		if policy, now := h.Get("RateLimit-Policy"), h.Get("RateLimit"); policy != c.policy || now != c.now {
			t.Errorf("%+v: got %s and %s, want %s and %s", c.limit, policy, now, c.policy, c.now)
		}
	}
}

func TestRetryAfterIsAtLeastASecond(t *testing.T) {
	for after, want := range map[time.Duration]string{
		0: "1", -time.Hour: "1", 1: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	} {
		h := make(http.Header)
		writeRetryAfter(h, after)
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: got %s, want %s", after, got, want)
		}
	}
}

// Whatever a configuration holds, a header of ours is one line of printable ASCII, and its quotes match.
func FuzzHeaderValues(f *testing.F) {
	f.Add("exchange_per_address", "gatehouse")
	f.Add("a\"b", "c\\d\r\nSet-Cookie: e")
	f.Add("\x00\xff", "é\u2028")
	f.Fuzz(func(t *testing.T, name, realm string) {
		h := make(http.Header)
		WriteLimit(h, auth.Limit{Name: name})
		values := []string{h.Get("RateLimit"), h.Get("RateLimit-Policy"), BasicChallenge(realm)}
		b := NewBearer(realm)
		for _, reason := range append([]auth.Reason{""}, auth.Reasons...) {
			for _, sent := range []bool{false, true} {
				for _, proof := range []bool{false, true} {
					b.Challenge(h, &auth.Error{Reason: reason, TokenSent: sent, Proof: proof})
					values = append(values, h.Get("WWW-Authenticate"))
				}
			}
		}
		for _, v := range values {
			quotes := 0
			for i := 0; i < len(v); i++ {
				switch c := v[i]; {
				case c < ' ' || c > '~':
					t.Fatalf("%q has %q", v, c)
				case c == '\\':
					i++
				case c == '"':
					quotes++
				}
			}
			if quotes%2 != 0 {
				t.Errorf("%q: quotes do not match", v)
			}
		}
	})
}
