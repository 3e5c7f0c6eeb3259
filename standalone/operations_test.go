package standalone

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/holdfast-dev/holdfast/webhook"
)

// observed returns the metrics of a server with webhooks that has done a bit of
// everything, with those of the command: by name, with type and labels as in "counter
// where,code".
func observed(t *testing.T) map[string]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b := newBackend(t, func(webhook.Message) string { return `{"allow":true}` })
	target := b.target()
	target.Events, target.Decide = []webhook.Type{webhook.TypePublished}, []webhook.Type{webhook.TypeJoin}
	_, url := hooked(t, webhook.Config{Targets: []webhook.Target{target}}, func(cfg *Config) { cfg.Metrics = registry })
	p := dial(t, url)
	p.ask(`{"type":"join","room":"r","ref":1}`)
	p.ask(`{"type":"publish","room":"r","event":"e","data":1,"ref":1}`)
	p.ask(`{"type":"publish","room":"r","event":"auth:x","data":1,"ref":1}`)
	b.next(t)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := make(map[string]string)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		metrics[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	return metrics
}

// TestOperationsTable compares the table of docs/operations.md with the
// metrics that there are.
func TestOperationsTable(t *testing.T) {
	metrics := observed(t)
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	row := regexp.MustCompile("(?m)^\\| `(holdfast_\\w+)` \\| (\\w+) \\| ([^|]*) \\|")
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		labels := strings.Split(strings.NewReplacer("`", "", " ", "", "–", "").Replace(m[3]), ",")
		slices.Sort(labels)
		listed[m[1]] = true
		if got, want := metrics[m[1]], m[2]+" "+strings.Join(labels, ","); got != want {
			t.Errorf("%s: the server has %q, the page %q", m[1], got, want)
		}
	}
	for name := range metrics {
		if strings.HasPrefix(name, "holdfast_") && !listed[name] {
			t.Errorf("%s is not in docs/operations.md", name)
		}
	}
}

// dashboard is what matters of a dashboard.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Query any }
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  *struct{ Type, UID string }
	Targets     []struct {
		Expr       string
		RefID      string
		Datasource struct{ Type, UID string }
	}
}

// TestDashboard: what the dashboard asks for is there, and all that is there is
// on it.
func TestDashboard(t *testing.T) {
	metrics := observed(t)
	data, err := os.ReadFile("../docs/grafana/holdfast.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 39 || len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Query != "prometheus" {
		t.Errorf("head: %q %q, schema %d, variables %v", d.Title, d.UID, d.SchemaVersion, d.Templating.List)
	}
	used := make(map[string]bool)
	name := regexp.MustCompile(`\b(?:holdfast|go|process)_\w+`)
	grouped := regexp.MustCompile(`by \(([^)]*)\)`)
	ids := make(map[int]bool)
	cells := make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d is there twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s: lies on %q, or outside", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: asks nobody for anything", p.Title)
		}
		for _, q := range p.Targets {
			found := name.FindAllString(q.Expr, -1)
			if len(found) == 0 || q.RefID == "" || q.Datasource.UID != "${datasource}" || strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") {
				t.Errorf("%s: %s", p.Title, q.Expr)
			}
			for _, n := range found {
				kind, ok := metrics[n]
				if base := strings.TrimSuffix(n, "_bucket"); !ok && base != n {
					n = base
					kind, ok = metrics[base]
					ok = ok && strings.HasPrefix(kind, "histogram")
				}
				if !ok {
					t.Errorf("%s: there is no metric %s", p.Title, n)
				}
				used[n] = true
				if by := grouped.FindStringSubmatch(q.Expr); by != nil {
					for _, label := range strings.Split(by[1], ", ") {
						_, labels, _ := strings.Cut(kind, " ")
						if label != "le" && label != "instance" && !slices.Contains(strings.Split(labels, ","), label) {
							t.Errorf("%s: %s has no label %s", p.Title, n, label)
						}
					}
				}
				if counter := strings.HasPrefix(kind, "counter"); counter != strings.Contains(q.Expr, "rate(") && !strings.HasPrefix(kind, "histogram") {
					t.Errorf("%s: %s is a %s", p.Title, q.Expr, kind)
				}
			}
		}
	}
	for n := range metrics {
		if strings.HasPrefix(n, "holdfast_") && !used[n] {
			t.Errorf("%s is not on the dashboard", n)
		}
	}
	if len(used) < 15 {
		t.Errorf("only %d metrics on the dashboard", len(used))
	}
}
