package answer

import (
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
)

// Target is what a dataset has for an output to say, of every sample.
type Target struct {
	Name    string
	Shape   []int // of one sample; empty: one number
	Classes int   // of class numbers, one a position; 0: values
	Numbers bool  // the user says that it is numbers, whatever they look like
	// Of values: whether all are 0 or 1, whole numbers, and a single 1 among zeros along the last dimension.
	Bits, Whole, OneHot bool
	Least, Most         float64
	Mean, Spread        []float64 // by the last dimension
}

// Size is the numbers of a sample.
func (t *Target) Size() int { return product(t.Shape) }

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// surveyed bounds the samples that are looked at.
const surveyed = 4096

// Survey looks at the targets of a source.
func Survey(src dataset.Source) ([]Target, error) {
	var out []Target
	for _, t := range src.Targets() {
		out = append(out, Target{Name: t.Name, Shape: t.Shape, Classes: t.Classes, Numbers: t.Numbers})
	}
	if !slices.ContainsFunc(out, func(t Target) bool { return t.Classes == 0 }) {
		return out, nil
	}
	return out, look(out, src)
}

// look fills in what targets of values are.
func look(targets []Target, src dataset.Source) error {
	n := min(src.Len(), surveyed)
	y := dataset.Truths(src)
	moments := make([]*Moments, len(targets))
	for k := range targets {
		t := &targets[k]
		moments[k] = NewMoments(lastOf(t.Shape))
		t.Bits, t.Whole, t.OneHot = true, true, moments[k].width > 1
		t.Least, t.Most = math.Inf(1), math.Inf(-1)
	}
	for i := range n {
		if err := src.Truth(i*src.Len()/n, y); err != nil {
			return err
		}
		for k := range targets {
			targets[k].look(y[k], moments[k])
		}
	}
	for k := range targets {
		t := &targets[k]
		if t.Classes > 0 { // told by their number
			*t = Target{Name: t.Name, Shape: t.Shape, Classes: t.Classes}
			continue
		}
		t.Mean, t.Spread = moments[k].Mean(), moments[k].Spread()
	}
	return nil
}

// look takes one sample's numbers.
func (t *Target) look(y []float32, moments *Moments) {
	if t.Classes > 0 {
		return
	}
	moments.Add(y)
	for i, v := range y {
		t.Bits = t.Bits && (v == 0 || v == 1)
		t.Whole = t.Whole && float64(v) == math.Trunc(float64(v))
		t.Least, t.Most = min(t.Least, float64(v)), max(t.Most, float64(v))
		if (i+1)%moments.width == 0 {
			t.OneHot = t.OneHot && oneHot(y[i+1-moments.width:i+1])
		}
	}
}

func oneHot(row []float32) bool {
	ones := 0
	for _, v := range row {
		if v != 0 && v != 1 {
			return false
		}
		ones += int(v)
	}
	return ones == 1
}

func lastOf(shape []int) int {
	if len(shape) == 0 {
		return 1
	}
	return shape[len(shape)-1]
}

// Moments gather mean and spread of values by the last dimension.
type Moments struct {
	width        int
	sum, squares []float64
	first        []float64 // subtracted, so that large means cancel nothing
	n            float64   // rows
}

// NewMoments is for rows of so many values.
func NewMoments(width int) *Moments {
	return &Moments{width: width, sum: make([]float64, width), squares: make([]float64, width)}
}

// Add takes rows.
func (m *Moments) Add(y []float32) {
	if m.first == nil {
		m.first = make([]float64, m.width)
		for i := range m.first {
			m.first[i] = float64(y[i])
		}
	}
	for i, v := range y {
		d := float64(v) - m.first[i%m.width]
		m.sum[i%m.width] += d
		m.squares[i%m.width] += float64(d * d)
	}
	m.n += float64(len(y) / m.width)
}

// Mean is the mean by column.
func (m *Moments) Mean() []float64 {
	out := make([]float64, m.width)
	for i := range out {
		if m.n > 0 {
			out[i] = m.first[i] + m.sum[i]/m.n
		}
	}
	return out
}

// Spread is the standard deviation by column.
func (m *Moments) Spread() []float64 {
	out := make([]float64, m.width)
	for i := range out {
		if m.n > 0 {
			mean := m.sum[i] / m.n
			out[i] = math.Sqrt(max(0, m.squares[i]/m.n-float64(mean*mean)))
		}
	}
	return out
}
