package dashboard

import (
	"embed"
	"fmt"

	"github.com/gatehouse/gatehouse/internal/web"
)

//go:embed static/*.css static/*.js static/*.svg static/vendor/*.gz
var static embed.FS

// assets are the files that pages are made of.
type assets struct {
	byName map[string]web.Asset
	paths  map[string]string // where each is, for templates
}

const (
	styles  = "text/css; charset=utf-8"
	scripts = "text/javascript; charset=utf-8"
)

// files are they, by what templates call them.
var files = map[string]struct{ path, name, mediaType string }{
	"style":      {"static/style.css", "style.css", styles},
	"script":     {"static/dashboard.js", "dashboard.js", scripts},
	"passkey":    {"static/passkey.js", "passkey.js", scripts},
	"chart":      {"static/chart.js", "chart.js", scripts},
	"icon":       {"static/icon.svg", "icon.svg", "image/svg+xml"},
	"htmx":       {"static/vendor/htmx.min.js.gz", "htmx.js.gz", scripts},
	"uplot":      {"static/vendor/uPlot.iife.min.js.gz", "uplot.js.gz", scripts},
	"uplotStyle": {"static/vendor/uPlot.min.css.gz", "uplot.css.gz", styles},
}

func newAssets() (assets, error) {
	a := assets{byName: make(map[string]web.Asset), paths: make(map[string]string)}
	for name, file := range files {
		b, err := static.ReadFile(file.path)
		if err != nil {
			return a, err
		}
		asset, err := web.NewAsset(Root+"/static", file.name, file.mediaType, b)
		if err != nil {
			return a, fmt.Errorf("dashboard: %w", err)
		}
		a.byName[name], a.paths[name] = asset, asset.Path
	}
	return a, nil
}
