package report

import (
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/measure"
)

// comparison is the table of all models.
type comparison struct {
	Heads []string
	Rows  []comparisonRow
	Test  bool // figures of the test split are there
	// Samples that intervals beneath the figures follow from, of the leaf with the fewest; 0 without any.
	Samples    int
	Confidence string // of the intervals, "0.95"; "" where they have several
}

type comparisonRow struct {
	Name, Technique string
	Class           string
	Link            template.URL
	Cells           []cell
	Verdict         string
}

// cell is a figure. Best is the best of its column among the leaves.
type cell struct {
	Text, Between, Test, Title string
	Best, Fails                bool
}

// comparison makes the table: the original first, then the leaves in order.
func (d *Data) comparison() comparison {
	names := d.metrics()
	var t comparison
	var confidences []string
	for _, name := range names {
		t.Heads = append(t.Heads, d.title(name))
	}
	if d.Device != nil {
		t.Heads = append(t.Heads, "Runs on "+d.Device.Name)
	}
	best := d.best(names)
	if len(d.Stages) > 0 && len(d.Stages[0].Metrics) > 0 {
		t.Rows = append(t.Rows, comparisonRow{Name: "original", Class: "float", Cells: d.placed(cells(names, d.Stages[0].Metrics, nil, nil), nil)})
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		if s.Leaf == nil {
			continue
		}
		r := comparisonRow{Name: s.Name, Technique: s.Leaf.Technique, Class: d.leafNode(s, "").status, Cells: d.placed(cells(names, s.Leaf.Metrics, s.Leaf, best), s.Leaf)}
		if s.Leaf.File != nil {
			r.Link = relative(s.Leaf.File.Path)
		}
		switch {
		case s.Leaf.Selected:
			r.Verdict = "selected"
		case len(s.Leaf.Missed) > 0:
			var missed []string
			for _, m := range s.Leaf.Missed {
				missed = append(missed, label(m.Metric))
			}
			r.Verdict = "misses " + strings.Join(missed, ", ")
		case len(d.Constraints) > 0:
			r.Verdict = "meets all"
		}
		t.Test = t.Test || len(s.Leaf.Test) > 0
		if n := s.Leaf.Samples; len(s.Leaf.Intervals) > 0 && (t.Samples == 0 || n < t.Samples) {
			t.Samples = n
		}
		for _, in := range s.Leaf.Intervals {
			if !slices.Contains(confidences, in.Confidence) {
				confidences = append(confidences, in.Confidence)
			}
		}
		t.Rows = append(t.Rows, r)
	}
	t.Confidence = strings.Join(confidences, " or ")
	return t
}

// title is a metric's heading, with its unit where a measurement gives it.
func (d *Data) title(name measure.Name) string {
	if unit := d.Units[name]; unit != "" {
		return label(name) + ", " + unit
	}
	return label(name)
}

// placed are the cells of a row with how much of the leaf runs on the device, where there is one.
func (d *Data) placed(row []cell, leaf *Leaf) []cell {
	if d.Device == nil {
		return row
	}
	text := "–"
	if leaf != nil && leaf.Runs != "" {
		text = leaf.Runs
	}
	return append(row, cell{Text: text})
}

func cells(names []measure.Name, values []measure.Value, leaf *Leaf, best map[measure.Name]string) []cell {
	var out []cell
	for _, name := range names {
		text := value(values, name)
		c := cell{Text: "–"}
		if text != "" {
			c.Text = human(name, text)
		}
		if leaf != nil {
			c.Best = text != "" && best[name] == text
			if test := value(leaf.Test, name); test != "" && test != text {
				c.Test = "test " + human(name, test)
			}
			c.Between = intervalOf(leaf.Intervals, name)
			if in := intervalOf(leaf.TestIntervals, name); in != "" {
				c.Test = "test " + human(name, value(leaf.Test, name)) + ", " + in
			}
			for _, m := range leaf.Missed {
				if m.Metric == name {
					c.Fails, c.Title = true, m.Text
				}
			}
		}
		out = append(out, c)
	}
	return out
}

