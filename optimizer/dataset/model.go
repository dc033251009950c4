package dataset

import (
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// NetworkOf describes a model's inputs and outputs: by the names of its signature and by those of its tensors.
func NetworkOf(m *tflite.Model) *Network {
	g, n := m.Subgraph(), &Network{}
	names := func(t int32, entries func(*schema.SignatureDefT) []*schema.TensorMapT) []string {
		var out []string
		add := func(name string) {
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		for _, s := range m.SignatureDefs {
			for _, e := range entries(s) {
				if s.SubgraphIndex == 0 && int32(e.TensorIndex) == t {
					add(e.Name)
				}
			}
		}
		tensor := g.Tensors[t].Name
		short, _, _ := strings.Cut(strings.TrimPrefix(tensor, "serving_default_"), ":")
		add(short)
		add(tensor)
		return out
	}
	state := statesOf(m)
	steps := len(state) > 0 || m.Assigns()
	for _, t := range g.Inputs {
		if state[t] {
			continue
		}
		n.Inputs = append(n.Inputs, Input{
			Names: names(t, func(s *schema.SignatureDefT) []*schema.TensorMapT { return s.Inputs }), Shape: sampleShape(g.Tensors[t]),
			Integer: integer(g.Tensors[t])})
	}
	for _, t := range g.Outputs {
		if state[t] {
			continue
		}
		n.Outputs = append(n.Outputs, Output{
			Names: names(t, func(s *schema.SignatureDefT) []*schema.TensorMapT { return s.Outputs }), Shape: sampleShape(g.Tensors[t]), Steps: steps})
	}
	return n
}

// statesOf are the inputs and outputs that a network hands its state on by: samples have none of them.
func statesOf(m *tflite.Model) map[int32]bool {
	pairs, _ := m.States() // what is wrong with them is said where the network is read
	state := map[int32]bool{}
	for _, p := range pairs {
		state[int32(p[0])], state[int32(p[1])] = true, true
	}
	return state
}

// integer reports whether a tensor holds integers that stand for themselves: ids, or pixels that the network scales.
func integer(t *schema.TensorT) bool {
	switch t.Type {
	case schema.TensorTypeINT32, schema.TensorTypeINT64, schema.TensorTypeBOOL:
		return true
	case schema.TensorTypeUINT8, schema.TensorTypeINT8:
		return t.Quantization == nil || len(t.Quantization.Scale) == 0
	default:
		return false
	}
}

// sampleShape is a tensor's shape without the batch, −1 where it is open.
func sampleShape(t *schema.TensorT) []int {
	shape := t.Shape
	if len(t.ShapeSignature) == len(shape) {
		shape = t.ShapeSignature
	}
	out := []int{}
	for i, d := range shape {
		if i > 0 {
			out = append(out, int(d))
		}
	}
	return out
}
