package integer

import (
	"fmt"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// svdfKernel is SVDF: a feature of the input for every filter, a memory of the last of them, and a weighted sum over that. A run is one
// step of a sequence; the memory is a variable of the executor.
type svdfKernel struct {
	x, y, time, bias      int // tensors; bias −1: none
	name                  string
	features              []int8
	batch, inputs         int
	filters, memory, rank int
	first, second         multiplier // of features, of the sums
	xZero, stateZero      int32
	zero                  int32
	wide                  bool // memory and its weights are int16
}

func buildSVDF(c *compiler) (runner, error) {
	attr, x, features, time, state := c.n.Attr.(ir.SVDF), c.in(0), c.in(1), c.in(2), c.in(4)
	for _, t := range []*ir.Tensor{features, time} {
		if t == nil || t.Const == nil {
			return nil, c.unsupported("weights %s are not constant", t)
		}
	}
	k := &svdfKernel{
		x: x.Index, y: c.n.Outputs[0], time: time.Index, bias: -1,
		batch: x.Shape[0], inputs: x.Shape[1], filters: features.Shape[0], memory: time.Shape[1], rank: attr.Rank,
	}
	size := k.batch * k.filters * k.memory
	if state == nil || state.Const != nil || state.Producer >= 0 || state.Numel() != size {
		return nil, c.unsupported("its state %s is no variable of %d elements", state, size)
	}
	k.name = fmt.Sprintf("state %d", state.Index) // operators that share it are steps of one sequence
	if bias := c.in(3); bias != nil {
		k.bias = bias.Index
	}
	c.work.need(0, k.filters)
	if x.Type == schema.TensorTypeFLOAT32 {
		for _, t := range []*ir.Tensor{features, time, state, c.out(0)} {
			if t.Type != schema.TensorTypeFLOAT32 {
				return nil, c.unsupported("%s is %s among float tensors: hybrid weights are not supported", t, t.Type)
			}
		}
		c.variables[k.name] = make([]byte, 4*size)
		return &floatSVDF{k, features.Float32s(), attr.Act}, nil
	}
	in, out, err := c.unaryQuant()
	if err != nil {
		return nil, err
	}
	k.wide = state.Type == schema.TensorTypeINT16
	memory, err := c.quantOf(state)
	if err != nil {
		return nil, err
	}
	if features.Type != schema.TensorTypeINT8 || time.Type != state.Type || features.Quant == nil || time.Quant == nil || in.wide {
		return nil, c.unsupported("weights %s and %s do not go with its state %s", features, time, state)
	}
	k.features, k.xZero, k.zero, k.stateZero = features.Int8s(), in.zero, out.zero, memory.zero
	k.first = newMultiplier(float64(float32(features.Quant.Scale[0]*in.scale) / memory.scale))
	k.second = newMultiplier(float64(float32(memory.scale*time.Quant.Scale[0]) / out.scale))
	start := make([]byte, size*elementSize(state.Type))
	for i := range start {
		start[i] = byte(memory.zero) // of int16 it is 0
	}
	c.variables[k.name] = start
	return k, nil
}

func (k *svdfKernel) run(m *memory) error {
	if k.wide {
		svdf(k, m, view[int16](m.variables[k.name]), m.int16s(k.time))
	} else {
		svdf(k, m, view[int8](m.variables[k.name]), m.int8s(k.time))
	}
	return nil
}

func svdf[T int8 | int16](k *svdfKernel, m *memory, state, time []T) {
	lo, hi := quant{wide: k.wide}.limits()
	remember(k, state, func(b, f int) T {
		acc := int32(0)
		w := k.features[f*k.inputs:][:k.inputs]
		for i, v := range m.int8s(k.x)[b*k.inputs:][:k.inputs] {
			acc += int32(w[i]) * (int32(v) - k.xZero)
		}
		return T(min(max(k.first.of(acc), lo), hi) + k.stateZero)
	})
	units := k.filters / k.rank
	for b := range k.batch {
		for u := range units {
			sum := int32(0)
			if k.bias >= 0 {
				sum = m.int32s(k.bias)[u]
			}
			for f := u * k.rank; f < (u+1)*k.rank; f++ {
				for j, v := range state[(b*k.filters+f)*k.memory:][:k.memory] {
					sum += int32(time[f*k.memory+j]) * (int32(v) - k.stateZero)
				}
			}
			m.int8s(k.y)[b*units+u] = clamp(k.second.of(sum)+k.zero, -128, 127)
		}
	}
}

// remember moves every filter's memory on by a step and puts the newest feature at its end.
func remember[T any](k *svdfKernel, state []T, feature func(b, f int) T) {
	for b := range k.batch {
		for f := range k.filters {
			row := state[(b*k.filters+f)*k.memory:][:k.memory]
			copy(row, row[1:])
			row[k.memory-1] = feature(b, f)
		}
	}
}

// floatSVDF is SVDF of floats.
type floatSVDF struct {
	*svdfKernel
	features []float32
	act      ir.Activation
}

func (k *floatSVDF) run(m *memory) error {
	state, time := view[float32](m.variables[k.name]), m.float32s(k.time)
	remember(k.svdfKernel, state, func(b, f int) float32 {
		acc := float32(0)
		w := k.features[f*k.inputs:][:k.inputs]
		for i, v := range m.float32s(k.x)[b*k.inputs:][:k.inputs] {
			acc += float32(w[i] * v)
		}
		return acc
	})
	lo, hi := k.act.Bounds()
	units := k.filters / k.rank
	for b := range k.batch {
		for u := range units {
			sum := float32(0)
			if k.bias >= 0 {
				sum = m.float32s(k.bias)[u]
			}
			for f := u * k.rank; f < (u+1)*k.rank; f++ {
				part := float32(0)
				for j, v := range state[(b*k.filters+f)*k.memory:][:k.memory] {
					part += float32(time[f*k.memory+j] * v)
				}
				sum += part
			}
			m.float32s(k.y)[b*units+u] = min(max(sum, lo), hi)
		}
	}
	return nil
}