// intervalOf writes the interval of a metric, "" where it has none.
func intervalOf(list []Interval, name measure.Name) string {
	for _, in := range list {
		if in.Metric == name {
			return between(in)
		}
	}
	return ""
}

// best finds the best value of each metric among the leaves; none where all are the same.
func (d *Data) best(names []measure.Name) map[measure.Name]string {
	out := map[measure.Name]string{}
	for _, name := range names {
		var texts []string
		for _, s := range d.Stages {
			if s.Leaf != nil && value(s.Leaf.Metrics, name) != "" {
				texts = append(texts, value(s.Leaf.Metrics, name))
			}
		}
		if len(texts) < 2 {
			continue
		}
		slices.SortFunc(texts, func(a, b string) int {
			x, _ := strconv.ParseFloat(a, 64)
			y, _ := strconv.ParseFloat(b, 64)
			if name.Higher() {
				x, y = y, x
			}
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			default:
				return 0
			}
		})
		if texts[0] != texts[len(texts)-1] {
			out[name] = texts[0]
		}
	}
	return out
}

// densityRow is a layer and its density after each stage.
type densityRow struct {
	Name, Op, Shape string
	Weights         string
	Panels          []panel
}

type panel struct {
	Stage, Technique, Note string
	Chart                  template.HTML
	Class                  string
}

// maxDrawn is the number of layers whose densities are drawn: the largest ones.
const maxDrawn = 24

// densities makes the small multiples: the model, then what each stage made of it (a quantize stage: its leaf).
func (d *Data) densities() (rows []densityRow, omitted int) {
	if len(d.Stages) == 0 || len(d.Stages[0].Layers) == 0 {
		return nil, 0
	}
	layers := d.Stages[0].Layers
	keep := make([]int, len(layers))
	for i := range keep {
		keep[i] = i
	}
	if len(keep) > maxDrawn {
		slices.SortStableFunc(keep, func(a, b int) int { return layers[b].Weights - layers[a].Weights })
		omitted = len(keep) - maxDrawn
		keep = keep[:maxDrawn]
		slices.Sort(keep)
	}
	names := briefNames(layers)
	for _, i := range keep {
		l := layers[i]
		row := densityRow{Name: names[i], Op: opName(l.Op), Shape: dims(l.Shape), Weights: grouped(l.Weights)}
		for k := range d.Stages {
			s := &d.Stages[k]
			made, p := s.Layers, panel{Stage: s.Name}
			if k == 0 {
				p.Stage = "model"
			} else if kind := s.Kind; kind != s.Name {
				p.Technique = kind
			}
			if s.Final && s.Leaf != nil {
				made, p.Technique = s.Leaf.Layers, s.Leaf.Technique
				if s.Leaf.Selected {
					p.Class = "selected"
				}
			}
			now, ok := become(layers, i, made)
			if !ok {
				continue
			}
			if p.Note = note(now); !slices.Equal(now.Shape, l.Shape) {
				p.Note = dims(now.Shape) + ", " + p.Note
			}
			p.Chart = now.Density.chart(fmt.Sprintf("weights of %s after %s: %s", l.Name, p.Stage, p.Note))
			row.Panels = append(row.Panels, p)
		}
		rows = append(rows, row)
	}
	return rows, omitted
}

// become finds what layer i of a model has become in another, whose layers are made: the one at its place, or, where the gates of LSTMs are layers of
// their own, that of its name or its gates together. false: there is none.
func become(layers []Layer, i int, made []Layer) (Layer, bool) {
	if len(made) == len(layers) {
		return made[i], true
	}
	if slices.ContainsFunc(slices.Delete(slices.Clone(layers), i, i+1), func(l Layer) bool { return l.Name == layers[i].Name }) {
		return Layer{}, false // no name tells them apart
	}
	var now Layer
	parts := 0
	for _, l := range made {
		if l.of() != layers[i].Name {
			continue
		}
		if parts++; parts == 1 {
			now = l
			now.Shape, now.Density.Counts = slices.Clone(l.Shape), slices.Clone(l.Density.Counts)
			continue
		}
		now.Shape[0] += l.Shape[0]
		now.Weights, now.Zeros = now.Weights+l.Weights, now.Zeros+l.Zeros
		now.Density.add(l.Density)
		now.Codes = now.Density.codes()
	}
	return now, parts > 0
}

