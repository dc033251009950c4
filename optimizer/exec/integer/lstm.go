package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// lstmKernel is UNIDIRECTIONAL_SEQUENCE_LSTM of int8 with an int16 cell state. Every sequence begins with a state of zeros, as after
// a reset of the interpreter's variables.
type lstmKernel struct {
	x, y             int // tensors
	batch, steps     int
	strideB, strideT int // of x and y, in vectors
	inputs, cells    int
	gates            [4]lstmGate // input, forget, cell, output; without an input gate the first is empty
	digits, clip     int32       // of the cell state: integer bits, largest magnitude or 0
	hidden           multiplier  // of an output gate times a tanh
	zero, hiddenZero int32       // of the output state, of that product
	// kept and added are products of a gate: with the cell state before, with the candidate; active is tanh of a state.
	kept, added func(product int32) int16
	active      func(state int16) int16
	// logistic and tanh are those of a gate's sum, in Q3; saturated says that both its products are brought to 16 bits before they are added.
	logistic, tanh func(sum int16) int16
	saturated      bool
}

// litert has a layer compute as LiteRT does, in which products are shifted.
func (k *lstmKernel) litert(hidden quant) {
	k.hidden = newMultiplier(float64(float32(math.Ldexp(1, -30) / float64(hidden.scale)))) // in 32 bits
	k.hiddenZero = hidden.zero
	k.kept = func(product int32) int16 { return int16(roundingShiftRight(product, 15)) }
	shift := int(15 + k.digits)
	k.added = func(product int32) int16 { return int16(roundingShiftRight(product, shift)) }
	k.active = func(state int16) int16 { return tanhQ0(state, int(k.digits)) }
	k.logistic = func(sum int16) int16 { return sigmoidQ0(sum, 3) }
	k.tanh = func(sum int16) int16 { return tanhQ0(sum, 3) }
}

// tflm has it compute as TensorFlow Lite Micro does, of other operators' kernels: products are rescaled by multipliers, functions are straight
// pieces, and what leaves a cell has the scale of the output's state.
func (k *lstmKernel) tflm(state quant) {
	k.saturated = true
	k.hidden, k.hiddenZero = newMultiplier(math.Ldexp(1, -30)/float64(state.scale)), state.zero
	kept, added := newMultiplier(math.Ldexp(1, -15)), newMultiplier(math.Ldexp(1, -15-int(k.digits)))
	k.kept = func(product int32) int16 { return saturate16(kept.of(product)) }
	k.added = func(product int32) int16 { return saturate16(added.of(product)) }
	factor, shift, round := int32(3), int32(0), int32(0)
	if more := k.digits - 3; more >= 0 {
		factor <<= more
	} else {
		shift, round = -more, 1<<(-more-1)
	}
	k.active = func(state int16) int16 { return tanh16((int32(state)*factor + round) >> shift) }
	k.logistic = func(sum int16) int16 { return logistic16(3 * int32(sum)) }
	k.tanh = func(sum int16) int16 { return tanh16(3 * int32(sum)) }
}

// lstmGate is σ or tanh of weights times input plus recurrent weights times output.
type lstmGate struct {
	w, r       []int8
	bias, back []int32 // with the zero points of what the weights multiply in them
	in, out    multiplier
}

func buildLSTM(c *compiler) (runner, error) {
	attr, x := c.n.Attr.(ir.SequenceLSTM), c.in(0)
	if attr.Unsupported != "" {
		return nil, c.unsupported("%s", attr.Unsupported)
	}
	in, err := c.quant(x)
	if err != nil {
		return nil, err
	}
	state, err := c.quant(c.in(ir.LSTMStates))
	if err != nil {
		return nil, err
	}
	cell := c.in(ir.LSTMStates + 1)
	if cell == nil || cell.Type != schema.TensorTypeINT16 || cell.Quant == nil || !powerOfTwo(cell.Quant.Scale[0]) {
		return nil, c.unsupported("its cell state %s is not INT16 of a scale that is a power of two", cell)
	}
	hidden, ok := c.hidden(attr)
	if !ok {
		return nil, c.unsupported("it does not say how its hidden values are quantized: convert it anew")
	}
	power := math.Ilogb(float64(cell.Quant.Scale[0]))
	k := &lstmKernel{
		x: x.Index, y: c.n.Outputs[0], batch: x.Shape[0], steps: x.Shape[1], inputs: x.Shape[2], cells: c.in(ir.LSTMRecurrent + 1).Shape[0],
		digits: int32(15 + power), zero: state.zero,
	}
	if k.digits < 0 || k.digits > 6 {
		return nil, c.unsupported("its cell state %s has scale %v, it may be 2^-15 to 2^-9: give the float model", cell, cell.Quant.Scale[0])
	}
	if k.litert(hidden); c.tflm {
		k.tflm(state)
	}
	if attr.CellClip > 0 {
		k.clip = int32(min(max(attr.CellClip/cell.Quant.Scale[0], -32768), 32767))
	}
	k.strideB, k.strideT = k.steps, 1
	if attr.TimeMajor {
		k.batch, k.steps = k.steps, k.batch
		k.strideB, k.strideT = 1, k.batch
	}
	for gate := range k.gates {
		if err := c.lstmGate(&k.gates[gate], gate, in, state, k); err != nil {
			return nil, err
		}
	}
	c.work.need(0, 5*k.cells)
	return k, nil
}

