package manual

import (
	"embed"

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

// newAssets are the files that the reference is drawn with.
func newAssets() *web.Assets {
	const script = "text/javascript; charset=utf-8"
	return web.NewAssets(Root+"/static", renderer, map[string]web.AssetFile{
		"style":  {From: "swagger-ui/swagger-ui.css.gz", Name: "swagger-ui.css", MediaType: "text/css; charset=utf-8"},
		"script": {From: "swagger-ui/swagger-ui-bundle.js.gz", Name: "swagger-ui-bundle.js", MediaType: script},
		"start":  {From: "reference.js", Name: "reference.js", MediaType: script},
	})
}

// reference makes the page of the OpenAPI document.
func (m *Manual) reference(p page) ([]byte, error) {
	at, err := m.assets.Paths()
	if err != nil {
		return nil, err
	}
	return m.framed(p, "", &drawing{Style: at["style"], Scripts: []string{at["script"], at["start"]}})
}
