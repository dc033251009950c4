package tflite

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Limits on counts no real model comes near.
const (
	maxSubgraphs = 1 << 12
	maxTensors   = 1 << 20
	maxRank      = 8 // LiteRT's kernels take at most 6 to 8 dimensions
)

// Check verifies what the layout cannot: indices, shapes against data, quantization parameters, and that operators come after
// what they read. Read and Marshal call it.
func (m *Model) Check() error {
	switch {
	case m.Version != 3:
		return wrong("", "schema version is %d, want 3", m.Version)
	case len(m.Subgraphs) == 0:
		return wrong("", "the model has no subgraph")
	case len(m.Subgraphs) > maxSubgraphs:
		return wrong("", "%d subgraphs, at most %d are read", len(m.Subgraphs), maxSubgraphs)
	case len(m.Buffers) > 0 && len(m.Buffers[0].Data) > 0:
		return wrong("buffer 0", "it has to be empty: tensors without data refer to it")
	}
	for i, c := range m.OperatorCodes {
		code := max(c.BuiltinCode, schema.BuiltinOperator(c.DeprecatedBuiltinCode))
		if code < 0 {
			return wrong(fmt.Sprintf("operator code %d", i), "%d is no operator", code)
		}
	}
	for i, entry := range m.ModelT.Metadata {
		if int(entry.Buffer) >= len(m.Buffers) {
			return wrong(fmt.Sprintf("metadata %d %q", i, entry.Name), "buffer %d of %d", entry.Buffer, len(m.Buffers))
		}
	}
	for s, g := range m.Subgraphs {
		if err := m.checkSubgraph(s, g); err != nil {
			return err
		}
	}
	return m.checkSignatures()
}

func (m *Model) checkSignatures() error {
	for i, signature := range m.SignatureDefs {
		where := fmt.Sprintf("signature %d %q", i, signature.SignatureKey)
		if int(signature.SubgraphIndex) >= len(m.Subgraphs) {
			return wrong(where, "subgraph %d of %d", signature.SubgraphIndex, len(m.Subgraphs))
		}
		n := len(m.Subgraphs[signature.SubgraphIndex].Tensors)
		for _, entry := range append(append([]*schema.TensorMapT{}, signature.Inputs...), signature.Outputs...) {
			if int(entry.TensorIndex) >= n {
				return wrong(where, "%q is tensor %d of %d", entry.Name, entry.TensorIndex, n)
			}
		}
	}
	return nil
}

func (m *Model) checkSubgraph(s int, g *schema.SubGraphT) error {
	if len(g.Tensors) > maxTensors {
		return wrong(inSubgraph(s, "subgraph"), "%d tensors, at most %d are read", len(g.Tensors), maxTensors)
	}
	for i, t := range g.Tensors {
		if err := m.checkTensor(tensorName(s, i, t), t); err != nil {
			return err
		}
	}
	for _, border := range []struct {
		name    string
		indices []int32
	}{{"input", g.Inputs}, {"output", g.Outputs}} {
		for _, t := range border.indices {
			if t < 0 || int(t) >= len(g.Tensors) {
				return wrong(inSubgraph(s, border.name), "tensor %d of %d", t, len(g.Tensors))
			}
		}
	}
	return m.checkOperators(s, g)
}

func (m *Model) checkTensor(where string, t *schema.TensorT) error {
	if len(m.Buffers) > 0 && int(t.Buffer) >= len(m.Buffers) {
		return wrong(where, "buffer %d of %d", t.Buffer, len(m.Buffers))
	}
	if t.Type < 0 || t.Type > schema.TensorTypeFLOAT8_E5M2 {
		return wrong(where, "type %d is unknown", t.Type)
	}
	if len(t.Shape) > maxRank {
		return wrong(where, "%d dimensions, at most %d are supported", len(t.Shape), maxRank)
	}
	n, err := NumElements(t.Shape)
	if err != nil {
		return wrong(where, "%v", err)
	}
	if len(t.ShapeSignature) > 0 && len(t.ShapeSignature) != len(t.Shape) {
		return wrong(where, "shape %v and shape signature %v differ in rank", t.Shape, t.ShapeSignature)
	}
	if data := m.Data(t); len(data) > 0 && t.Sparsity == nil {
		if size, ok := TypeSize(t.Type); ok {
			if want := (n*size + 7) / 8; want != len(data) {
				return wrong(where, "%s%v takes %d bytes, its buffer has %d", t.Type, t.Shape, want, len(data))
			}
		}
	}
	return checkQuantization(where, t)
}

