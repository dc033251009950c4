package report

import (
	"fmt"
	"html/template"

	"espalier.dev/espalier/optimizer/measure"
)

// Search is what a search did whose trials are the stages.
type Search struct {
	Ended  string   `json:"ended,omitempty"` // why; empty: it has not
	Trials []Trial  `json:"trials"`
	Prices []Priced `json:"prices,omitempty"` // of the selected leaf's layers
}

// Trial is one of the stages: Price is that of a bit for the average layer.
type Trial struct {
	Stage string  `json:"stage"`
	Price float64 `json:"price"`
	Why   string  `json:"why"`
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

// course draws the price of every trial, in order; a ring is around the one that was selected.
func (d *Data) course(class string, width, height float64) template.HTML {
	if d.Search == nil {
		return ""
	}
	var prices []float64
	for _, t := range d.Search.Trials {
		if t.Price > 0 {
			prices = append(prices, t.Price)
		}
	}
	if len(prices) < 2 {
		return ""
	}
	const left, right, top, bottom = 62.0, 14.0, 22.0, 46.0
	x := newAxis([]float64{1, float64(len(d.Search.Trials))}, left, width-right, false)
	y := newAxis(prices, height-bottom, top, true)
	s := svg("plot "+class, "price of a bit by trial", width, height, true)
	for _, v := range y.ticks(5) {
		s.line("grid", x.from, y.at(v), x.to, y.at(v))
		s.text("tick end", x.from-8, y.at(v)+4, short(v))
	}
	s.text("axis middle", (x.from+x.to)/2, height-bottom+37, "trials, in order")
	s.text("axis", x.from-54, top-8, "price of a bit")
	for i, t := range d.Search.Trials {
		stage := d.stage(t.Stage)
		if stage == nil || t.Price <= 0 {
			continue
		}
		at, n := x.at(float64(i+1)), d.leafNode(stage, t.Stage)
		s.text("tick middle", at, height-bottom+18, fmt.Sprint(i+1))
		tip := fmt.Sprintf("%s: price %.3g", t.Stage, t.Price)
		if stage.Leaf != nil {
			tip += ", " + human(measure.CompressedBytes, value(stage.Leaf.Metrics, measure.CompressedBytes))
		}
		s.open("dot "+n.status, tip)
		if n.status == "selected" {
			s.circle("halo", at, y.at(t.Price), 9)
		}
		s.circle("", at, y.at(t.Price), 5)
		s.close()
	}
	return s.done()
}
