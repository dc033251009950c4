package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/train"
)

// Size of a density chart, in its own units.
const (
	chartWidth, chartHeight = 256.0, 112.0
	chartBase               = 106.0 // where bars stand
	chartTop                = 19.0  // as high as they grow, below the label of the zeros
)

// column is the middle of a code in a chart.
func column(code int) float64 { return float64(code+codeSpan)*(chartWidth-4)/(2*codeSpan) + 2 }

// chart draws a density: bars at the codes of discrete weights, an area with a kernel density estimate over it for continuous
// ones, and exact zeros as a bar of their own in another colour, as high as the chart at most.
func (d Density) chart(title string) template.HTML {
	s := svg("density", title, chartWidth, chartHeight, true)
	s.line("base", 0, chartBase, chartWidth, chartBase)
	counts := d.nonzero()
	if len(counts) != 2*codeSpan+1 {
		return s.done()
	}
	top := 0.0 // the count as high as the chart
	switch {
	case slices.Max(counts) == 0:
	case !d.Discrete:
		top = s.continuous(counts)
	default:
		top = s.bars(counts)
	}
	s.zeros(d, top)
	for _, code := range []int{-codeSpan, 0, codeSpan} {
		s.line("mark", column(code), chartBase, column(code), chartBase+3)
	}
	return s.done()
}

// continuous draws the area and the curve; it returns the count as high as the chart.
func (d *drawing) continuous(counts []float64) float64 {
	const width = 5 // codes a bin; 255 is a multiple
	bins := make([]float64, 0, len(counts)/width)
	for i := 0; i < len(counts); i += width {
		sum := 0.0
		for _, c := range counts[i : i+width] {
			sum += c
		}
		bins = append(bins, sum/width)
	}
	curve := smooth(counts)
	most := max(slices.Max(inner(bins)), slices.Max(curve))
	y := func(v float64) string { return num(chartBase - min(1, v/most)*(chartBase-chartTop)) }
	var area, line strings.Builder
	fmt.Fprintf(&area, "M%s %s", num(column(-codeSpan)-1), num(chartBase))
	for i, v := range bins {
		fmt.Fprintf(&area, "V%sH%s", y(v), num(column(-codeSpan+width*(i+1))-1))
	}
	fmt.Fprintf(&area, "V%sZ", num(chartBase))
	d.path("area", area.String())
	for i := 0; i < len(curve); i += 2 {
		fmt.Fprintf(&line, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], num(column(i-codeSpan)), y(curve[i]))
	}
	d.path("curve", line.String())
	return most
}

// inner leaves out the ends: every channel's largest weight is at one of them, which says nothing.
func inner(counts []float64) []float64 { return counts[1 : len(counts)-1] }

// bars draws one bar a code, wider where there are few; it returns the count as high as the chart.
func (d *drawing) bars(counts []float64) float64 {
	used := 0
	for _, c := range counts {
		if c > 0 {
			used++
		}
	}
	class, most := "bars many", slices.Max(inner(counts))
	if used <= 64 || most == 0 {
		class, most = "bars few", slices.Max(counts)
	}
	var data strings.Builder
	for i, c := range counts {
		if c > 0 {
			height := max(1.2, min(1, c/most)*(chartBase-chartTop))
			fmt.Fprintf(&data, "M%s %sv%s", num(column(i-codeSpan)), num(chartBase), num(-height))
		}
	}
	d.path(class, data.String())
	return most
}

// zeros draws exact zeros. top is the count as high as the chart.
func (d *drawing) zeros(of Density, top float64) {
	total := of.total()
	if of.Zeros == 0 || total == 0 {
		return
	}
	height := chartBase - chartTop
	if top > 0 {
		height *= min(1, float64(of.Zeros)/top)
	}
	d.path("zero", fmt.Sprintf("M%s %sv%s", num(column(0)), num(chartBase), num(-max(1.2, height))))
	if float64(of.Zeros) > 0.05*float64(total) {
		d.text("zerolabel middle", column(0), chartTop-6, fmt.Sprintf("%.0f %%", 100*float64(of.Zeros)/float64(total)))
	}
}

// trials draws the losses that learning rates led to, as a small line over the rates' logarithm, with a mark at the rate taken. Losses
// of more than three times the first are cut off.
func trials(t *train.RangeTest) template.HTML {
	const width, height = 96.0, 22.0
	title := "loss by learning rate:"
	low, high := t.Start, t.Start
	for _, trial := range t.Trials {
		if trial.Loss < 0 {
			title += fmt.Sprintf(" %.0e diverged", trial.Rate)
			continue
		}
		title += fmt.Sprintf(" %.0e %.3g", trial.Rate, trial.Loss)
		low, high = min(low, trial.Loss), max(high, min(trial.Loss, 3*t.Start))
	}
	from, to := math.Log(min(t.Rate, t.Trials[0].Rate)), math.Log(t.Trials[len(t.Trials)-1].Rate)
	place := func(rate float64) float64 { return 2 + (width-4)*(math.Log(rate)-from)/max(to-from, 1e-12) }
	s := svg("spark", title, width, height, false)
	data := ""
	for _, trial := range t.Trials {
		if trial.Loss < 0 {
			break
		}
		y := 2 + (height-4)*(high-min(trial.Loss, high))/max(high-low, 1e-12)
		data += fmt.Sprintf("%s%s %s", map[bool]string{true: "M", false: "L"}[data == ""], num(place(trial.Rate)), num(y))
	}
	s.path("line", data)
	s.circle("end", place(t.Rate), height-2, 2)
	return s.done()
}

// spark draws the losses of epochs as a small line.
func spark(epochs []Epoch) template.HTML {
	if len(epochs) < 2 {
		return ""
	}
	const width, height = 96.0, 22.0
	low, high := epochs[0].Loss, epochs[0].Loss
	for _, e := range epochs {
		low, high = min(low, e.Loss), max(high, e.Loss)
	}
	span := max(high-low, 1e-12)
	s := svg("spark", "loss by epoch", width, height, false)
	data := ""
	for i, e := range epochs {
		x := 2 + (width-4)*float64(i)/float64(len(epochs)-1)
		y := 2 + (height-4)*(high-e.Loss)/span
		data += fmt.Sprintf("%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], num(x), num(y))
		if i == len(epochs)-1 {
			s.circle("end", x, y, 2)
		}
	}
	s.path("line", data)
	return s.done()
}
