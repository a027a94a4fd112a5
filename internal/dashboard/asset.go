package dashboard

import (
	"embed"

	"github.com/gatehouse/gatehouse/internal/web"
)

//go:embed static/*.css static/*.js static/*.svg static/vendor/*.gz
var static embed.FS

const (
	styles  = "text/css; charset=utf-8"
	scripts = "text/javascript; charset=utf-8"
)

// newAssets are the files that pages are made of, by what templates call them.
func newAssets() *web.Assets {
	return web.NewAssets(Root+"/static", static, map[string]web.AssetFile{
		"style":      {From: "static/style.css", Name: "style.css", MediaType: styles},
		"script":     {From: "static/dashboard.js", Name: "dashboard.js", MediaType: scripts},
		"passkey":    {From: "static/passkey.js", Name: "passkey.js", MediaType: scripts},
		"chart":      {From: "static/chart.js", Name: "chart.js", MediaType: scripts},
		"icon":       {From: "static/icon.svg", Name: "icon.svg", MediaType: "image/svg+xml"},
		"htmx":       {From: "static/vendor/htmx.min.js.gz", Name: "htmx.js", MediaType: scripts},
		"uplot":      {From: "static/vendor/uPlot.iife.min.js.gz", Name: "uplot.js", MediaType: scripts},
		"uplotStyle": {From: "static/vendor/uPlot.min.css.gz", Name: "uplot.css", MediaType: styles},
	})
}
