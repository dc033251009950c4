package leaf

import (
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// ends compares a leaf's results with the simulation's: its outputs, and the scores behind a final softmax.
type ends struct {
	list    []*end
	scores  *end      // nil if they are not int8
	margins []float64 // by sample: how far below the best the leaf's class is by the simulation's scores, in codes
	same    int
	kept    int  // samples in which the simulation's class is the float network's
	mixed   bool // there are activations of int8
}

// end is one result.
type end struct {
	name      string
	simulated int // the simulation's tensor
	leaf      operand
	codes     []byte  // kept as soon as they are computed: their memory is used again
	squares   float64 // of the differences between leaf and simulation, in codes
	moved     float64 // the same between simulation and float network
	compared  int
}

func newEnds(leaf *ir.Graph, simulation *float.Network, place []int) *ends {
	e := &ends{mixed: slices.ContainsFunc(leaf.Tensors, func(t ir.Tensor) bool { return t.Type == schema.TensorTypeINT8 && t.Const == nil })}
	tensors := slices.Clone(simulation.Graph.Outputs)
	for k := range simulation.Graph.Outputs {
		tensors = append(tensors, simulation.LossTensor(k))
	}
	for _, t := range tensors {
		at := place[t]
		if at == quantize.None || slices.ContainsFunc(e.list, func(known *end) bool { return known.simulated == t }) {
			continue
		}
		of := &leaf.Tensors[at]
		if of.Producer >= 0 && leaf.Nodes[of.Producer].Op == schema.BuiltinOperatorDEQUANTIZE { // a float output
			of = &leaf.Tensors[leaf.Nodes[of.Producer].Inputs[0]]
		}
		if !isQuantized(of) || of.Const != nil {
			continue
		}
		one := &end{
			name: simulation.Graph.Tensors[t].Name, simulated: t,
			leaf: operand{tensor: of.Index, params: paramsOf(of)},
		}
		if e.list = append(e.list, one); t == simulation.LossTensor(0) {
			e.scores = one
		}
	}
	e.list = slices.DeleteFunc(e.list, func(one *end) bool { return e.steep(simulation.Graph, one.simulated) })
	return e
}

// steep reports whether a tensor is made by a softmax or a sigmoid of scores that are compared themselves, and whose unit is more than one of
// e^x: a tie that rounding decides moves it over much of its range. The operator that makes it is still compared by itself.
func (e *ends) steep(simulation *ir.Graph, t int) bool {
	for k, out := range simulation.Outputs {
		from := simulation.End(k)
		if out == t && from.Tensor != t && (from.Last == ir.SoftmaxEnd || from.Last == ir.LogisticEnd) && slices.ContainsFunc(e.list, func(one *end) bool {
			return one.simulated == from.Tensor && e.unit(one.leaf.params)*float64(from.Beta) > 1
		}) {
			return true
		}
	}
	return false
}

// unit is what differences from a simulation are measured in: a code; of int16 sixteen, a sixteenth of what a code of int8 would be, or all
// of that where int8 layers add their rounding.
func (e *ends) unit(p quantize.Params) float64 {
	switch {
	case p.Wide && e.mixed:
		return 256 * float64(p.Scale)
	case p.Wide:
		return 16 * float64(p.Scale)
	default:
		return float64(p.Scale)
	}
}

// keep copies what a node of the leaf has just computed.
func (e *ends) keep(integers *integer.Executor, n *ir.Node) {
	for _, one := range e.list {
		if slices.Contains(n.Outputs, one.leaf.tensor) {
			one.codes = append(one.codes[:0], integers.Tensor(one.leaf.tensor)...)
		}
	}
}

// compare adds a sample's differences. unquantized may be nil.
func (e *ends) compare(simulation, unquantized *float.Exec) {
	for _, one := range e.list {
		want := simulation.Tensor(one.simulated)
		p := one.leaf.params
		for k := range min(p.Codes(one.codes), len(want)) {
			d := (float64(p.Dequantize(p.Code(one.codes, k))) - float64(want[k])) / e.unit(p)
			one.squares += d * d
			one.compared++
			if unquantized != nil {
				d := float64(want[k]-unquantized.Tensor(one.simulated)[k]) / e.unit(p)
				one.moved += d * d
			}
		}
	}
}

// judge records how the leaf's class stands among the simulation's scores. Classes that the leaf gives the same number, as a softmax in
// steps of 1/256 does where no class stands out, are its choice alike.
func (e *ends) judge(scores, answers []float32) {
	best, class := argMax(scores), argMax(answers)
	if class == best {
		e.same++
	}
	if len(answers) > len(scores) {
		e.margins = append(e.margins, math.Inf(1))
		return
	}
	code := 1.0
	if e.scores != nil {
		code = e.unit(e.scores.leaf.params)
	}
	margin := math.Inf(1)
	for k, a := range answers {
		if a == answers[class] {
			margin = min(margin, float64(scores[best]-scores[k])/code)
		}
	}
	e.margins = append(e.margins, margin)
}

// noise is the root mean square difference, in codes, of the result for which it is largest beside what is allowed of it, the result's name,
// and how far quantization moved that.
func (e *ends) noise() (codes float64, name string, quantization float64) {
	worst := 0.0
	for _, one := range e.list {
		n, moved := one.noise(), math.Sqrt(one.moved/float64(max(one.compared, 1)))
		if share := n / max(maxNoise, maxShare*moved); share > worst || name == "" {
			worst, codes, name, quantization = share, n, one.name, moved
		}
	}
	return codes, name, quantization
}

func (e *end) noise() float64 { return math.Sqrt(e.squares / float64(max(e.compared, 1))) }

// agreement returns the share of samples in which the leaf chooses the simulation's class, ties counted and not.
func (e *ends) agreement() (topOne, strict float64) {
	slack := 0.0
	if e.scores != nil {
		slack = min(max(tie*1.01, tieNoise*e.scores.noise()), maxTie)
	}
	agreed := 0
	for _, m := range e.margins {
		if m <= slack {
			agreed++
		}
	}
	n := float64(len(e.margins))
	return float64(agreed) / n, float64(e.same) / n
}
