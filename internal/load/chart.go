package load

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"
)

// chart is a plot of values over time, drawn as SVG. Colours come from the
// page's style: the lines of a series have the class s1, s2 or s3.
type chart struct {
	title  string
	log    bool // the scale of values; times range over decades
	format func(float64) string
	at     []float64 // seconds, rising
	series []series
}

// series is one line of a chart; values of 0 and less are left out where the
// scale is logarithmic.
type series struct {
	name   string
	values []float64
}

// The drawing, in its own units: narrow, so that its text can still be read
// where it fills the width of a phone.
const (
	chartWidth, chartHeight              = 420.0, 220.0
	plotLeft, plotRight, plotTop, plotLo = 58.0, 408.0, 10.0, 190.0
)

// svg draws the chart.
func (c *chart) svg() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.title))
	low, high, ticks := c.scale()
	for _, t := range ticks {
		y := c.y(t, low, high)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			plotLeft, plotRight, y, y, plotLeft-6, y+4, html.EscapeString(c.format(t)))
	}
	end := 0.0
	if len(c.at) > 0 {
		end = c.at[len(c.at)-1]
	}
	for _, t := range linearTicks(0, end, 5) {
		if t > end {
			break
		}
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, plotX(t, end), plotLo+18, html.EscapeString(seconds(t)))
	}
	for i, s := range slices.Backward(c.series) { // the first is the one that matters: it lies on top
		fmt.Fprintf(&b, `<path class="line s%d" d="%s"/>`, i+1, c.path(s, low, high, end))
	}
	c.hover(&b, end)
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// path is the line of a series: a new one after each gap.
func (c *chart) path(s series, low, high, end float64) string {
	var b strings.Builder
	pen := "M"
	for i, v := range s.values {
		if c.log && v <= 0 {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, plotX(c.at[i], end), c.y(v, low, high))
		pen = "L"
	}
	return b.String()
}

// hover puts the values of each moment where the pointer finds them.
func (c *chart) hover(b *strings.Builder, end float64) {
	from := 0.0
	for i, at := range c.at {
		fmt.Fprintf(b, `<rect class="hover" x="%.1f" y="%g" width="%.1f" height="%g"><title>%s`,
			plotX(from, end), plotTop, plotX(at, end)-plotX(from, end), plotLo-plotTop, html.EscapeString(seconds(at)))
		for _, s := range c.series {
			fmt.Fprintf(b, "\n%s %s", html.EscapeString(s.name), html.EscapeString(c.format(s.values[i])))
		}
		b.WriteString(`</title></rect>`)
		from = at
	}
}

