package quantize

import (
	"context"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// What networks write for "never": the padding of a maximum, the bound of a clip that does not clip, a mask before a softmax. As
// numbers they are −Inf, −3.4e38 or −1e9, and would decide the range of the int8 activation they meet, which leaves nothing for the
// values that count.
const (
	farAway = 100 // constants that come nowhere near it are not looked at
	// masked is how far below the scores a mask is kept: a softmax gives e⁻¹⁰ there, less than a hundredth of the code its int8 output
	// has for 0.
	masked = 10
)

// never is a constant that only ever loses, or only ever masks.
type never struct {
	tensor int // the constant
	other  int // the tensor it meets
	// bound gives the least and the largest value that still makes no difference, by the range of what it meets.
	bound func(met Range) (lo, hi float64)
	what  string
}

// Reach replaces constants that stand for infinity by the nearest values which what they meet reaches on samples 0 … n−1 of the feed,
// so that they do not decide a range; the network's answers stay. m does not change: without such constants it is what is returned.
// Notes name the constants.
func Reach(ctx context.Context, m *tflite.Model, feed Feed, n int) (*tflite.Model, []string, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, nil, err
	}
	found := nevers(g)
	if len(found) == 0 {
		return m, nil, nil
	}
	ranges, err := meet(ctx, m, found, feed, n)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	out := m.Clone()
	for _, f := range found {
		t := out.Subgraph().Tensors[f.tensor]
		values, err := out.Float32s(t)
		if err != nil {
			return nil, nil, err
		}
		lo, hi := f.bound(ranges[f.other])
		clamped := slices.Clone(values)
		for i, v := range values {
			clamped[i] = float32(min(max(float64(v), lo), hi))
		}
		if slices.Equal(clamped, values) {
			continue
		}
		out.SetData(t, tflite.Float32Bytes(clamped))
		notes = append(notes, fmt.Sprintf("constant %q holds %.4g, %s: %.4g does the same and leaves the range to the values that count",
			t.Name, farthest(values), f.what, farthest(clamped)))
	}
	if notes == nil {
		return m, nil, nil
	}
	return out, notes, nil
}

// farthest is the value with the largest magnitude.
func farthest(values []float32) float32 {
	far := float32(0)
	for _, v := range values {
		if math.Abs(float64(v)) > math.Abs(float64(far)) {
			far = v
		}
	}
	return far
}

// nevers finds the constants of a graph that only ever lose or mask, wherever they are read.
func nevers(g *ir.Graph) []never {
	var out []never
	for t := range g.Tensors {
		values := g.Tensors[t].Float32s()
		if values == nil || math.Abs(float64(farthest(values))) < farAway {
			continue
		}
		readers := g.Tensors[t].Consumers
		if len(readers) != 1 { // read twice, it would have to suit both
			continue
		}
		if f, ok := loses(g, t, &g.Nodes[readers[0]]); ok {
			out = append(out, f)
		}
	}
	return out
}

