package dashboard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/registry"
)

// A route is one line of the table of all pages.
type route struct {
	side   Side
	method string
	// path is below [Root], with the wildcards of [http.ServeMux]. One that begins with "=" is a page of an account: it is
	// below /accounts/{account} for operators, and as it stands for members, who have one.
	path string
	// needs is what whoever comes must be allowed to; "": to have signed in.
	needs registry.Action
	// open pages are there for whoever has not signed in.
	open  bool
	serve func(*Dashboard, *visit) error
}

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// allRoutes is the table. A form is answered by the same address that shows it.
func allRoutes() []route {
	return slices.Concat(signInRoutes(), wayRoutes(), operatorRoutes(), tokenRoutes(), accountRoutes(), startRoutes(), allowlistRoutes(), usageRoutes(), explainRoutes(), auditRoutes(), peopleRoutes(), memberRoutes())
}

// pathOn is the path on one side, as [http.ServeMux] has it.
func (r route) pathOn(side Side) string {
	path, ofAccount := strings.CutPrefix(r.path, "=")
	if ofAccount && side == Operators {
		path = "/accounts/{account}" + strings.TrimSuffix(path, "/")
	}
	if strings.HasSuffix(path, "/") {
		path += "{$}"
	}
	return Root + path
}
