package proof

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	// RFC 8037, appendix A.2.
	ed  = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	edD = `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"`
	// RFC 7515, appendix A.3.
	ec = `"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
)

// rs is a public key of RSA with so many bytes.
func rs(bytes int) string {
	n := strings.Repeat("\xff", bytes)
	return `"kty":"RSA","e":"AQAB","n":"` + b64(n) + `"`
}

func TestKeys(t *testing.T) {
	for raw, want := range map[string]string{
		`{"keys":[{` + ed + `}]}`: `{"keys":[{"use":"sig","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		` {` + ed + `} `:          `{"keys":[{"use":"sig","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"more":1,"keys":[{"kid":"a","alg":"EdDSA","use":"sig","key_ops":["verify"],` + ed + `},{"kid":"b","x5u":"https://evil.example/",` + rs(256) + `}]}`: `{"keys":[{"use":"sig","kty":"OKP","kid":"a","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},` +
			`{"use":"sig","kty":"RSA","kid":"b","n":"` + b64(strings.Repeat("\xff", 256)) + `","e":"AQAB"}]}`,
	} {
		got, err := ParseKeys([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", raw, diff)
		}
		if again, err := ParseKeys([]byte(got)); err != nil || again != got {
			t.Errorf("%s, once more: %s, %v", got, again, err)
		}
	}
	both, err := ParseKeys([]byte(`{"keys":[{"kid":"a",` + ed + `},{"kid":"b",` + ec + `}]}`))
	if diff := cmp.Diff([]string{"a", "b"}, KeyNames(both)); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	one, err := ParseKeys([]byte(`{` + ed + `}`))
	if diff := cmp.Diff([]string{"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}, KeyNames(one)); err != nil || diff != "" { // RFC 8037, appendix A.3
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if KeyNames("") != nil {
		t.Error("nobody has keys")
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	var nine []string
	for i := range 9 {
		nine = append(nine, fmt.Sprintf(`{"kid":"%d",%s}`, i, ed))
	}
	for raw, want := range map[string]string{
		``:            "no JWK set",
		`[]`:          "no JWK set",
		`{}`:          "1 to 8 keys; here are 0",
		`{"keys":[]}`: "1 to 8 keys; here are 0",
		`{"keys":[` + strings.Join(nine, ",") + `]}`: "1 to 8 keys; here are 9",
		`{"keys":[{` + ed + `}],"keys":[]}`:          "no JWK set",
		`{"keys":[{` + ed + edD + `}]}`:              "key 1 is private",
		`{` + ed + edD + `}`:                         "key 1 is private",
		`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`:    "key 1 is private or a secret",
		`{"keys":[{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`: "key 1 cannot be read",
		`{"keys":[{"kid":"a",` + ed + `},{"kty":"new"}]}`:                                           "key 2 cannot be read",
		`{"keys":[{"kid":"a",` + ed + `},{` + ec + `}]}`:                                            "key 2 has no kid",
		`{"keys":[{"kid":"a",` + ed + `},{"kid":"a",` + ec + `}]}`:                                  `two keys have the kid "a"`,
		`{"keys":[{"kid":"a b",` + ed + `}]}`:                                                       "kid that is not up to 256 visible",
		`{"keys":[{"alg":"ES256",` + ed + `}]}`:                                                     "another alg than it can be used with",
		`{"keys":[{"alg":"HS256",` + rs(256) + `}]}`:                                                "another alg than it can be used with",
		`{"keys":[{"use":"enc",` + ed + `}]}`:                                                       "not for signatures",
		`{"keys":[{` + rs(128) + `}]}`:                                                              "key 1 ",
		`{"keys":[{` + rs(513) + `}]}`:                                                              "key 1 ",
		`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}]}`: "key 1 ",
		strings.Repeat(" ", maxKeySet+1): "at most 65536 bytes",
	} {
		_, err := ParseKeys([]byte(raw))
		if !errors.Is(err, auth.ErrInvalid) || !strings.Contains(auth.AsError(err).Msg, want) || strings.Contains(err.Error(), "nWGxne") {
			t.Errorf("%.100s: %v, want …%s…", raw, err, want)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(`{"keys":[{"kid":"a",` + ed + `},{"kid":"b",` + ec + `}]}`)
	f.Add(`{` + rs(256) + `}`)
	f.Fuzz(func(t *testing.T, raw string) {
		kept, err := ParseKeys([]byte(raw))
		if err != nil {
			return
		}
		if again, err := ParseKeys([]byte(kept)); err != nil || again != kept {
			t.Fatalf("%q: %q, then %q, %v", raw, kept, again, err)
		}
		if len(KeyNames(kept)) == 0 || strings.Contains(kept, `"d":`) {
			t.Fatalf("%q: %q", raw, kept)
		}
	})
}
