package float

import (
	"math"
	"math/rand/v2"
	"testing"

	"espalier.dev/espalier/optimizer/tflite"
)

// check compares the analytic gradients of L = Σ r·y, r random, with five-point differences of the forward pass: for every
// parameter and input, at up to maxProbes elements. Functions linear in each element allow a large distance between points,
// which makes the comparison exact to rounding. Elements too near a kink are passed over; more than a third of them
// is a failure.
func check(t *testing.T, m *tflite.Model, batch int, linear bool) {
	t.Helper()
	n, err := Compile(m, batch)
	if err != nil {
		t.Fatal(err)
	}
	n.inputGradients = true
	random := rand.New(rand.NewPCG(7, uint64(batch)))
	e, g := n.NewExec(true), n.NewGrads()
	inputs := make([][]float32, len(n.Graph.Inputs))
	for i, input := range n.Graph.Inputs {
		inputs[i] = make([]float32, n.Graph.Numel(input))
		for k := range inputs[i] {
			inputs[i][k] = float32(random.NormFloat64())
		}
	}
	weights := make([]float32, len(e.LossGrad(e.net.LossTensor(0))))
	for i := range weights {
		weights[i] = float32(random.NormFloat64())
	}
	loss := func() float64 {
		n.Refresh()
		for i, x := range inputs {
			e.SetInput(i, x)
		}
		e.Forward()
		sum := 0.0
		for i, y := range e.Tensor(n.LossTensor(0)) {
			sum += float64(y) * float64(weights[i])
		}
		return sum
	}
	loss()
	copy(e.LossGrad(e.net.LossTensor(0)), weights)
	e.Backward(g)
	c := comparison{t: t, loss: loss, linear: linear, step: smoothStep, tolerance: smoothTolerance, random: random}
	if linear {
		c.step, c.tolerance = linearStep, linearTolerance
	}
	for i, x := range inputs {
		c.compare("input", x, append([]float32(nil), e.gradients[n.Graph.Inputs[i]]...))
	}
	for i, p := range n.Params {
		if p.Trainable {
			c.compare(p.Name, p.Value, g.Param[i])
		}
	}
	if c.passed > c.probes/3 || c.probes == 0 {
		t.Errorf("%d of %d probes met a kink", c.passed, c.probes)
	}
}

const maxProbes = 60

type comparison struct {
	t               *testing.T
	loss            func() float64
	linear          bool
	step, tolerance float64
	random          *rand.Rand
	probes, passed  int
}

func (c *comparison) compare(name string, values, gradient []float32) {
	c.t.Helper()
	top := 1e-3
	for _, v := range gradient {
		top = max(top, math.Abs(float64(v)))
	}
	for _, i := range c.random.Perm(len(values))[:min(len(values), maxProbes)] {
		c.probes++
		if !c.probe(name, values, i, float64(gradient[i]), top) {
			c.passed++
		}
	}
}

// probe compares one element with smaller and smaller steps until none meets a kink; rounding allows for more error the smaller
// the step. It returns false if there was no such step.
func (c *comparison) probe(name string, values []float32, i int, gradient, top float64) bool {
	c.t.Helper()
	for shrink := 1.0; shrink <= 64; shrink *= 4 {
		tolerance := c.tolerance * shrink * top
		slope, doubt := c.difference(values, i, c.step/shrink)
		if doubt > tolerance {
			continue
		}
		if d := math.Abs(slope - gradient); !(d <= 2*tolerance) {
			c.t.Errorf("%s[%d]: gradient %v, differences give %v ± %v", name, i, gradient, slope, doubt)
		}
		return true
	}
	return false
}

// difference is the five-point estimate of the derivative with respect to values[i]. The doubt is how far slopes over different
// intervals disagree: of a function linear in every element left and right of the point, of others at step h and h/2.
func (c *comparison) difference(values []float32, i int, h float64) (slope, doubt float64) {
	centre := values[i]
	at := func(d float64) float64 {
		values[i] = centre + float32(d)
		return c.loss()
	}
	estimate := func(h float64) float64 { return (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h) }
	slope = estimate(h)
	if c.linear {
		doubt = math.Abs(at(2*h)+at(-2*h)-2*at(0)) / (2 * h)
	} else {
		doubt = math.Abs(slope - estimate(h/2))
	}
	values[i] = centre
	return slope, doubt
}
