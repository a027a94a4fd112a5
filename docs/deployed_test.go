package docs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var (
	anyMetric = regexp.MustCompile(`\b((?:gatehouse|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`([a-z_]+) ?(=~|!~|!=|=) ?"([^"]*)"`)
	grouped   = regexp.MustCompile(`\b(?:by|without|on|ignoring) ?\(([^)]*)\)`)
)

// What Prometheus and Grafana are told to look at is what operate.md has in its table, which is compared with the server.
func TestAlertsAndTheDashboardNameWhatThereIs(t *testing.T) {
	labels := map[string][]string{} // of each metric
	for _, row := range pageCalled(t, "docs/operate.md").table(t, "Metrics") {
		for _, name := range named(row[0]) {
			labels[name] = named(row[1])
			if row[2] == "histogram" {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					labels[name+part] = append([]string{"le"}, named(row[1])...)
				}
			}
		}
	}
	usual := prometheus.NewRegistry()
	usual.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := usual.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		labels[f.GetName()] = nil
	}
	queries := deployedQueries(t)
	for _, query := range queries {
		of := []string{"job", "instance", "le", "severity", "alertname"}
		for _, m := range anyMetric.FindAllStringSubmatch(query, -1) {
			name := m[1]
			own, ok := labels[name]
			if !ok {
				t.Errorf("there is no metric %s: %s", name, query)
				continue
			}
			of = append(of, own...)
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(own, l[1]) && l[1] != "job" && l[1] != "instance" {
					t.Errorf("%s has no label %s: %s", name, l[1], query)
				}
				if l[1] != "reason" {
					continue
				}
				for reason := range strings.SplitSeq(l[3], "|") {
					if !slices.Contains(auth.Reasons, auth.Reason(reason)) {
						t.Errorf("nobody is refused for %q: %s", reason, query)
					}
				}
			}
		}
		for _, m := range grouped.FindAllStringSubmatch(query, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				if !slices.Contains(of, strings.TrimSpace(l)) {
					t.Errorf("nothing here has a label %s: %s", l, query)
				}
			}
		}
	}
}

// deployedQueries are those of the alerts and of the dashboard.
func deployedQueries(t *testing.T) []string {
	t.Helper()
	var alerts struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	text, err := os.ReadFile(filepath.Join("..", "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(filepath.Join("..", "deploy", "grafana", "gatehouse.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Expr)
		}
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	if len(all) < 50 {
		t.Fatalf("%d queries", len(all))
	}
	return all
}

func TestAlertsLeadToARunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`runbook: (\S+\.md)#(\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(links) != strings.Count(string(text), "- alert:") {
		t.Errorf("%d links to runbooks", len(links))
	}
	for _, l := range links {
		if !anchors(pageCalled(t, l[1]))[l[2]] {
			t.Errorf("%s has no heading for #%s", l[1], l[2])
		}
	}
}
