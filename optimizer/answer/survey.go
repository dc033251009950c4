package answer

import (
	"errors"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/dataset"
)

// Target is what a dataset has for an output to say, of every sample.
type Target struct {
	Name    string
	Shape   []int // of one sample; empty: one number
	Classes int   // of class numbers, one a position; 0: values
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
	if n := src.Classes(); n > 0 {
		return []Target{{Name: "y", Classes: n}}, nil
	}
	n := dataset.TargetSize(src)
	if n == 0 {
		return nil, nil
	}
	t := Target{Name: "y", Shape: []int{n}}
	return []Target{t}, t.look(src)
}

func (t *Target) look(src dataset.Source) error {
	n := min(src.Len(), surveyed)
	y := make([]float32, t.Size())
	moments := NewMoments(lastOf(t.Shape))
	t.Bits, t.Whole, t.OneHot = true, true, moments.width > 1
	t.Least, t.Most = math.Inf(1), math.Inf(-1)
	for k := range n {
		if err := src.Target(k*src.Len()/n, y); err != nil {
			if errors.Is(err, dataset.ErrNoTarget) {
				return nil
			}
			return err
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
	t.Mean, t.Spread = moments.Mean(), moments.Spread()
	return nil
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

// Read fills x with sample i of a source and, unless it is nil, y with its targets: classes as numbers.
func Read(src dataset.Source, i int, x []float32, y [][]float32) error {
	label, err := src.Read(i, x)
	switch {
	case err != nil || len(y) == 0:
		return err
	case src.Classes() == 0:
		return src.Target(i, y[0])
	case label < 0:
		return fmt.Errorf("sample %d has no label", i)
	case label >= src.Classes():
		return fmt.Errorf("sample %d has label %d; the dataset has %d classes", i, label, src.Classes())
	}
	y[0][0] = float32(label)
	return nil
}
