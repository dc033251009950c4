package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"espalier.dev/espalier/optimizer/measure"
)

// point is a model of the scatter plot.
type point struct {
	name, status string
	x, y         float64 // bytes and quality
	px, py       float64 // pixels
}

// points are the original and all leaves that have both figures.
func (d *Data) points(quality measure.Name) []point {
	var out []point
	add := func(name, status string, values []measure.Value) {
		x, errX := strconv.ParseFloat(value(values, measure.CompressedBytes), 64)
		y, errY := strconv.ParseFloat(value(values, quality), 64)
		if errX == nil && errY == nil && x > 0 {
			out = append(out, point{name: name, status: status, x: x, y: y})
		}
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		if i == 0 {
			add("original", "float", s.Metrics)
		}
		if s.Leaf == nil {
			continue
		}
		n := d.leafNode(s, s.Name)
		name := s.Name
		if !s.Final {
			name += " " + s.Leaf.Technique
		}
		add(name, n.status, s.Leaf.Metrics)
	}
	return out
}

// letter is about the width of one in the numbers along axes.
const letter = 7.5

// axis maps values to pixels.
type axis struct {
	low, high float64
	log       bool
	from, to  float64 // pixels
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(max(v, 1e-9))
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// newAxis leaves a margin around values.
func newAxis(values []float64, from, to float64, log bool) axis {
	a := axis{low: slices.Min(values), high: slices.Max(values), from: from, to: to}
	if a.log = log && a.low > 0 && a.high/a.low > 4; a.log {
		room := math.Pow(a.high/a.low, 0.08)
		a.low, a.high = a.low/room, a.high*room
		return a
	}
	room := 0.1 * (a.high - a.low)
	if room == 0 {
		room = max(0.01*math.Abs(a.high), 1e-6)
	}
	a.low, a.high = a.low-room, a.high+room
	return a
}

// ticks are round values along an axis, about n of them.
func (a axis) ticks(n int) []float64 {
	var out []float64
	if a.log {
		for _, steps := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
			out = out[:0]
			for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
				for _, s := range steps {
					if v := s * math.Pow(10, e); v >= a.low && v <= a.high {
						out = append(out, v)
					}
				}
			}
			if len(out) <= n+1 {
				break
			}
		}
		return out
	}
	raw := (a.high - a.low) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := unit
	for _, f := range []float64{1, 2, 2.5, 5, 10} {
		if step = f * unit; step >= raw {
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high; v += step {
		out = append(out, v)
	}
	return out
}

// scatter plots quality against compressed size. Up and left is better.
func (d *Data) scatter(class string, width, height float64) template.HTML {
	quality := d.quality()
	points := d.points(quality)
	if quality == "" || len(points) < 2 {
		return ""
	}
	var xs, ys []float64
	for _, p := range points {
		xs, ys = append(xs, p.x), append(ys, p.y)
	}
	maxBytes, minQuality := d.bounds(quality)
	if !math.IsNaN(maxBytes) {
		xs = append(xs, maxBytes)
	}
	if !math.IsNaN(minQuality) {
		ys = append(ys, minQuality)
	}
	const right, top, bottom = 14.0, 16.0, 46.0
	y := newAxis(ys, height-bottom, top, false)
	left := 62.0
	for _, v := range y.ticks(5) {
		left = max(left, 6+letter*float64(utf8.RuneCountInString(tick(quality, v, y.high-y.low))))
	}
	x := newAxis(xs, left, width-right, true)
	s := svg("plot "+class, "quality against compressed size", width, height, true)
	s.region(x, y, maxBytes, minQuality, !quality.Higher())
	s.axes(x, y, quality)
	for i := range points {
		points[i].px, points[i].py = x.at(points[i].x), y.at(points[i].y)
	}
	s.front(points, quality.Higher())
	s.labels(points, left, width-right, top, height-bottom)
	return s.done()
}

// bounds returns the largest size and the least quality that constraints allow, NaN where they do not say.
func (d *Data) bounds(quality measure.Name) (maxBytes, minQuality float64) {
	maxBytes, minQuality = math.NaN(), math.NaN()
	for _, c := range d.Constraints {
		low, errLow := strconv.ParseFloat(c.Min, 64)
		high, errHigh := strconv.ParseFloat(c.Max, 64)
		switch {
		case c.Metric == measure.CompressedBytes && errHigh == nil:
			maxBytes = high
		case c.Metric == quality && quality.Higher() && errLow == nil:
			minQuality = low
		case c.Metric == quality && !quality.Higher() && errHigh == nil:
			minQuality = high
		case c.Metric == measure.AccuracyDrop && quality == measure.Accuracy && errHigh == nil && len(d.Stages) > 0:
			if of, err := strconv.ParseFloat(value(d.Stages[0].Metrics, measure.Accuracy), 64); err == nil {
				minQuality = of - high
			}
		}
	}
	return maxBytes, minQuality
}

// region shades what the constraints allow. below: less quality is better.
func (d *drawing) region(x, y axis, maxBytes, limit float64, below bool) {
	if math.IsNaN(maxBytes) && math.IsNaN(limit) {
		return
	}
	right, level := x.to, y.from
	if !math.IsNaN(maxBytes) {
		right = x.at(maxBytes)
	}
	top := y.to
	if !math.IsNaN(limit) {
		level = y.at(limit)
	}
	if below {
		top, level = level, y.from
		if math.IsNaN(limit) {
			top = y.to
		}
	}
	d.rect("allowed", x.from, top, right-x.from, level-top, 0)
	if !math.IsNaN(maxBytes) {
		d.line("limit", right, y.to, right, y.from)
	}
	if !math.IsNaN(limit) {
		d.line("limit", x.from, y.at(limit), x.to, y.at(limit))
	}
}

func (d *drawing) axes(x, y axis, quality measure.Name) {
	for _, v := range y.ticks(5) {
		d.line("grid", x.from, y.at(v), x.to, y.at(v))
		d.text("tick end", x.from-8, y.at(v)+4, tick(quality, v, y.high-y.low))
	}
	for _, v := range x.ticks(6) {
		d.line("grid", x.at(v), y.to, x.at(v), y.from)
		class, at := "tick middle", x.at(v)
		if end := x.to + 12; at+letter/2*float64(utf8.RuneCountInString(kilo(v))) > end {
			class, at = "tick end", end
		}
		d.text(class, at, y.from+18, kilo(v))
	}
	d.text("axis middle", (x.from+x.to)/2, y.from+37, "compressed size")
	d.text("axis", 8, y.to-4, string(quality))
}

func tick(quality measure.Name, v, span float64) string {
	if quality == measure.Accuracy || quality == measure.Agreement {
		if span < 0.02 {
			return fmt.Sprintf("%.2f %%", 100*v)
		}
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return short(v)
}

// kilo writes bytes in decimal units.
func kilo(v float64) string {
	switch {
	case v >= 1e6:
		return num(v/1e6) + " MB"
	case v >= 1e3:
		return num(v/1e3) + " kB"
	default:
		return num(v) + " B"
	}
}

// front draws the steps that no other model betters in both figures.
func (d *drawing) front(points []point, higher bool) {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b point) int {
		switch {
		case a.x < b.x:
			return -1
		case a.x > b.x:
			return 1
		default:
			return 0
		}
	})
	data, best := "", 0.0
	for _, p := range sorted {
		better := p.y > best
		if !higher {
			better = p.y < best
		}
		switch {
		case data == "":
			data = fmt.Sprintf("M%s %s", num(p.px), num(p.py))
		case better:
			data += fmt.Sprintf("H%sV%s", num(p.px), num(p.py))
		default:
			continue
		}
		best = p.y
	}
	d.path("front", data)
}

