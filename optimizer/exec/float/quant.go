package float

import (
	"math"

	"espalier.dev/espalier/optimizer/kernel"
)

// Range is what values lay between; Min > Max where there were none.
type Range = kernel.Range

// Grads holds what Backward adds up.
type Grads struct {
	Param [][]float32 // by index in Network.Params; nil for what is not trainable
	Act   []ActGrad   // by index in Network.ActQuants
}

// ActGrad is what Backward found out about one ActQuant.
type ActGrad struct {
	Scale, ZeroPoint float32 // gradients of the loss, where ActQuant.Learn asks for them
	Range                    // of the values before quantization
}

// NewGrads returns empty sums.
func (n *Network) NewGrads() *Grads {
	g := &Grads{Param: make([][]float32, len(n.Params)), Act: make([]ActGrad, len(n.ActQuants()))}
	for i, p := range n.Params {
		if p.Trainable {
			g.Param[i] = make([]float32, len(p.Value))
		}
	}
	g.Reset()
	return g
}

// Reset empties the sums.
func (g *Grads) Reset() {
	for _, p := range g.Param {
		clear(p)
	}
	g.ResetAct()
}

// ResetAct empties what was found out about quantizations.
func (g *Grads) ResetAct() {
	for i := range g.Act {
		g.Act[i] = ActGrad{Range: kernel.EmptyRange()}
	}
}

// AddAct adds other ActGrads, in the order of g.Act, to g.
func (g *Grads) AddAct(other []ActGrad) {
	for i := range g.Act {
		a, b := &g.Act[i], &other[i]
		a.Scale += b.Scale
		a.ZeroPoint += b.ZeroPoint
		a.Range = union(a.Range, b.Range)
	}
}

// union is the smallest range that holds both.
func union(a, b Range) Range { return Range{Min: min(a.Min, b.Min), Max: max(a.Max, b.Max)} }

// ActQuants returns the distinct entries of Act in order of their first tensor.
func (n *Network) ActQuants() []*ActQuant {
	var list []*ActQuant
	seen := map[*ActQuant]bool{}
	for _, q := range n.Act {
		if q != nil && !seen[q] {
			seen[q] = true
			list = append(list, q)
		}
	}
	return list
}

func (q *ActQuant) kernel() kernel.Quant {
	return kernel.Quant{Scale: q.Scale, Zero: q.ZeroPoint, Wide: q.Wide}
}

// observe notes the range of values about to be quantized.
func (e *Exec) observe(act int, raw []float32) {
	if e.layout.train {
		e.observed[act] = kernel.MinMax(e.observed[act], raw)
	}
}

// cap gives values about to be quantized that are not finite an end of the range, as the int8 kernels do: a logarithm of 0 is the lowest
// code, and so is one of a negative number.
func (e *Exec) cap(t int, raw []float32) {
	lo, hi := e.acts[e.act[t]].kernel().Bounds(float32(math.Inf(-1)), float32(math.Inf(1)))
	for i, v := range raw {
		switch {
		case v-v == 0:
		case v > 0:
			raw[i] = hi
		default:
			raw[i] = lo
		}
	}
}

// quantize writes the fake-quantized raw values of tensor t, which may be its own buffer.
func (e *Exec) quantize(t int, raw []float32) {
	act := e.act[t]
	e.observe(act, raw)
	kernel.FakeQuant(e.values[t], raw, e.acts[act].kernel())
}

// gate turns the gradient of tensor t into that of its values before quantization and, as far as bounds go, before the
// activation. It adds what it finds out about a learned quantization to g.
func (e *Exec) gate(g *Grads, t int, dy, raw []float32, b bounds) {
	e.gateRows(g, t, dy, raw, nil, len(dy), b)
}

// gateRows is gate of rows of channels, which also adds the rows to dbias (nil: nowhere).
func (e *Exec) gateRows(g *Grads, t int, dy, raw, dbias []float32, channels int, b bounds) {
	rows, act := len(dy)/channels, e.act[t]
	if act >= 0 {
		q := e.acts[act]
		if q.Learn {
			scale, zero := kernel.BiasActQuantBackward(dy, raw, dbias, rows, channels, b.lo, b.hi, q.kernel())
			g.Act[act].Scale += scale
			g.Act[act].ZeroPoint += zero
			return
		}
		b.lo, b.hi = q.kernel().Bounds(b.lo, b.hi)
	}
	switch {
	case dbias != nil:
		kernel.BiasActBackward(dy, raw, dbias, rows, channels, b.lo, b.hi)
	case b.active():
		kernel.ClampBackward(dy, raw, b.lo, b.hi)
	}
}

// finish completes rows of output 0 of a fused node, elements from … to−1: bias, activation, fake quantization.
func (e *Exec) finish(n *node, bias []float32, channels int, b bounds, from, to int) {
	t := n.out[0]
	raw, act := e.result(n, 0)[from:to], e.act[t]
	rows := len(raw) / channels
	switch {
	case act >= 0:
		seen := kernel.BiasActQuant(e.values[t][from:to], raw, bias, rows, channels, b.lo, b.hi, e.acts[act].kernel(), e.observed[act])
		if e.layout.train {
			e.observed[act] = seen
		}
	case bias != nil || b.active():
		kernel.BiasAct(raw, bias, rows, channels, b.lo, b.hi)
	}
}

// unfinish is the backward of finish over the whole output: it turns dy into the gradient of the sums and adds up the bias's.
func (e *Exec) unfinish(g *Grads, n *node, biasSlot, channels int, b bounds) []float32 {
	t := n.out[0]
	dy := e.gradients[t]
	dbias, _ := e.gradientOf(g, n, biasSlot)
	e.gateRows(g, t, dy, e.result(n, 0), dbias, channels, b)
	return dy
}

// quantize returns the value x is represented by; infinities become the ends of the range.
func (q *ActQuant) quantize(x float32) float32 {
	lo, hi := q.codes()
	steps := roundHalfAway(x / q.Scale)
	return q.Scale * min(max(steps, float32(lo-int(q.ZeroPoint))), float32(hi-int(q.ZeroPoint)))
}

// codes are the least and the largest there are.
func (q *ActQuant) codes() (lo, hi int) {
	if q.Wide {
		return math.MinInt16, math.MaxInt16
	}
	return math.MinInt8, math.MaxInt8
}

// roundHalfAway rounds to the nearest integer, halves away from zero.
func roundHalfAway(x float32) float32 { return float32(math.Round(float64(x))) }
