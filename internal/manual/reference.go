package manual

import (
	"embed"
	"fmt"
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
	a, err := web.NewAsset(Root, file[strings.LastIndexByte(file, '/')+1:], mediaType, b)
	if err != nil {
		return "", fmt.Errorf("manual: %w", err)
	}
	m.assets[a.Path] = a
	return a.Path, nil
}