// box is a place a label takes.
type box struct{ x1, y1, x2, y2 float64 }

func (b box) meets(o box) bool { return b.x1 < o.x2 && o.x1 < b.x2 && b.y1 < o.y2 && o.y1 < b.y2 }

// labels draws the points and, where there is room, their names: the important first, on the first free side.
func (d *drawing) labels(points []point, left, right, top, bottom float64) {
	rank := map[string]int{"selected": 0, "float": 1, "met": 2}
	order := slices.Clone(points)
	slices.SortStableFunc(order, func(a, b point) int {
		ra, okA := rank[a.status]
		rb, okB := rank[b.status]
		if !okA {
			ra = 9
		}
		if !okB {
			rb = 9
		}
		return ra - rb
	})
	taken := make([]box, 0, 2*len(points))
	for _, p := range points {
		taken = append(taken, box{p.px - 6, p.py - 6, p.px + 6, p.py + 6})
	}
	for i := len(order) - 1; i >= 0; i-- { // the important on top
		p := order[i]
		d.open("dot "+p.status, fmt.Sprintf("%s: %s, %s", p.name, short(p.y), grouped(int(p.x))+" B"))
		if p.status == "selected" {
			d.circle("halo", p.px, p.py, 9)
		}
		d.circle("", p.px, p.py, 5)
		d.close()
	}
	for _, p := range order {
		text := cut(p.name, 22)
		w := 6.6*float64(len([]rune(text))) + 4
		for _, c := range []struct {
			box
			class string
			x, y  float64
		}{
			{box{p.px - w/2, p.py - 23, p.px + w/2, p.py - 8}, " middle", p.px, p.py - 11},
			{box{p.px + 9, p.py - 8, p.px + 9 + w, p.py + 7}, "", p.px + 10, p.py + 4},
			{box{p.px - 9 - w, p.py - 8, p.px - 9, p.py + 7}, " end", p.px - 10, p.py + 4},
			{box{p.px - w/2, p.py + 8, p.px + w/2, p.py + 23}, " middle", p.px, p.py + 20},
			{box{p.px + 4, p.py - 22, p.px + 4 + w, p.py - 8}, "", p.px + 5, p.py - 10},
			{box{p.px + 4, p.py + 8, p.px + 4 + w, p.py + 22}, "", p.px + 5, p.py + 19},
		} {
			if c.x1 < left || c.x2 > right+8 || c.y1 < top-8 || c.y2 > bottom || slices.ContainsFunc(taken, c.meets) {
				continue
			}
			taken = append(taken, c.box)
			d.text("name "+p.status+c.class, c.x, c.y, text)
			break
		}
	}
}
