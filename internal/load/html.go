package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

// page is the template of the report: it loads nothing from elsewhere.
//
//go:embed report.html
var page string

// WriteHTML writes the report as one page, with plots, for a browser. It holds
// all that it needs.
func (r *Report) WriteHTML(w io.Writer) error {
	parsed, err := template.New("report").Funcs(template.FuncMap{
		"short": short, "grouped": grouped, "micro": micro, "bytes": bytesText, "article": article, "many": many,
		"whole":  func(v float64) string { return grouped(uint64(v)) },
		"kb":     func(v float64) string { return fmt.Sprintf("%.1f KB", v/1000) },
		"cores":  func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"date":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"plots":  func(r *Result) []plot { return r.plots() },
		"failed": func(r *Result) bool { return r.Faults.Total() > 0 },
	}).Parse(page)
	if err != nil {
		return err
	}
	return parsed.Execute(w, r)
}

// plot is a drawing in the report.
type plot struct {
	Title  string
	Legend []string // names of lines, where there are several
	SVG    template.HTML
}

func (r *Result) plots() (out []plot) {
	for _, c := range r.charts() {
		p := plot{Title: c.title, SVG: c.svg()}
		if len(c.series) > 1 {
			for _, s := range c.series {
				p.Legend = append(p.Legend, s.name)
			}
		}
		out = append(out, p)
	}
	if len(r.Buckets) > 0 {
		out = append(out, plot{Title: "Distribution of latencies", SVG: r.histogramSVG()})
	}
	return out
}
