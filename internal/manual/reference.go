package manual

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/internal/web"
)

// renderer draws the reference: Swagger UI, as scripts/swagger-ui left it.
//
//go:embed swagger-ui/*.gz reference.js
var renderer embed.FS

// referencePage shows the OpenAPI document. It is the one page that needs a script.
const referencePage = "reference"

// referencePolicy allows the renderer, the icons in its style sheet, and that it fetches the document. It sets styles through
// the object model, which needs no leave.
var referencePolicy = []string{"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}

// An asset is a file that never changes: its address has its hash.
type asset struct {
	mediaType  string
	compressed []byte
	plain      []byte // kept too: nobody can have it unpacked again and again
}

// A drawing is what the page of the reference is drawn with: addresses of assets.
type drawing struct {
	Style   string
	Scripts []string // in this order
}

// reference makes the page of the OpenAPI document and what it is drawn with.
func (m *Manual) reference(p page) error {
	style, err := m.asset("swagger-ui/swagger-ui.css.gz", "text/css; charset=utf-8")
	if err != nil {
		return err
	}
	script, err := m.asset("swagger-ui/swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8")
	if err != nil {
		return err
	}
	start, err := m.asset("reference.js", "text/javascript; charset=utf-8")
	if err != nil {
		return err
	}
	body, err := m.framed(p, "", &drawing{Style: style, Scripts: []string{script, start}})
	if err != nil {
		return err
	}
	m.ready[Root+"/"+p.Name] = document{"text/html; charset=utf-8", body, web.Tag(body), referencePolicy}
	return nil
}

// asset has an embedded file served, and returns where.
func (m *Manual) asset(file, mediaType string) (path string, err error) {
	b, err := renderer.ReadFile(file)
	if err != nil {
		return "", err
	}
	name, isCompressed := strings.CutSuffix(file[strings.LastIndexByte(file, '/')+1:], ".gz")
	if !isCompressed {
		var c bytes.Buffer
		w := gzip.NewWriter(&c)
		_, _ = w.Write(b) // to memory: it cannot fail
		_ = w.Close()
		b = c.Bytes()
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return "", fmt.Errorf("manual: %s: %w", file, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return "", fmt.Errorf("manual: %s: %w", file, err)
	}
	sum := sha256.Sum256(plain)
	dot := strings.LastIndexByte(name, '.')
	path = fmt.Sprintf("%s/%s-%s%s", Root, name[:dot], hex.EncodeToString(sum[:6]), name[dot:])
	m.assets[path] = asset{mediaType, b, plain}
	return path, nil
}

func (a asset) serve(w http.ResponseWriter, r *web.Request) error {
	h := w.Header()
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cache-Control"] = []string{"public, max-age=31536000, immutable"}
	h["Vary"] = []string{"Accept-Encoding"}
	h["Content-Type"] = []string{a.mediaType}
	body := a.plain
	if takesGzip(r.Header["Accept-Encoding"]) {
		h["Content-Encoding"] = []string{"gzip"}
		body = a.compressed
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body)
	return nil
}

// takesGzip says whether an Accept-Encoding names gzip and does not refuse it (RFC 9110, section 12.5.3).
func takesGzip(values []string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			coding, weight, _ := strings.Cut(one, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}
