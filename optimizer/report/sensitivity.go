package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/sensitivity"
)

//go:embed sensitivity.html
var sensitivitySource string

var sensitivityPage = template.Must(template.Must(page.Clone()).New("sensitivity").Parse(sensitivitySource))

// Sensitivity is everything its page shows.
type Sensitivity struct {
	Model   string              `json:"model"`
	Samples int                 `json:"samples"` // that gradients were squared over
	Layers  []sensitivity.Layer `json:"layers"`
	Plans   []sensitivity.Plan  `json:"plans,omitempty"`
	Notes   []string            `json:"notes,omitempty"`
	Tool    string              `json:"tool,omitempty"`
}

// WriteSensitivity renders a heat map of layers and levels, and the stages with the rules that follow from it: one page without scripts
// that loads nothing.
func WriteSensitivity(w io.Writer, s *Sensitivity) error {
	type plan struct{ Title, Lead, Stage string }
	view := struct {
		*Sensitivity
		Style template.CSS
		Step  string
		Heat  template.HTML
		Plans []plan
	}{Sensitivity: s, Style: template.CSS(pageStyle)}
	low, step := heatScale(s.Layers)
	view.Step, view.Heat = fmt.Sprintf("%.2g", step), heat(s.Layers, low, step)
	for _, p := range s.Plans {
		view.Plans = append(view.Plans, plan{PlanTitle(p), PlanText(p), PlanStage(p)})
	}
	return sensitivityPage.Execute(w, view)
}

// PlanTitle names what a plan is held to: "50 % zeros".
func PlanTitle(p sensitivity.Plan) string {
	switch p.Technique {
	case "prune":
		return strconv.FormatFloat(100*p.Level, 'f', -1, 64) + " % zeros"
	case "channels":
		return strconv.FormatFloat(100*p.Level, 'f', -1, 64) + " % of the channels out"
	}
	return strconv.FormatFloat(p.Level, 'f', -1, 64) + " clusters"
}

// PlanText says what a plan's rules are expected to save.
func PlanText(p sensitivity.Plan) string {
	if len(p.Rules) == 0 {
		return "No rules do better than one level for all layers."
	}
	unit := "zeros in all"
	switch p.Technique {
	case "channels":
		unit = "multiplications in all, about,"
	case "cluster":
		unit = fmt.Sprintf("bits in all (%.2f a weight, %.2f with one level)", p.Bits, p.EvenBits)
	}
	return fmt.Sprintf("As many %s as with one level for all layers, at an expected error of %.3g instead of %.3g before any training.", unit, p.Error, p.Even)
}

// PlanStage is the stage of a manifest that carries a plan out.
func PlanStage(p sensitivity.Plan) string {
	var b strings.Builder
	field, level := "sparsity", func(v float64) string { return strconv.Quote(strconv.FormatFloat(v, 'f', -1, 64)) }
	if p.Technique == "cluster" {
		field, level = "clusters", func(v float64) string { return strconv.Itoa(int(v)) }
	}
	section := p.Technique
	if p.Technique == "channels" {
		section, field = "prune", "channels"
	}
	fmt.Fprintf(&b, "- name: %s\n  %s:\n", p.Technique, section)
	if p.Technique == "channels" {
		b.WriteString("    structure: Channels\n    reconstruct: true\n")
	}
	fmt.Fprintf(&b, "    %s: %s\n", field, level(p.Base))
	if len(p.Rules) > 0 {
		b.WriteString("    rules:\n")
	}
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "    - {layers: %s, %s: %s}\n", strconv.Quote(r.Layer), field, level(r.Level))
	}
	return b.String()
}

// heatClasses are the steps of colour.
const heatClasses = 8

// heatScale is the greatest error of the first class, and what each further class multiplies it by: no step is smaller than a half more.
func heatScale(layers []sensitivity.Layer) (low, step float64) {
	least, most := math.Inf(1), 0.0
	for _, l := range layers {
		for _, error := range errorsOf(l) {
			if error > 0 {
				least, most = min(least, error), max(most, error)
			}
		}
	}
	if most == 0 {
		return 1, 2
	}
	least = max(least, most/1e6)
	step = max(math.Pow(most/least, 1.0/(heatClasses-1)), 1.5)
	return least, step
}

