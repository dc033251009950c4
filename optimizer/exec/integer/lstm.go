package integer

import (
	"math"
	"sync"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// lstmKernel is UNIDIRECTIONAL_SEQUENCE_LSTM of int8 with an int16 cell state. Every sequence begins with a state of zeros, as after
// a reset of the interpreter's variables.
type lstmKernel struct {
	x, y             int // tensors
	batch, steps     int
	strideB, strideT int // of x and y, in vectors
	inputs, cells    int
	gates            []lstmGate // input, forget, cell, output; the first may be missing
	from, back       sums       // of the input and of the output one step before, of all gates
	digits, clip     int32      // of the cell state: integer bits, largest magnitude or 0
	hidden           multiplier // of an output gate times a tanh
	zero, hiddenZero int32      // of the output state, of that product
	// kept and added are products of a gate: with the cell state before, with the candidate; active is tanh of a state.
	kept, added func(product int32) int16
	active      *curve
	// logistic and tanh are those of a gate's sum, in Q3; saturated says that both its products are brought to 16 bits before they are added.
	logistic, tanh *curve
	saturated      bool
}

// curve is a function of 16 bits at all of its points.
type curve [1 << 16]int16

func (c *curve) at(x int16) int16 { return c[uint16(x)] }

// named identifies a curve.
type named struct {
	tflm     bool
	function schema.BuiltinOperator
	digits   int32 // integer bits of its argument
}

// curves are those computed so far, 128 kB each: named → *curve.
var curves sync.Map

// curveOf is a function at all points, computed once.
func curveOf(name named, f func(x int16) int16) *curve {
	if known, ok := curves.Load(name); ok {
		return known.(*curve)
	}
	c := new(curve)
	for x := range c {
		c[x] = f(int16(uint16(x)))
	}
	curves.Store(name, c)
	return c
}

// litert has a layer compute as LiteRT does, in which products are shifted.
func (k *lstmKernel) litert(hidden quant) {
	k.hidden = newMultiplier(float64(float32(math.Ldexp(1, -30) / float64(hidden.scale)))) // in 32 bits
	k.hiddenZero = hidden.zero
	k.kept = func(product int32) int16 { return int16(roundingShiftRight(product, 15)) }
	shift := int(15 + k.digits)
	k.added = func(product int32) int16 { return int16(roundingShiftRight(product, shift)) }
	tanh := func(digits int32) *curve {
		return curveOf(named{false, schema.BuiltinOperatorTANH, digits}, func(x int16) int16 { return tanhQ0(x, int(digits)) })
	}
	k.active, k.tanh = tanh(k.digits), tanh(3)
	k.logistic = curveOf(named{false, schema.BuiltinOperatorLOGISTIC, 3}, func(sum int16) int16 { return sigmoidQ0(sum, 3) })
}

// tflm has it compute as TensorFlow Lite Micro does, of other operators' kernels: products are rescaled by multipliers, functions are straight
// pieces, and what leaves a cell has the scale of the output's state.
func (k *lstmKernel) tflm(state quant) {
	k.saturated = true
	k.hidden, k.hiddenZero = newMultiplier(math.Ldexp(1, -30)/float64(state.scale)), state.zero
	kept, added := newMultiplier(math.Ldexp(1, -15)), newMultiplier(math.Ldexp(1, -15-int(k.digits)))
	k.kept = func(product int32) int16 { return saturate16(kept.of(product)) }
	k.added = func(product int32) int16 { return saturate16(added.of(product)) }
	tanh := func(digits int32) *curve {
		factor, shift, round := int32(3), int32(0), int32(0)
		if more := digits - 3; more >= 0 {
			factor <<= more
		} else {
			shift, round = -more, 1<<(-more-1)
		}
		return curveOf(named{true, schema.BuiltinOperatorTANH, digits}, func(x int16) int16 { return tanh16((int32(x)*factor + round) >> shift) })
	}
	k.active, k.tanh = tanh(k.digits), tanh(3)
	k.logistic = curveOf(named{true, schema.BuiltinOperatorLOGISTIC, 3}, func(sum int16) int16 { return logistic16(3 * int32(sum)) })
}

// lstmSteps are as many as products of the input are computed of at once.
const lstmSteps = 32

// lstmGate is σ or tanh of weights times input plus recurrent weights times output.
type lstmGate struct {
	which   int
	in, out multiplier
}

// sums are products of int8 inputs and weights [n, depth]: bias + Σ x·w.
type sums struct {
	w      []int8
	bias   []int32
	depth  int
	packed *kernel.Int8Sums // nil: by loops
}

// add appends outputs, whose inputs have a zero point.
func (s *sums) add(w []int8, bias []int, zero int32) {
	for i, b := range bias {
		s.bias = append(s.bias, int32(b)-zero*sumOf(w[i*s.depth:][:s.depth]))
	}
	s.w = append(s.w, w...)
}

// run computes rows of sums from rows of x, which start step apart.
func (s *sums) run(scratch *kernel.Int8Scratch, dst []int32, x []int8, rows, step int) {
	if s.packed != nil {
		s.packed.Run(scratch, dst, x, rows, step)
		return
	}
	for r := range rows {
		row := x[r*step:][:s.depth]
		for j, sum := range s.bias {
			for i, v := range s.w[j*s.depth:][:s.depth] {
				sum += int32(v) * int32(row[i])
			}
			dst[r*len(s.bias)+j] = sum
		}
	}
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
	switch {
	case c.tflm && k.digits >= -15 && k.digits <= 15:
		k.tflm(state)
	case c.tflm:
		return nil, c.unsupported("its cell state %s has scale 2^%d, it may be 2^-30 to 1: give the float model", cell, power)
	case k.digits < 0 || k.digits > 6:
		return nil, c.unsupported("its cell state %s has scale 2^%d, LiteRT's kernel computes the tanh of 2^-15 to 2^-9 only, TensorFlow Lite Micro's of all (--target tflm): give the float model", cell, power)
	default:
		k.litert(hidden)
	}
	if attr.CellClip > 0 {
		k.clip = int32(min(max(attr.CellClip/cell.Quant.Scale[0], -32768), 32767))
	}
	k.strideB, k.strideT = k.steps, 1
	if attr.TimeMajor {
		k.batch, k.steps = k.steps, k.batch
		k.strideB, k.strideT = 1, k.batch
	}
	k.from.depth, k.back.depth = k.inputs, k.cells
	for gate := range 4 {
		if err := c.lstmGate(k, gate, in, state); err != nil {
			return nil, err
		}
	}
	if !c.reference {
		k.from.packed = kernel.NewInt8Sums(k.from.w, k.inputs, k.from.bias)
		k.back.packed = kernel.NewInt8Sums(k.back.w, k.cells, k.back.bias)
	}
	c.work.need(0, 5*k.cells+(min(k.steps, lstmSteps)+1)*len(k.from.bias))
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

func (c *compiler) lstmGate(k *lstmKernel, gate int, in, state quant) error {
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
	const sum = 1.0 / (1 << 12) // the scale of a gate's sums
	k.gates = append(k.gates, lstmGate{which: gate, in: c.product(w.Quant.Scale[0], in.scale, sum), out: c.product(r.Quant.Scale[0], state.scale, sum)})
	k.from.add(w.Int8s(), bias.Ints(), in.zero)
	k.back.add(r.Int8s(), make([]int, k.cells), state.zero)
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
	n := len(k.from.bias)
	work := m.work32
	cell, gates, back, from := work[:k.cells], work[k.cells:][:4*k.cells], work[5*k.cells:][:n], work[5*k.cells+n:]
	for b := range k.batch {
		clear(cell)
		clear(back) // before the first step there are zeros
		for t := range k.steps {
			at := b*k.strideB + t*k.strideT
			if t%lstmSteps == 0 {
				k.from.run(&m.scratch, from, x[at*k.inputs:], min(lstmSteps, k.steps-t), k.strideT*k.inputs)
			}
			k.activate(gates, from[t%lstmSteps*n:][:n], back)
			now := y[at*k.cells:][:k.cells]
			k.step(now, cell, gates)
			if t < k.steps-1 {
				k.back.run(&m.scratch, back, now, 1, k.cells)
			}
		}
	}
	return nil
}

// activate computes the gates of a step in Q0 from the sums of the input and of the output one step before.
func (k *lstmKernel) activate(dst, from, before []int32) {
	for i := range k.gates {
		g, first := &k.gates[i], i*k.cells
		f := k.logistic
		if g.which == 2 {
			f = k.tanh
		}
		to := dst[g.which*k.cells:][:k.cells]
		for j := range to {
			back := g.out.of(before[first+j])
			if k.saturated {
				back = int32(saturate16(back))
			}
			to[j] = int32(f.at(saturate16(back + int32(saturate16(g.in.of(from[first+j]))))))
		}
	}
}

// step updates the cell state and gives the output.
func (k *lstmKernel) step(y []int8, cell, gates []int32) {
	n := k.cells
	for i := range cell {
		forget, candidate, output := gates[n+i], gates[2*n+i], gates[3*n+i]
		input := gates[i]
		if k.gates[0].which != 0 {
			input = math.MaxInt16 - forget
		}
		cell[i] = int32(saturate16(int32(k.kept(forget*cell[i])) + int32(k.added(input*candidate))))
		if k.clip > 0 {
			cell[i] = min(max(cell[i], -k.clip), k.clip)
		}
		y[i] = clamp(k.hidden.of(output*int32(k.active.at(int16(cell[i]))))+k.hiddenZero, -128, 127)
	}
}
