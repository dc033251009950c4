package tflite

import (
	"fmt"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// constantNames are what the inputs of operators are called whose constants have no name; of others their number tells.
var constantNames = map[schema.BuiltinOperator]map[int]string{
	schema.BuiltinOperatorCONV_2D:           {1: "weight", 2: "bias"},
	schema.BuiltinOperatorDEPTHWISE_CONV_2D: {1: "weight", 2: "bias"},
	schema.BuiltinOperatorCONV_3D:           {1: "weight", 2: "bias"},
	schema.BuiltinOperatorFULLY_CONNECTED:   {1: "weight", 2: "bias"},
	schema.BuiltinOperatorTRANSPOSE_CONV:    {1: "weight", 3: "bias"},
}

// inner are the tensors of each subgraph whose names nobody asks for: all but inputs and outputs of the primary subgraph and of
// signatures.
func (m *Model) inner() [][]bool {
	out := make([][]bool, len(m.Subgraphs))
	for s, g := range m.Subgraphs {
		out[s] = make([]bool, len(g.Tensors))
		for i := range out[s] {
			out[s][i] = true
		}
	}
	keep := func(s int) {
		g := m.Subgraphs[s]
		for _, border := range [][]int32{g.Inputs, g.Outputs} {
			for _, t := range border {
				out[s][t] = false
			}
		}
	}
	keep(0)
	for _, signature := range m.SignatureDefs {
		s := int(signature.SubgraphIndex)
		keep(s)
		for _, entries := range [][]*schema.TensorMapT{signature.Inputs, signature.Outputs} {
			for _, e := range entries {
				out[s][e.TensorIndex] = false
			}
		}
	}
	return out
}

// name gives the inner tensors of a file names that has them without any, and says so in Bare: CONV_2D:3 is what operator 3 makes,
// CONV_2D:3/weight a constant that it is the first to read. A file in which one has a name stays as it is.
func (m *Model) name() {
	inner, nameless := m.inner(), 0
	for s, g := range m.Subgraphs {
		for i, t := range g.Tensors {
			switch {
			case !inner[s][i]:
			case t.Name != "":
				return
			default:
				nameless++
			}
		}
	}
	if m.Bare = nameless > 0; !m.Bare {
		return
	}
	for s, g := range m.Subgraphs {
		taken := map[string]bool{}
		for i, t := range g.Tensors {
			if !inner[s][i] {
				taken[t.Name] = true
			}
		}
		give := func(t int32, format string, args ...any) {
			if t < 0 || !inner[s][t] || g.Tensors[t].Name != "" {
				return
			}
			name := fmt.Sprintf(format, args...)
			if s > 0 {
				name = fmt.Sprintf("subgraph%d/%s", s, name)
			}
			for taken[name] {
				name += "_"
			}
			g.Tensors[t].Name, taken[name] = name, true
		}
		for k, t := range g.Inputs {
			give(t, "input%d", k)
		}
		for i, o := range g.Operators {
			code, custom := m.Op(o)
			operator := fmt.Sprintf("%s:%d", code, i)
			if custom != "" {
				operator = fmt.Sprintf("%.32s:%d", custom, i)
			}
			for k, t := range o.Outputs {
				if k == 0 {
					give(t, "%s", operator)
				} else {
					give(t, "%s/output%d", operator, k)
				}
			}
			for k, t := range o.Inputs {
				if what := constantNames[code][k]; what != "" {
					give(t, "%s/%s", operator, what)
				} else {
					give(t, "%s/input%d", operator, k)
				}
			}
		}
		for i := range g.Tensors {
			give(int32(i), "tensor:%d", i)
		}
	}
}
