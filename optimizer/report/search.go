package report

import (
	"fmt"
	"html/template"
	"strconv"

	"espalier.dev/espalier/optimizer/measure"
)

// Search is what a search did whose trials are the stages.
type Search struct {
	Metric measure.Name `json:"metric"` // that it has least of
	// Tried sums up what the trials are, as a list.
	Tried  string   `json:"tried,omitempty"`
	Ended  string   `json:"ended,omitempty"` // why; empty: it has not
	Trials []Trial  `json:"trials"`
	Prices []Priced `json:"prices,omitempty"` // of the selected leaf's layers
}

// Trial is one of the stages, and why it was tried.
type Trial struct {
	Stage string `json:"stage"`
	Why   string `json:"why"`
}

// Priced is a layer and its price of a bit. Share is the error of one of its weights as a share of the average layer's.
type Priced struct {
	Layer string  `json:"layer"`
	Share float64 `json:"share"`
	Price string  `json:"price"`
}

// pricedRow is a layer of the selected leaf, formatted.
type pricedRow struct{ Name, Title, Share, Price, Weights, Sparsity, Codes, Bits string }

// priced joins prices with what came of them in the selected leaf.
func (d *Data) priced() []pricedRow {
	s := d.stage(d.Verdict.Stage)
	if d.Search == nil || s == nil || s.Leaf == nil {
		return nil
	}
	names, of := briefNames(s.Leaf.Layers), map[string]Priced{}
	for _, p := range d.Search.Prices {
		of[p.Layer] = p
	}
	var out []pricedRow
	for i, l := range s.Leaf.Layers {
		p, known := of[l.of()]
		if !known {
			continue
		}
		r := pricedRow{Name: names[i], Title: l.Name, Share: "–", Price: p.Price, Weights: grouped(l.Weights), Sparsity: percent(l.Zeros, l.Weights),
			Codes: fmt.Sprint(l.Codes), Bits: fmt.Sprintf("%.2f", 8*float64(l.Compressed)/float64(max(l.Weights, 1)))}
		if p.Share > 0 {
			r.Share = times(p.Share)
		}
		out = append(out, r)
	}
	return out
}

// times writes a factor with two digits, without an exponent where it is large.
func times(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f ×", v)
	}
	return fmt.Sprintf("%.2g ×", v)
}

// course draws what a search minimizes, by trial in order, and below which line a leaf is smaller than the baseline's; a ring is around the
// one that was selected.
func (d *Data) course(class string, width, height float64) template.HTML {
	if d.Search == nil {
		return ""
	}
	of := func(s *Stage) (v float64, text string) {
		if s == nil || s.Leaf == nil {
			return 0, ""
		}
		text = value(s.Leaf.Metrics, d.Search.Metric)
		v, _ = strconv.ParseFloat(text, 64)
		return v, text
	}
	var values []float64
	for _, t := range d.Search.Trials {
		if v, _ := of(d.stage(t.Stage)); v > 0 {
			values = append(values, v)
		}
	}
	if len(values) < 2 {
		return ""
	}
	baseline, _ := of(&d.Stages[0])
	if baseline > 0 {
		values = append(values, baseline)
	}
	name := string(d.Search.Metric)
	const left, right, top, bottom = 62.0, 14.0, 22.0, 46.0
	x := newAxis([]float64{1, float64(len(d.Search.Trials))}, left, width-right, false)
	y := newAxis(values, height-bottom, top, true)
	s := svg("plot "+class, name+" by trial", width, height, true)
	for _, v := range y.ticks(5) {
		s.line("grid", x.from, y.at(v), x.to, y.at(v))
		s.text("tick end", x.from-8, y.at(v)+4, short(v))
	}
	if baseline > 0 {
		s.line("limit", x.from, y.at(baseline), x.to, y.at(baseline))
		s.text("tick end", x.to-4, y.at(baseline)+15, "baseline")
	}
	s.text("axis middle", (x.from+x.to)/2, height-bottom+37, "trials, in order")
	s.text("axis", x.from-54, top-8, name)
	for i, t := range d.Search.Trials {
		at := x.at(float64(i + 1))
		s.text("tick middle", at, height-bottom+18, fmt.Sprint(i+1))
		stage := d.stage(t.Stage)
		v, text := of(stage)
		if v <= 0 {
			continue
		}
		n := d.leafNode(stage, t.Stage)
		s.open("dot "+n.status, fmt.Sprintf("%s: %s, %s", t.Stage, stage.Settings, human(d.Search.Metric, text)))
		if n.status == "selected" {
			s.circle("halo", at, y.at(v), 9)
		}
		s.circle("", at, y.at(v), 5)
		s.close()
	}
	return s.done()
}
