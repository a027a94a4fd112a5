package dashboard

import (
	"fmt"
	"html/template"
	"strings"

	"rsc.io/qr"
)

// qrCode draws text as a QR code in the page itself: what it says goes to nobody. It reads in both schemes, for scanners want
// dark on light.
func qrCode(text, label string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	const quiet = 4 // modules around it, which scanners need
	var path strings.Builder
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	side := code.Size + 2*quiet
	return template.HTML(fmt.Sprintf(`<svg class="qr" role="img" aria-label="%s" viewBox="0 0 %d %[2]d" shape-rendering="crispEdges"><path fill="currentColor" d="%s"/></svg>`, //nolint:gosec // numbers, and a label that is escaped
		template.HTMLEscapeString(label), side, path.String())), nil
}