// loses tells what a constant is to the operator that reads it.
func loses(g *ir.Graph, t int, n *ir.Node) (never, bool) {
	slot := slices.Index(n.Inputs, t)
	f := never{tensor: t}
	switch n.Op {
	case schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorMINIMUM:
		f.other, f.what = n.Inputs[1-slot], "which never wins"
		f.bound = func(met Range) (lo, hi float64) { return float64(met.Min), float64(met.Max) }
		return f, g.Tensors[f.other].Const == nil
	case schema.BuiltinOperatorPADV2:
		f.other, f.what = n.Inputs[0], "padding that never wins a maximum"
		f.bound = func(met Range) (lo, hi float64) { return float64(met.Min), math.MaxFloat32 }
		return f, slot == 2 && onlyTo(g, n.Outputs[0], byMaximum)
	case schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB:
		f.other, f.what = n.Inputs[1-slot], "a mask before a softmax"
		f.bound = below
		if n.Op == schema.BuiltinOperatorSUB {
			f.bound = func(met Range) (lo, hi float64) { lo, hi = below(met); return -hi, -lo }
		}
		return f, (slot == 1 || n.Op == schema.BuiltinOperatorADD) && g.Tensors[f.other].Const == nil && onlyTo(g, n.Outputs[0], bySoftmax)
	case schema.BuiltinOperatorSELECT, schema.BuiltinOperatorSELECT_V2:
		f.other, f.what = n.Inputs[3-slot], "a mask before a softmax"
		f.bound = func(met Range) (lo, hi float64) { return float64(met.Min) - masked, math.MaxFloat32 }
		if slot > 0 && onlyTo(g, n.Outputs[0], byMaximum) {
			f.what = "which never wins a maximum"
			f.bound = func(met Range) (lo, hi float64) { return float64(met.Min), math.MaxFloat32 }
			return f, true
		}
		return f, slot > 0 && onlyTo(g, n.Outputs[0], bySoftmax)
	case schema.BuiltinOperatorMUL: // (1 − mask)·−1e9, added to scores
		sums := g.Output(n, 0).Consumers
		if len(sums) != 1 {
			return f, false
		}
		sum := &g.Nodes[sums[0]]
		if sum.Op != schema.BuiltinOperatorADD && sum.Op != schema.BuiltinOperatorSUB {
			return f, false
		}
		inner, ok := loses(g, n.Outputs[0], sum)
		inner.tensor = t
		return inner, ok
	}
	return f, false
}

// below bounds what is added to scores before a softmax: however high a masked score, it stays under the lowest of those that count.
func below(met Range) (lo, hi float64) {
	return float64(met.Min) - float64(met.Max) - masked, math.MaxFloat32
}

var (
	byMaximum = map[schema.BuiltinOperator]bool{
		schema.BuiltinOperatorMAX_POOL_2D: true, schema.BuiltinOperatorREDUCE_MAX: true, schema.BuiltinOperatorMAXIMUM: true, schema.BuiltinOperatorARG_MAX: true,
	}
	bySoftmax = map[schema.BuiltinOperator]bool{schema.BuiltinOperatorSOFTMAX: true, schema.BuiltinOperatorLOG_SOFTMAX: true}
	// movers hand values on as they are.
	movers = map[schema.BuiltinOperator]bool{
		schema.BuiltinOperatorRESHAPE: true, schema.BuiltinOperatorTRANSPOSE: true, schema.BuiltinOperatorSQUEEZE: true,
		schema.BuiltinOperatorEXPAND_DIMS: true, schema.BuiltinOperatorSLICE: true, schema.BuiltinOperatorSTRIDED_SLICE: true,
	}
)

// onlyTo reports whether a tensor goes to operators of a set alone, at once or moved.
func onlyTo(g *ir.Graph, t int, set map[schema.BuiltinOperator]bool) bool {
	readers := g.Tensors[t].Consumers
	if len(readers) == 0 || slices.Contains(g.Outputs, t) {
		return false
	}
	for _, i := range readers {
		n := &g.Nodes[i]
		if !set[n.Op] && !(movers[n.Op] && onlyTo(g, n.Outputs[0], set)) {
			return false
		}
	}
	return true
}

// meet runs samples and returns the ranges of the tensors that constants meet, by tensor; values that are not finite are left out.
func meet(ctx context.Context, m *tflite.Model, found []never, feed Feed, n int) (map[int]Range, error) {
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	ranges := map[int]Range{}
	var tensors []int
	for _, f := range found {
		if _, ok := ranges[f.other]; !ok {
			ranges[f.other] = Empty()
			tensors = append(tensors, f.other)
		}
	}
	exec := net.NewForwardExec(tensors...)
	for first := 0; first < n; first += net.MicroBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := feedBatch(exec, len(net.Graph.Inputs), feed, first, min(net.MicroBatch, n-first)); err != nil {
			return nil, err
		}
		exec.Forward()
		for _, t := range tensors {
			r := ranges[t]
			for _, v := range exec.Tensor(t) {
				if v-v == 0 && math.Abs(float64(v)) < 1e30 {
					r.Min, r.Max = min(r.Min, v), max(r.Max, v)
				}
			}
			ranges[t] = r
		}
	}
	return ranges, nil
}
