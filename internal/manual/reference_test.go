package manual

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// unzipped is what an embedded file was before it was compressed.
func unzipped(t *testing.T, compressed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What draws the reference is byte for byte what npm has under the version that is named beside it.
func TestRendererIsThePublishedOne(t *testing.T) {
	source, err := os.ReadFile("swagger-ui/SOURCE")
	if err != nil {
		t.Fatal(err)
	}
	sums := regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(source), -1)
	embedded, err := renderer.ReadDir("swagger-ui")
	if err != nil || len(sums) != len(embedded) {
		t.Fatalf("%d sums for %d files (%v)", len(sums), len(embedded), err)
	}
	for _, s := range sums {
		b, err := renderer.ReadFile("swagger-ui/" + s[2] + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(unzipped(t, b)); hex.EncodeToString(got[:]) != s[1] {
			t.Errorf("%s has the sum %x, want %s", s[2], got, s[1])
		}
	}
}

func TestReference(t *testing.T) {
	m := newManual(t, config(auth.Contracts...))
	s := webtest.Serve(t, web.Config{Own: m.Addresses(), Fallbacks: []web.Fallback{{Refuse: func(w http.ResponseWriter, r *web.Request, err error) {
		w.WriteHeader(web.Fail(w.Header(), r, err).Status)
	}}}})
	page := s.Send(t, "GET /docs/reference")
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := page.Header.Get("Content-Security-Policy"); got != policy {
		t.Errorf("its policy is %q", got)
	}
	if !strings.Contains(page.Body, `data-document="/openapi.yaml"`) || strings.Contains(page.Body, "style=") {
		t.Errorf("it does not name the document, or has an inline style:\n%s", page.Body)
	}
	assets := regexp.MustCompile(`(?:src|href)="(/docs/[^"]*-[0-9a-f]{12}\.(?:js|css))"`).FindAllStringSubmatch(page.Body, -1)
	if len(assets) != 3 {
		t.Fatalf("it is drawn with %v", assets)
	}
	for _, asset := range assets {
		small, whole := s.Send(t, "GET "+asset[1]+"\nAccept-Encoding: br, gzip"), s.Send(t, "GET "+asset[1])
		for _, a := range []webtest.Answer{small, whole} {
			if a.Status != http.StatusOK || a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || a.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: %d %v", asset[1], a.Status, a.Header)
			}
		}
		if small.Header.Get("Content-Encoding") != "gzip" || whole.Header.Get("Content-Encoding") != "" || string(unzipped(t, []byte(small.Body))) != whole.Body {
			t.Errorf("%s is not the same compressed and as it is", asset[1])
		}
	}
	if index := s.Send(t, "GET /docs/llms.txt").Body; !strings.Contains(index, "(https://api.example.com/openapi.yaml)") {
		t.Errorf("the index for machines does not lead to the document:\n%s", index)
	}
}

// Without a document nothing speaks of one.
func TestNoReference(t *testing.T) {
	c := config(auth.Contracts...)
	c.OpenAPI = ""
	m := newManual(t, c)
	if m.assets != nil {
		t.Error("there are files to draw nothing with")
	}
	for path := range m.documents {
		if text := m.text(t, path); strings.Contains(text, "openapi") || strings.Contains(text, "/docs/reference") {
			t.Errorf("%s speaks of it", path)
		}
	}
}
