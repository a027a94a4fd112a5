package dashboard

import (
	"net/http"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// auditRoutes are the pages of the audit trail.
func auditRoutes() []route {
	return []route{
		{Operators, get, "/audit", registry.ReadAudit, false, (*Dashboard).audit},
		{both, get, "=/audit", registry.ReadAudit, false, (*Dashboard).audit},
	}
}

// An auditPage is a list of what was done, and what it was searched by.
type auditPage struct {
	list[actRow]
	All      bool // of every account
	Search   []Field
	Searched bool
}

// An actRow is an act as lists show it.
type actRow struct {
	auth.AuditEntry
	Who  string
	From string // "": unknown, or not theirs to know
}

// audit lists what was done, the newest first.
func (d *Dashboard) audit(v *visit) error {
	v.form.Problems = nil
	q, err := v.auditQuery()
	p := auditPage{All: v.account() == 0, Search: v.auditSearch(), Searched: v.r.URL.RawQuery != ""}
	if err != nil {
		e := auth.AsError(err)
		if e.Kind != auth.Invalid && e.Kind != auth.NotFound {
			return err
		}
		v.status = http.StatusBadRequest
		v.form.Problems = append(v.form.Problems, Problem{Says: sentence(e.Msg)})
		return v.page("audit", "Audit trail", p, v.trail()...)
	}
	found, err := d.Registry.Audit(v.r.Context(), v.actor, q)
	if err != nil {
		return err
	}
	var rows []actRow
	for _, e := range found {
		rows = append(rows, v.actRow(e))
	}
	p.list = paged(v, "audit", rows, func(r *actRow) string { return r.Place().String() })
	return v.page("audit", "Audit trail", p, v.trail()...)
}

// actRow tells an act. Members read who of theirs did it, and from where; of operators, that it was one.
func (v *visit) actRow(e auth.AuditEntry) actRow {
	row := actRow{AuditEntry: e, Who: e.Act.Actor}
	own := strings.HasPrefix(row.Who, "member ") || strings.HasPrefix(row.Who, "credential ")
	if v.d.Side == Members && !own {
		row.Who = "whoever runs this server"
		return row
	}
	if e.Act.Address.IsValid() {
		row.From = e.Act.Address.String()
	}
	return row
}

// auditSearch are the questions of the search, with what was asked.
func (v *visit) auditSearch() []Field {
	for _, name := range []string{"action", "credential", "person", "from", "until"} {
		v.form.Fill(name, v.query(name))
	}
	return []Field{
		v.form.Text("action", "Action", ""), v.form.Text("credential", "Credential", ""), v.form.Text("person", "Person (id)", ""),
		v.form.field("datetime-local", "from", "From (UTC)", ""), v.form.field("datetime-local", "until", "Until (UTC)", ""),
	}
}

// auditQuery is what is searched for, as the address of the page says it.
func (v *visit) auditQuery() (auth.AuditQuery, error) {
	asked := func(name string) string { return strings.TrimSpace(v.query(name)) }
	q := auth.AuditQuery{Account: v.account(), Action: asked("action"), Person: auth.PersonID(asked("person")), Most: perPage + 1}
	if len(q.Action)+len(q.Person) > 200 || strings.Contains(q.Action+string(q.Person), "\x00") {
		return q, auth.ErrInvalid.Saying("an action is written as credential.create, a person as p_ and letters")
	}
	if id := asked("credential"); id != "" {
		c, err := v.d.Registry.Credential(v.r.Context(), v.actor, id)
		if err == nil && q.Account != 0 && c.Account != q.Account {
			err = auth.ErrNotFound
		}
		if err != nil {
			return q, cleaned(err, "there is no such credential")
		}
		q.Credential = c.ID
	}
	var err error
	if q.Since, err = minuteOf(asked("from")); err != nil {
		return q, err
	}
	if q.Until, err = minuteOf(asked("until")); err != nil {
		return q, err
	}
	after, err := v.after("audit")
	if err != nil {
		return q, err
	}
	q.Before, err = auth.ParseAuditPlace(after)
	return q, err
}
