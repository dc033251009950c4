package leaf

import (
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// single returns a model of one operator of m: its activations are the inputs, its outputs the outputs, its constants come
// along. The operator's input slots that became inputs are returned in order.
func single(m *tflite.Model, op int) (one *tflite.Model, slots []int) {
	g := m.Subgraph()
	o := *g.Operators[op]
	sub := &schema.SubGraphT{}
	one = &tflite.Model{ModelT: &schema.ModelT{Version: m.Version, Subgraphs: []*schema.SubGraphT{sub}, Buffers: []*schema.BufferT{{}}}}
	code := *m.OperatorCodes[o.OpcodeIndex]
	one.OperatorCodes, o.OpcodeIndex = []*schema.OperatorCodeT{&code}, 0
	index := map[int32]int32{}
	place := func(list []int32) []int32 {
		moved := make([]int32, len(list))
		for slot, t := range list {
			if t < 0 {
				moved[slot] = t
				continue
			}
			at, ok := index[t]
			if !ok {
				at = int32(len(sub.Tensors))
				index[t] = at
				tensor := *g.Tensors[t]
				tensor.Buffer = 0
				if data := m.Data(g.Tensors[t]); len(data) > 0 {
					tensor.Buffer = one.AddBuffer(data)
				}
				sub.Tensors = append(sub.Tensors, &tensor)
			}
			moved[slot] = at
		}
		return moved
	}
	o.Inputs, o.Outputs = place(o.Inputs), place(o.Outputs)
	sub.Operators, sub.Outputs = []*schema.OperatorT{&o}, o.Outputs
	seen := map[int32]bool{}
	for slot, t := range o.Inputs {
		if t >= 0 && sub.Tensors[t].Buffer == 0 && !seen[t] {
			seen[t] = true
			sub.Inputs, slots = append(sub.Inputs, t), append(slots, slot)
		}
	}
	return one, slots
}