func checkQuantization(where string, t *schema.TensorT) error {
	q := t.Quantization
	if q == nil || q.Details != nil && q.Details.Type != schema.QuantizationDetailsNONE {
		return nil
	}
	for c, scale := range q.Scale {
		if !(scale >= 0) || math.IsInf(float64(scale), 0) {
			return wrong(where, "scale %d is %v", c, scale)
		}
	}
	if len(q.ZeroPoint) > 1 && len(q.ZeroPoint) != len(q.Scale) {
		return wrong(where, "%d scales but %d zero points", len(q.Scale), len(q.ZeroPoint))
	}
	for c, zero := range q.ZeroPoint {
		if zero < math.MinInt32 || zero > math.MaxInt32 {
			return wrong(where, "zero point %d is %d", c, zero)
		}
	}
	if len(q.Scale) <= 1 {
		return nil
	}
	axis := int(q.QuantizedDimension)
	switch {
	case len(t.Shape) == 1 && int(t.Shape[0]) == len(q.Scale):
		return nil // a bias; some files give the weights' axis here, see Normalise
	case axis < 0 || axis >= len(t.Shape):
		return wrong(where, "quantized dimension %d of a tensor with %d dimensions", axis, len(t.Shape))
	case int(t.Shape[axis]) != len(q.Scale):
		return wrong(where, "%d scales for %d channels on dimension %d", len(q.Scale), t.Shape[axis], axis)
	}
	return nil
}

// checkOperators checks indices and that every tensor an operator reads was made before: one producer each, no cycles.
func (m *Model) checkOperators(s int, g *schema.SubGraphT) error {
	ready := make([]bool, len(g.Tensors))
	made := make([]bool, len(g.Tensors))
	for i, t := range g.Tensors {
		ready[i] = m.IsConst(t) || t.IsVariable || t.ExternalBuffer != 0
		if n, err := NumElements(t.Shape); err == nil && n == 0 {
			ready[i] = true // an empty constant has no data to show for it
		}
	}
	for _, t := range g.Inputs {
		ready[t] = true
	}
	for i, o := range g.Operators {
		if int(o.OpcodeIndex) >= len(m.OperatorCodes) {
			return wrong(inSubgraph(s, fmt.Sprintf("operator %d", i)), "operator code %d of %d", o.OpcodeIndex, len(m.OperatorCodes))
		}
		code, custom := m.Op(o)
		where := inSubgraph(s, fmt.Sprintf("operator %d %s", i, code))
		if custom != "" {
			where = inSubgraph(s, fmt.Sprintf("operator %d %q", i, custom))
		}
		for _, t := range o.Inputs {
			switch {
			case t == -1:
			case t < 0 || int(t) >= len(g.Tensors):
				return wrong(where, "input is tensor %d of %d", t, len(g.Tensors))
			case !ready[t]:
				return wrong(where, "reads %s before anything made it: a cycle, or operators out of order", tensorName(s, int(t), g.Tensors[t]))
			}
		}
		for _, t := range append(append([]int32{}, o.Outputs...), o.Intermediates...) {
			if t == -1 {
				continue
			}
			if t < 0 || int(t) >= len(g.Tensors) {
				return wrong(where, "output is tensor %d of %d", t, len(g.Tensors))
			}
		}
		for _, t := range o.Outputs {
			if t == -1 {
				continue
			}
			if made[t] || m.IsConst(g.Tensors[t]) {
				return wrong(where, "writes %s, which has another producer", tensorName(s, int(t), g.Tensors[t]))
			}
			ready[t], made[t] = true, true
		}
	}
	for _, t := range g.Outputs {
		if !ready[t] {
			return wrong(inSubgraph(s, "output"), "nothing makes %s", tensorName(s, int(t), g.Tensors[t]))
		}
	}
	return nil
}

// CheckFinite reports the first NaN or infinity in a float constant of any subgraph, by tensor and element. An infinity is legal where
// nothing but its order counts, as padding of a maximum or bound of a clip.
func CheckFinite(m *Model) error {
	for s, g := range m.Subgraphs {
		ordered := m.ordered(g)
		for i, t := range g.Tensors {
			if t.Type != schema.TensorTypeFLOAT32 && t.Type != schema.TensorTypeFLOAT16 || !m.IsConst(t) {
				continue
			}
			values, err := m.Float32s(t)
			if err != nil {
				return err
			}
			for k, v := range values {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) && !ordered[int32(i)] {
					return wrong(tensorName(s, i, t), "element %d is %v: the model was not trained to an end, export it again", k, v)
				}
			}
		}
	}
	return nil
}

// ordered are the tensors read by operators that compare, choose or pad, and by masks: an infinity is a legal value there.
func (m *Model) ordered(g *schema.SubGraphT) map[int32]bool {
	out := map[int32]bool{}
	for _, o := range g.Operators {
		switch code, _ := m.Op(o); code {
		case schema.BuiltinOperatorMAXIMUM, schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorPADV2, schema.BuiltinOperatorSELECT,
			schema.BuiltinOperatorSELECT_V2, schema.BuiltinOperatorADD, schema.BuiltinOperatorSUB:
			for _, t := range o.Inputs {
				out[t] = true
			}
		}
	}
	return out
}