// note says in words what a density shows.
func note(l Layer) string {
	zeros := ""
	if 20*l.Zeros > l.Weights {
		zeros = percent(l.Zeros, l.Weights) + " zeros"
	}
	codes := "float"
	if l.Codes > 0 {
		codes = fmt.Sprintf("%d codes", l.Codes)
	}
	if zeros == "" {
		return codes
	}
	return zeros + ", " + codes
}

// layerTable is the table of one leaf's layers.
type layerTable struct {
	Stage, Technique string
	Open             bool
	SNR, OutputSNR   bool
	Rows             []layerRow
}

type layerRow struct {
	Name, Title, Op, Shape, Weights, Sparsity, Codes, Bytes, Compressed, SNR, OutputSNR string
}

// layerTables describes every leaf; the selected one, or the nearest, is open.
func (d *Data) layerTables() []layerTable {
	var out []layerTable
	for i := range d.Stages {
		s := &d.Stages[i]
		if s.Leaf == nil || len(s.Leaf.Layers) == 0 {
			continue
		}
		t := layerTable{Stage: s.Name, Technique: s.Leaf.Technique, Open: s.Name == d.Verdict.Stage}
		names := briefNames(s.Leaf.Layers)
		for k, l := range s.Leaf.Layers {
			r := layerRow{Name: names[k], Title: l.Name, Op: opName(l.Op), Shape: dims(l.Shape), Weights: grouped(l.Weights),
				Sparsity: percent(l.Zeros, l.Weights), Codes: "–", Bytes: grouped(l.Bytes), Compressed: grouped(l.Compressed), SNR: "–", OutputSNR: "–"}
			if l.Codes > 0 {
				r.Codes = strconv.Itoa(l.Codes)
			}
			if l.SNR != nil {
				r.SNR, t.SNR = fmt.Sprintf("%.1f dB", *l.SNR), true
			}
			if l.OutputSNR != nil {
				r.OutputSNR, t.OutputSNR = fmt.Sprintf("%.1f dB", *l.OutputSNR), true
			}
			t.Rows = append(t.Rows, r)
		}
		out = append(out, t)
	}
	return out
}

// briefNames are the telling parts of converters' names for weights: of names joined by semicolons the first, without what every
// layer's name ends with, and of the path only as much from its end as tells the layers apart.
func briefNames(layers []Layer) []string {
	paths := make([][]string, len(layers))
	out := make([]string, len(layers))
	count := map[string]int{}
	longest := 0
	for i, l := range layers {
		paths[i] = telling(l.Name)
		longest = max(longest, len(paths[i]))
	}
	for n := 2; n <= max(2, longest); n++ {
		clear(count)
		for i, p := range paths {
			if out[i] == "" {
				count[strings.Join(p[max(0, len(p)-n):], "/")]++
			}
		}
		for i, p := range paths {
			if text := strings.Join(p[max(0, len(p)-n):], "/"); out[i] == "" && (count[text] == 1 || n >= longest) {
				out[i] = text
			}
		}
	}
	return out
}

// telling splits a name and drops what tells nothing.
func telling(name string) []string {
	first, _, _ := strings.Cut(name, ";")
	parts := strings.Split(strings.Trim(first, "/"), "/")
	common := []string{"MatMul", "Conv2D", "depthwise", "ReadVariableOp", "kernel", "weight", "Conv2D1", "convolution"}
	for len(parts) > 1 && slices.Contains(common, parts[len(parts)-1]) {
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 1 && parts[0] == "" {
		return []string{"unnamed"}
	}
	return parts
}

// opName is an operator's name for people.
func opName(op string) string {
	switch op {
	case "CONV_2D":
		return "conv"
	case "DEPTHWISE_CONV_2D":
		return "depthwise"
	case "FULLY_CONNECTED":
		return "dense"
	case "TRANSPOSE_CONV":
		return "transpose conv"
	default:
		return strings.ToLower(strings.ReplaceAll(op, "_", " "))
	}
}

func dims(shape []int) string {
	var parts []string
	for _, n := range shape {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, " × ")
}
