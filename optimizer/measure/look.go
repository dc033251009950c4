package measure

import (
	"context"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite"
)

// looked bounds the samples of a Look.
const looked = 256

// Look says what a network answers at every output, over samples spread over a source: what answer.Describe decides doubtful cases by.
func Look(ctx context.Context, m *tflite.Model, source dataset.Source) ([]answer.Seen, error) {
	exec, err := networkOf(m, dataset.Shapes(source), 8)
	if err != nil {
		return nil, err
	}
	inputs, _, err := exec.sampleSizes(source)
	if err != nil {
		return nil, err
	}
	n, batch := min(looked, source.Len()), exec.Batch()
	glances := make([]*glance, len(exec.outputs()))
	for i, t := range exec.outputs() {
		shape := exec.Graph().Tensors[t].Shape
		width := 1
		if len(shape) > 1 {
			width = max(1, shape[len(shape)-1])
		}
		glances[i] = newGlance(width, exec.size(i))
	}
	x, sample := room(inputs, batch), make([][]float32, len(inputs))
	for first := 0; first < n; first += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		count := min(batch, n-first)
		at := func(k int) int { return (first + k) * source.Len() / n }
		if err := feed(exec, source, at, count, inputs, x, sample); err != nil {
			return nil, err
		}
		if err := exec.run(); err != nil {
			return nil, ofSamples(err, at(0), at(count-1))
		}
		for i, g := range glances {
			in := max(0, slices.Index(inputs, g.size)) // which it may be again
			for k := range count {
				g.add(x[in][k*inputs[in]:][:inputs[in]], exec.Output(i)[k*g.size:][:g.size])
			}
		}
	}
	seen := make([]answer.Seen, len(glances))
	for i, g := range glances {
		seen[i] = g.seen()
	}
	return seen, nil
}

// glance gathers what is seen of an output.
type glance struct {
	answer.Seen
	width, size     int
	moments         *answer.Moments
	given           *answer.Moments // of an input of the same size
	squares, values float64
}

func newGlance(width, size int) *glance {
	return &glance{
		Seen:  answer.Seen{Least: math.Inf(1), Most: math.Inf(-1), Simplex: width > 1, Unit: width > 1},
		width: width, size: size, moments: answer.NewMoments(width), given: answer.NewMoments(1),
	}
}

// near is how far sums of float32 may be from 1.
const near = 1e-3

func (g *glance) add(x, y []float32) {
	if g.size == 0 || g.size%g.width != 0 {
		return
	}
	g.moments.Add(y)
	for r := 0; r < len(y); r += g.width {
		sum, squares := 0.0, 0.0
		for _, v := range y[r : r+g.width] {
			g.Least, g.Most = min(g.Least, float64(v)), max(g.Most, float64(v))
			sum, squares = sum+float64(v), squares+float64(float64(v)*float64(v))
		}
		g.Simplex = g.Simplex && math.Abs(sum-1) < near
		g.Unit = g.Unit && math.Abs(squares-1) < near
	}
	if len(x) == len(y) {
		g.given.Add(x)
		g.squares += squaredError(x, y)
		g.values++
	}
}

func (g *glance) seen() answer.Seen {
	s := g.Seen
	s.Simplex = s.Simplex && s.Least >= 0
	s.Spread = g.moments.Spread()
	s.Unexplained = 1
	if spread := g.given.Spread()[0]; g.values > 0 && spread > 0 {
		s.Unexplained = g.squares / g.values / (spread * spread)
	}
	return s
}
