package auth

import (
	"strings"
	"testing"
)

func TestMasked(t *testing.T) {
	const id, secret = "aB3dE5gH7jK9", "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	key := FormatKey("gk", Live, id, secret)
	for _, c := range []struct{ s, want string }{
		{"/api/v1/products", "/api/v1/products"},
		{"/authentication/" + key, "/authentication/gk_live_aB3dE5gH7jK9***"},
		{"/a/" + FormatKey("acme", Test, id, secret) + "/b", "/a/acme_test_aB3dE5gH7jK9***/b"},
		{key + " " + key, "gk_live_aB3dE5gH7jK9*** gk_live_aB3dE5gH7jK9***"},
		{"curl/8 eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJnYXRlaG91c2UiLCJzdWIiOiIxMDAwMDEifQ.c2ln", "curl/8 ***"},
		{"/eyJ/short_live_stream", "/eyJ/short_live_stream"},
		{"/my_test_file.json", "/my_test_file.json"},
	} {
		if got := Masked(c.s); got != c.want {
			t.Errorf("Masked(%q) = %q, want %q", c.s, got, c.want)
		}
	}
}

func TestLoggedPath(t *testing.T) {
	for _, c := range []struct{ p, want string }{
		{"/api/orders/7", "/api/orders/7"},
		{"/api/orders?api_key=s3cr3t", "/api/orders"},
		{"/api/orders#s3cr3t", "/api/orders"},
		{"http://u:s3cr3t@api.example.com/orders", "api.example.com/orders"},
		{"", ""},
		{"*", "*"},
	} {
		if got := LoggedPath(c.p); got != c.want {
			t.Errorf("LoggedPath(%q) = %q, want %q", c.p, got, c.want)
		}
	}
}

func FuzzMasked(f *testing.F) {
	const secret = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	f.Add("/a/", "/b")
	f.Add("_live_", "_test_")
	f.Add("eyJ", ".")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, secret) {
			return
		}
		if got := Masked(before + FormatKey("gk", Live, "aB3dE5gH7jK9", secret) + after); strings.Contains(got, secret) {
			t.Errorf("the secret is still in %q", got)
		}
	})
}

func BenchmarkLoggedPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		LoggedPath("/api/v1/products/1234567/variants")
	}
}