func errorsOf(l sensitivity.Layer) []float64 {
	out := []float64{l.Int8}
	for _, v := range slices.Concat(l.Prune, l.Cluster, l.Channels) {
		out = append(out, v.Error)
	}
	return out
}

func heatClass(error, low, step float64) int {
	if error <= low {
		return 0
	}
	return min(int(math.Log(error/low)/math.Log(step)+0.5), heatClasses-1)
}

// heat draws the map: a row a layer, a column a level.
func heat(layers []sensitivity.Layer, low, step float64) template.HTML {
	const left, width, height, top, gap = 230.0, 40.0, 24.0, 44.0, 14.0
	prunes, clusters, channels := sensitivity.Sparsities, sensitivity.Clusters, sensitivity.Channels
	groups := []int{len(prunes), len(prunes) + len(clusters), len(prunes) + len(clusters) + len(channels)} // where one ends
	at := func(column int) float64 {
		x := left + float64(column)*width
		for _, end := range groups {
			if column >= end {
				x += gap
			}
		}
		return x
	}
	columns := groups[2] + 1
	d := svg("heat", "expected error by layer and level", at(columns), top+height*float64(len(layers))+4, false)
	d.text("group", at(0), 14, "zeros")
	d.text("group", at(len(prunes)), 14, "codes")
	d.text("group", at(groups[1]), 14, "channels out")
	for i, s := range channels {
		d.text("head middle", at(groups[1]+i)+width/2, 34, fmt.Sprintf("%.0f %%", 100*s))
	}
	for i, s := range prunes {
		d.text("head middle", at(i)+width/2, 34, fmt.Sprintf("%.0f %%", 100*s))
	}
	for i, n := range clusters {
		d.text("head middle", at(len(prunes)+i)+width/2, 34, strconv.Itoa(n))
	}
	d.text("head middle", at(columns-1)+width/2, 34, "int8")
	names := make([]Layer, len(layers))
	for i, l := range layers {
		names[i].Name = l.Name
	}
	for i, brief := range briefNames(names) {
		l, y := layers[i], top+height*float64(i)
		mark := ""
		if l.Kept {
			mark = " *"
		}
		d.open("", fmt.Sprintf("%s, %s, %s weights", l.Name, opName(l.Op), grouped(l.Weights)))
		d.text("name", 0, y+16, cutStart(brief, 32-len(mark))+mark)
		d.close()
		cell := func(column int, what string, error float64, known bool) {
			class, text := "cell none", ""
			if known {
				class = fmt.Sprintf("cell h%d", heatClass(error, low, step))
				if error >= 5e-4 {
					text = cellText(error)
				}
				what += fmt.Sprintf(": %.3g", error)
			}
			d.open("", l.Name+", "+what)
			d.rect(class, at(column), y, width, height, 0)
			d.text("value middle", at(column)+width/2, y+16, text)
			d.close()
		}
		for k, s := range prunes {
			error, known := level(l.Prune, k)
			cell(k, fmt.Sprintf("%.0f %% zeros", 100*s), error, known)
		}
		for k, n := range clusters {
			error, known := level(l.Cluster, k)
			cell(len(prunes)+k, fmt.Sprintf("%d codes", n), error, known)
		}
		for k, s := range channels {
			error, known := level(l.Channels, k)
			cell(groups[1]+k, fmt.Sprintf("%.0f %% of the channels out", 100*s), error, known)
		}
		cell(columns-1, "int8", l.Int8, true)
	}
	return d.done()
}

// cellText is an error in at most six characters, which a cell has room for.
func cellText(error float64) string {
	if error < 1e-3 {
		return strings.Replace(strconv.FormatFloat(error, 'e', 0, 64), "e-0", "e-", 1)
	}
	return strconv.FormatFloat(error, 'g', 2, 64)
}

func level(levels []sensitivity.Level, k int) (error float64, known bool) {
	if k >= len(levels) {
		return 0, false
	}
	return levels[k].Error, true
}
