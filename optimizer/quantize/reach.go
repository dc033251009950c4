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

// What networks write for "never": the padding of a maximum, the bound of a clip that does not clip, a mask before a softmax or before a
// maximum over time. As numbers they are −Inf, −3.4e38 or −1e9, and would decide the range of the int8 activation they meet, which leaves
// nothing for the values that count.
const (
	farAway = 100 // constants that come nowhere near it are not looked at
	// masked is how far below the scores a mask keeps a whole row: a softmax gives e⁻¹⁰ for all that is masked in it, less than a
	// hundredth of the code its int8 output has for 0.
	masked = 10
)

// never is a constant that may only ever lose, or only ever mask.
type never struct {
	tensor int // the constant
	other  int // the tensor it meets
	factor int // what multiplies it before, which has to be a mask of 0 and ±1; None: nothing
	// bound gives the least and the largest value that still makes no difference, by the range of what it meets.
	bound func(met Range) (lo, hi float64)
	what  string
}

// Reach replaces constants that stand for infinity by the nearest values which what they meet reaches on samples 0 … n−1 of the feed,
// so that they do not decide a range. A constant stays as it is where the network would answer those samples otherwise by half an int8
// code. m does not change: where nothing is replaced it is what is returned. Notes name the constants.
func Reach(ctx context.Context, m *tflite.Model, feed Feed, n int) (*tflite.Model, []string, error) {
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, nil, err
	}
	found := nevers(g)
	if len(found) == 0 {
		return m, nil, nil
	}
	var met []int
	for _, f := range found {
		met = append(met, f.other)
		if f.factor != None {
			met = append(met, f.factor)
		}
	}
	before, err := watch(ctx, m, met, feed, n)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	out := m
	for _, f := range found {
		seen := before.met[f.other]
		if seen.Min > seen.Max || f.factor != None && !before.masks[f.factor] {
			continue
		}
		t := out.Subgraph().Tensors[f.tensor]
		values, err := out.Float32s(t)
		if err != nil {
			return nil, nil, err
		}
		lo, hi := f.bound(seen)
		clamped := slices.Clone(values)
		for i, v := range values {
			clamped[i] = float32(min(max(float64(v), lo), hi))
		}
		if slices.Equal(clamped, values) {
			continue
		}
		changed := out.Clone()
		changed.SetData(changed.Subgraph().Tensors[f.tensor], tflite.Float32Bytes(clamped))
		after, err := watch(ctx, changed, nil, feed, n)
		if err != nil {
			return nil, nil, err
		}
		if !before.answers(after) {
			continue
		}
		out = changed
		notes = append(notes, fmt.Sprintf("constant %q holds %.4g, %s: %.4g does the same and leaves the range to the values that count",
			t.Name, farthest(values), f.what, farthest(clamped)))
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
		if values == nil || math.Abs(float64(farthest(values))) < farAway || slices.Contains(g.Outputs, t) {
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

// loses tells what a constant, or a mask that was multiplied by one, is to the operator that reads it.
func loses(g *ir.Graph, t int, n *ir.Node) (never, bool) {
	slot := slices.Index(n.Inputs, t)
	f := never{tensor: t, factor: None}
	if attr, ok := n.Attr.(ir.Binary); ok && attr.Act != ir.None {
		return f, false
	}
	switch n.Op {
	case schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorMINIMUM:
		f.other, f.what = n.Inputs[1-slot], "which never wins"
		f.bound = atLeast
		if n.Op == schema.BuiltinOperatorMINIMUM {
			f.bound = atMost
		}
		return f, g.Tensors[f.other].Const == nil
	case schema.BuiltinOperatorPADV2:
		f.other, f.what, f.bound = n.Inputs[0], "padding that never wins a maximum", atLeast
		return f, slot == 2 && onlyTo(g, n.Outputs[0], byMaximum, nil)
	case schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB:
		margin, ok := softmaxMargin(g, n.Outputs[0])
		f.other, f.what = n.Inputs[1-slot], "a mask before a softmax"
		if onlyTo(g, n.Outputs[0], byMaximum, nil) {
			margin, ok, f.what = 0, true, "a mask before a maximum"
		}
		f.bound = func(met Range) (lo, hi float64) { // however high a masked score, it stays under the lowest of those that count
			return float64(met.Min) - float64(met.Max) - margin, math.MaxFloat32
		}
		if onlyTo(g, n.Outputs[0], byMinimum, nil) {
			ok, f.what = true, "a mask before a minimum"
			f.bound = func(met Range) (lo, hi float64) { return -math.MaxFloat32, float64(met.Max) - float64(met.Min) }
		}
		if added := f.bound; n.Op == schema.BuiltinOperatorSUB {
			f.bound = func(met Range) (lo, hi float64) { lo, hi = added(met); return -hi, -lo }
		}
		return f, ok && (slot == 1 || n.Op == schema.BuiltinOperatorADD) && g.Tensors[f.other].Const == nil
	case schema.BuiltinOperatorSELECT, schema.BuiltinOperatorSELECT_V2:
		if slot < 1 {
			return f, false
		}
		f.other = n.Inputs[3-slot]
		if onlyTo(g, n.Outputs[0], byMaximum, nil) {
			f.what, f.bound = "which never wins a maximum", atLeast
			return f, true
		}
		if onlyTo(g, n.Outputs[0], byMinimum, nil) {
			f.what, f.bound = "which never wins a minimum", atMost
			return f, true
		}
		margin, ok := softmaxMargin(g, n.Outputs[0])
		f.what = "a mask before a softmax"
		f.bound = func(met Range) (lo, hi float64) { return float64(met.Min) - margin, math.MaxFloat32 }
		return f, ok
	case schema.BuiltinOperatorMUL: // (1 − mask)·−1e9, added to scores
		product := n.Outputs[0]
		sums := g.Tensors[product].Consumers
		if len(sums) != 1 || slices.Contains(g.Outputs, product) || g.Tensors[n.Inputs[1-slot]].Const != nil {
			return f, false
		}
		inner, ok := loses(g, product, &g.Nodes[sums[0]])
		sum := g.Nodes[sums[0]].Op
		inner.tensor, inner.factor = t, n.Inputs[1-slot]
		both := inner.bound // the factor's sign is not known
		inner.bound = func(met Range) (lo, hi float64) {
			lo, hi = both(met)
			far := min(math.Abs(lo), math.Abs(hi))
			return -far, far
		}
		return inner, ok && (sum == schema.BuiltinOperatorADD || sum == schema.BuiltinOperatorSUB)
	}
	return f, false
}

func atLeast(met Range) (lo, hi float64) { return float64(met.Min), math.MaxFloat32 }

func atMost(met Range) (lo, hi float64) { return -math.MaxFloat32, float64(met.Max) }

var (
	byMaximum = map[schema.BuiltinOperator]bool{
		schema.BuiltinOperatorMAX_POOL_2D: true, schema.BuiltinOperatorREDUCE_MAX: true, schema.BuiltinOperatorARG_MAX: true,
	}
	byMinimum = map[schema.BuiltinOperator]bool{schema.BuiltinOperatorREDUCE_MIN: true, schema.BuiltinOperatorARG_MIN: true}
	bySoftmax = map[schema.BuiltinOperator]bool{schema.BuiltinOperatorSOFTMAX: true}
	// movers hand values on as they are.
	movers = map[schema.BuiltinOperator]bool{
		schema.BuiltinOperatorRESHAPE: true, schema.BuiltinOperatorTRANSPOSE: true, schema.BuiltinOperatorSQUEEZE: true,
		schema.BuiltinOperatorEXPAND_DIMS: true, schema.BuiltinOperatorSLICE: true, schema.BuiltinOperatorSTRIDED_SLICE: true,
	}
)

// softmaxMargin is how far below the scores that count a mask has to be for the softmaxes that t goes to; ok is false if it goes
// elsewhere too.
func softmaxMargin(g *ir.Graph, t int) (margin float64, ok bool) {
	least := math.Inf(1) // of what softmaxes multiply by
	ok = onlyTo(g, t, bySoftmax, func(n *ir.Node) {
		shape := g.Input(n, 0).Shape
		beta := float64(n.Attr.(ir.Softmax).Beta)
		margin, least = max(margin, (masked+math.Log(float64(max(1, shape[len(shape)-1]))))/beta), min(least, beta)
	})
	return margin, ok && least > 0
}

// onlyTo reports whether a tensor goes to operators of a set alone, at once or moved, and shows them.
func onlyTo(g *ir.Graph, t int, set map[schema.BuiltinOperator]bool, show func(n *ir.Node)) bool {
	readers := g.Tensors[t].Consumers
	if len(readers) == 0 || slices.Contains(g.Outputs, t) {
		return false
	}
	for _, i := range readers {
		n := &g.Nodes[i]
		switch {
		case set[n.Op]:
			if show != nil {
				show(n)
			}
		case !movers[n.Op] || !onlyTo(g, n.Outputs[0], set, show):
			return false
		}
	}
	return true
}

// watched is what a network does with samples.
type watched struct {
	outputs [][]float32
	met     map[int]Range // of tensors; values that are not finite, or stand for infinity, are left out
	masks   map[int]bool  // tensors that hold nothing but 0 and ±1
}

// Agree reports whether a network and another form of it answer samples 0 … n−1 of the feed alike, to half a code of an int8 output.
func Agree(ctx context.Context, m, form *tflite.Model, feed Feed, n int) (bool, error) {
	want, err := watch(ctx, m, nil, feed, n)
	if err != nil {
		return false, err
	}
	got, err := watch(ctx, form, nil, feed, n)
	return err == nil && want.answers(got), err
}

// watch runs samples and looks at the outputs and some tensors.
func watch(ctx context.Context, m *tflite.Model, tensors []int, feed Feed, n int) (*watched, error) {
	net, err := float.Compile(m, 0)
	if err != nil {
		return nil, err
	}
	w := &watched{outputs: make([][]float32, len(net.Graph.Outputs)), met: map[int]Range{}, masks: map[int]bool{}}
	for _, t := range tensors {
		w.met[t], w.masks[t] = Empty(), true
	}
	exec := net.NewForwardExec(tensors...)
	for first := 0; first < n; first += net.MicroBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := feed.Batch(exec, first, min(net.MicroBatch, n-first)); err != nil {
			return nil, err
		}
		exec.Forward()
		for i := range w.outputs {
			w.outputs[i] = append(w.outputs[i], exec.Output(i)...)
		}
		for t, r := range w.met {
			for _, v := range exec.Tensor(t) {
				if v-v == 0 && math.Abs(float64(v)) < 1e30 {
					r.Min, r.Max = min(r.Min, v), max(r.Max, v)
				}
				w.masks[t] = w.masks[t] && (v == 0 || v == 1 || v == -1)
			}
			w.met[t] = r
		}
	}
	return w, nil
}

// answers reports whether the outputs of a changed network are those of the original, to half a code of an int8 output.
func (w *watched) answers(changed *watched) bool {
	for i, output := range w.outputs {
		r := Empty()
		for _, v := range output {
			if v-v == 0 {
				r.Min, r.Max = min(r.Min, v), max(r.Max, v)
			}
		}
		half := (float64(r.Max) - float64(r.Min)) / 510
		for k, v := range output {
			if d := math.Abs(float64(v) - float64(changed.outputs[i][k])); v != changed.outputs[i][k] && !(d <= half) {
				return false
			}
		}
	}
	return true
}