// scale returns the ends of the scale of values, and where to draw its lines.
func (c *chart) scale() (low, high float64, ticks []float64) {
	low, high = math.Inf(1), 0
	for _, s := range c.series {
		for _, v := range s.values {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		low, high = 0.1, 1
	}
	if !c.log {
		ticks = linearTicks(0, high, 5)
		return 0, ticks[len(ticks)-1], ticks
	}
	ticks = logTicks(low, high)
	return ticks[0], ticks[len(ticks)-1], ticks
}

func (c *chart) y(v, low, high float64) float64 {
	if c.log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	return plotLo - (v-low)/(high-low)*(plotLo-plotTop)
}

func plotX(at, end float64) float64 {
	if end <= 0 {
		return plotLeft
	}
	return plotLeft + at/end*(plotRight-plotLeft)
}

// linearTicks are round numbers from low, up to the first that is not below
// high: about n of them, at least two.
func linearTicks(low, high float64, n int) []float64 {
	if high <= low {
		high = low + 1
	}
	raw := (high - low) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, k := range [...]float64{1, 2, 5} {
		if k*unit >= raw*(1-1e-9) {
			step = k * unit
			break
		}
	}
	var ticks []float64
	for i := 0; ; i++ {
		ticks = append(ticks, low+float64(i)*step)
		if len(ticks) > 1 && ticks[i] >= high*(1-1e-9) {
			return ticks
		}
	}
}

// logTicks are powers of ten around the values; with fewer than three of them
// the numbers 2 and 5 of each are in between.
func logTicks(low, high float64) []float64 {
	first, last := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if last <= first {
		last = first + 1
	}
	var ticks []float64
	for p := first; p <= last; p++ {
		for _, k := range [...]float64{1, 2, 5} {
			if k == 1 || last-first < 3 && p < last {
				ticks = append(ticks, k*math.Pow(10, p))
			}
		}
	}
	return ticks
}

// seconds is a time on the axis below.
func seconds(s float64) string {
	switch {
	case s >= 600:
		return fmt.Sprintf("%.4g min", s/60)
	case s >= 10:
		return fmt.Sprintf("%.0f s", s)
	}
	return fmt.Sprintf("%.3g s", s)
}

// charts are those of a run: latency, rate, processors and memory over time.
func (r *Result) charts() []*chart {
	n := len(r.Timeline)
	if n < 2 {
		return nil
	}
	pick := func(f func(p *Point) float64) []float64 {
		out := make([]float64, n)
		for i := range r.Timeline {
			out[i] = f(&r.Timeline[i])
		}
		return out
	}
	at := pick(func(p *Point) float64 { return p.At.Seconds() })
	ns := func(v float64) string { return short(time.Duration(v)) }
	cores := func(v float64) string { return fmt.Sprintf("%.2g", v) }
	list := []*chart{
		{title: "Latency of " + article(r.Unit), log: true, format: ns, at: at, series: []series{
			{"p50", pick(func(p *Point) float64 { return float64(p.P50) })},
			{"p99", pick(func(p *Point) float64 { return float64(p.P99) })},
			{"max", pick(func(p *Point) float64 { return float64(p.Max) })},
		}},
		{title: strings.ToUpper(r.Unit[:1]) + many(r.Unit)[1:] + " a second", format: thousands, at: at, series: []series{
			{"rate", pick(func(p *Point) float64 { return float64(p.Count) / p.Span.Seconds() })},
		}},
	}
	generator := series{"generator", pick(func(p *Point) float64 { return p.GeneratorCPU })}
	if r.Server == nil {
		return append(list, &chart{title: "Busy processor cores", format: cores, at: at, series: []series{generator}})
	}
	return append(list,
		&chart{title: "Busy processor cores", format: cores, at: at, series: []series{
			{"server", pick(func(p *Point) float64 { return p.ServerCPU })}, generator,
		}},
		&chart{title: "Memory of the server (RSS)", format: megabytes, at: at, series: []series{
			{"server", pick(func(p *Point) float64 { return float64(p.ServerRSS) })},
		}},
	)
}

// megabytes is a size on an axis.
func megabytes(v float64) string { return fmt.Sprintf("%.4g MB", v/1e6) }

// thousands is a rate on an axis.
func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.4gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.4gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

// histogramSVG draws the distribution of latencies as bars.
func (r *Result) histogramSVG() template.HTML {
	var b strings.Builder
	most := 1.0
	for _, bucket := range r.Buckets {
		most = max(most, float64(bucket.Count))
	}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="Distribution of latencies">`, chartWidth, chartHeight)
	ticks := linearTicks(0, most, 4)
	top := ticks[len(ticks)-1]
	for _, t := range ticks {
		y := plotLo - t/top*(plotLo-plotTop)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			plotLeft, plotRight, y, y, plotLeft-6, y+4, thousands(t))
	}
	width := (plotRight - plotLeft) / float64(max(1, len(r.Buckets)))
	every := 1 + len(r.Buckets)/6
	for i, bucket := range r.Buckets {
		x, height := plotLeft+float64(i)*width, float64(bucket.Count)/top*(plotLo-plotTop)
		if bucket.Count > 0 {
			height = max(height, 1)
		}
		fmt.Fprintf(&b, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"><title>≤ %s: %s</title></rect>`,
			x+1, plotLo-height, max(1, width-2), height, short(bucket.UpTo), grouped(bucket.Count))
		if (len(r.Buckets)-1-i)%every == 0 {
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">≤ %s</text>`, x+width/2, plotLo+18, short(bucket.UpTo))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
