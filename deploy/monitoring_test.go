package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/beside"
)

type rules struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var all rules
	read(t, "prometheus/alerts.yml", &all)
	var list []rule
	for _, g := range all.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 20 {
		t.Fatalf("%d alerts", len(list))
	}
	return list
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	beside.Need(t, "promtool", "prometheus")
	run(t, "promtool", "check", "rules", "prometheus/alerts.yml")
	run(t, "promtool", "test", "rules", "prometheus/alerts_test.yml")
}

var metric = regexp.MustCompile(`\b(?:gatehouse|process|go)_[a-z0-9_]+`)

// Each alert fires in a case of its own, and is silent, with data, in the case in which all is well.
func TestEveryAlertHasItsCase(t *testing.T) {
	t.Parallel()
	var cases struct {
		Tests []struct {
			Name   string
			Series []struct{ Series string } `yaml:"input_series"`
			Exprs  []struct {
				Want []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	read(t, "prometheus/alerts_test.yml", &cases)
	seen, fires := map[string]bool{}, map[string]bool{}
	for _, s := range cases.Tests[0].Series {
		name, _, _ := strings.Cut(s.Series, "{")
		seen[name] = true
	}
	for _, c := range cases.Tests {
		for _, e := range c.Exprs {
			for _, s := range e.Want {
				for _, m := range regexp.MustCompile(`alertname="(\w+)"`).FindAllStringSubmatch(s.Labels, -1) {
					fires[m[1]] = true
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s fires in no case of alerts_test.yml", a.Alert)
		}
		for _, name := range metric.FindAllString(a.Expr, -1) {
			if !seen[name] {
				t.Errorf("%s: %s is not among the series of the case in which all is well", a.Alert, name)
			}
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["runbook"] == "" {
			t.Errorf("%s does not say what it is and what to do", a.Alert)
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  struct{ UID string }
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr string }
}

func TestTheDashboardCanBeRead(t *testing.T) {
	t.Parallel()
	beside.Need(t, "promtool", "prometheus")
	text, err := os.ReadFile("grafana/gatehouse.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []panel
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "gatehouse" || d.Title == "" || len(d.Panels) < 20 {
		t.Fatalf("uid %q, title %q, %d panels", d.UID, d.Title, len(d.Panels))
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{}
	var queries strings.Builder
	queries.WriteString("groups:\n- name: queries\n  rules:\n")
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || titles[p.Title] {
			t.Errorf("panel %d %q: an id or a title that another one has, or none", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if g := p.GridPos; g.X < 0 || g.X+g.W > 24 || g.W < 1 || g.H < 1 {
			t.Errorf("%q is not on the grid: %+v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Description == "" || p.Datasource.UID != "${datasource}" {
			t.Errorf("%q has no query or no description, or names somebody's own Prometheus", p.Title)
		}
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(q.Expr)
			if strings.Contains(expr, "$") || !strings.Contains(expr, `job="gatehouse"`) {
				t.Errorf("%q: %s", p.Title, q.Expr)
			}
			fmt.Fprintf(&queries, "  - {record: 'panel:%d%s', expr: %q}\n", p.ID, q.RefID, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, []byte(queries.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "promtool", "check", "rules", file) // whose parser is the one that will read them
}