// hidden is the quantization of the products that leave the cell.
func (c *compiler) hidden(attr ir.SequenceLSTM) (quant, bool) {
	if attr.Hidden < 0 || attr.Hidden >= len(c.g.Tensors) {
		return quant{}, false
	}
	scale, zero, ok := c.g.Tensors[attr.Hidden].PerTensor()
	return quant{scale: scale, zero: zero}, ok && scale > 0
}

func (c *compiler) lstmGate(g *lstmGate, gate int, in, state quant, k *lstmKernel) error {
	w, r, bias := c.in(ir.LSTMWeights+gate), c.in(ir.LSTMRecurrent+gate), c.in(ir.LSTMBiases+gate)
	if w == nil && gate == 0 {
		return nil
	}
	for _, t := range []*ir.Tensor{w, r} {
		if t == nil || t.Const == nil || t.Type != schema.TensorTypeINT8 || t.Quant == nil || len(t.Quant.Scale) != 1 || t.Quant.ZeroPoint[0] != 0 {
			return c.unsupported("weights %s are not constant INT8 with one scale", t)
		}
	}
	if bias == nil || bias.Const == nil || bias.Type != schema.TensorTypeINT32 {
		return c.unsupported("its bias %s is not constant INT32", bias)
	}
	if w.Numel() != k.cells*k.inputs || r.Numel() != k.cells*k.cells || bias.Numel() != k.cells {
		return c.unsupported("weights %s and %s are not of %d cells", w, r, k.cells)
	}
	*g = lstmGate{
		w: w.Int8s(), r: r.Int8s(),
		in:  newMultiplier(float64(w.Quant.Scale[0]*in.scale) / math.Ldexp(1, -12)),
		out: newMultiplier(float64(r.Quant.Scale[0]*state.scale) / math.Ldexp(1, -12)),
	}
	values := bias.Ints()
	for i := range k.cells {
		g.bias = append(g.bias, int32(values[i])-in.zero*sumOf(g.w[i*k.inputs:][:k.inputs]))
		g.back = append(g.back, -state.zero*sumOf(g.r[i*k.cells:][:k.cells]))
	}
	return nil
}

func sumOf(x []int8) (sum int32) {
	for _, v := range x {
		sum += int32(v)
	}
	return sum
}

func (k *lstmKernel) run(m *memory) error {
	x, y := m.int8s(k.x), m.int8s(k.y)
	work := m.work32[:5*k.cells]
	cell, gates := work[:k.cells], work[k.cells:]
	for b := range k.batch {
		clear(cell)
		var before []int8 // the output of the step before; zeros at first
		for t := range k.steps {
			at := b*k.strideB + t*k.strideT
			for i := range k.gates {
				if k.gates[i].w != nil {
					k.gate(gates[i*k.cells:][:k.cells], &k.gates[i], i, x[at*k.inputs:][:k.inputs], before)
				}
			}
			now := y[at*k.cells:][:k.cells]
			k.step(now, cell, gates)
			before = now
		}
	}
	return nil
}

// gate computes one gate in Q0.
func (k *lstmKernel) gate(dst []int32, g *lstmGate, which int, x, before []int8) {
	for i := range dst {
		acc := g.bias[i]
		for j, v := range x {
			acc += int32(v) * int32(g.w[i*k.inputs+j])
		}
		sum := saturate16(g.in.of(acc))
		acc = g.back[i]
		for j := range k.cells {
			v := k.zero
			if before != nil {
				v = int32(before[j])
			}
			acc += v * int32(g.r[i*k.cells+j])
		}
		back := g.out.of(acc)
		if k.saturated {
			back = int32(saturate16(back))
		}
		if sum = saturate16(back + int32(sum)); which == 2 {
			dst[i] = int32(k.tanh(sum))
		} else {
			dst[i] = int32(k.logistic(sum))
		}
	}
}

// step updates the cell state and gives the output.
func (k *lstmKernel) step(y []int8, cell, gates []int32) {
	n := k.cells
	for i := range cell {
		forget, candidate, output := gates[n+i], gates[2*n+i], gates[3*n+i]
		input := gates[i]
		if k.gates[0].w == nil {
			input = math.MaxInt16 - forget
		}
		cell[i] = int32(saturate16(int32(k.kept(forget*cell[i])) + int32(k.added(input*candidate))))
		if k.clip > 0 {
			cell[i] = min(max(cell[i], -k.clip), k.clip)
		}
		y[i] = clamp(k.hidden.of(output*int32(k.active(int16(cell[i]))))+k.hiddenZero, -128, 127)
	}
}
