package rewrite

import (
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// rule writes what an operator computes by others. It reports false, having written nothing, where it cannot.
type rule func(w *writer) bool

// rules are the operators that can be written by others.
var rules = map[schema.BuiltinOperator]rule{
	schema.BuiltinOperatorCONCATENATION:      concatenation,
	schema.BuiltinOperatorEXPAND_DIMS:        reshape,
	schema.BuiltinOperatorGELU:               gelu,
	schema.BuiltinOperatorHARD_SWISH:         hardSwish,
	schema.BuiltinOperatorLEAKY_RELU:         leakyRelu,
	schema.BuiltinOperatorONE_HOT:            oneHot,
	schema.BuiltinOperatorPOW:                pow,
	schema.BuiltinOperatorPRELU:              prelu,
	schema.BuiltinOperatorREDUCE_ANY:         reduceAny,
	schema.BuiltinOperatorRELU_0_TO_1:        bounded(0, 1),
	schema.BuiltinOperatorRELU_N1_TO_1:       bounded(-1, 1),
	schema.BuiltinOperatorRESHAPE:            reshape,
	schema.BuiltinOperatorSELECT:             selectRows,
	schema.BuiltinOperatorSIGN:               sign,
	schema.BuiltinOperatorSLICE:              slice,
	schema.BuiltinOperatorSQUARE:             square,
	schema.BuiltinOperatorSQUARED_DIFFERENCE: squaredDifference,
	schema.BuiltinOperatorSQUEEZE:            reshape,
	schema.BuiltinOperatorSTRIDED_SLICE:      slice,
	schema.BuiltinOperatorTILE:               tile,
	schema.BuiltinOperatorTRANSPOSE:          transpose,
}

const (
	none  = schema.ActivationFunctionTypeNONE
	relu  = schema.ActivationFunctionTypeRELU
	relu6 = schema.ActivationFunctionTypeRELU6
)

// gelu is x·σ(x·(a + b·x²)). Of the form with a TANH these are its own numbers, 2√(2/π) and 0.044715 times it (Hendrycks and Gimpel,
// arXiv 1606.08415); of the form with the normal distribution those by which GELU moves least: by less than 0.0003.
func gelu(w *writer) bool {
	a, b := 1.600314453125, 0.0694017578125
	if w.n.Attr.(ir.Gelu).Approximate {
		a, b = 1.5957691216057308, 0.07135481627159897
	}
	x, shape := w.in(0), w.shape(w.in(0))
	inner := w.mul(shape, w.mul(shape, x, x, none), w.number("b", b), none)
	inner = w.mul(shape, w.plus(shape, inner, w.number("a", a), none), x, none)
	w.mul(shape, w.add(schema.BuiltinOperatorLOGISTIC, nil, shape, inner), x, none)
	return true
}

// hardSwish is x · (RELU6(x + 3) / 6).
func hardSwish(w *writer) bool {
	x, shape := w.in(0), w.shape(w.in(0))
	gate := w.plus(shape, x, w.number("3", 3), relu6)
	w.mul(shape, w.mul(shape, gate, w.number("sixth", 1.0/6), none), x, none)
	return true
}

// prelu is RELU(x) + slope·min(x, 0), the second part by a RELU too: RELU(x) − RELU(−slope·x) where no slope is negative, else
// RELU(x) − slope·RELU(−x).
func prelu(w *writer) bool {
	slopes := w.floats(1)
	if slopes == nil {
		return false
	}
	constant := w.g.Input(w.n, 1)
	shape := make([]int32, len(constant.Shape))
	for i, d := range constant.Shape {
		shape[i] = int32(d)
	}
	return reluPair(w, slopes, shape)
}

func leakyRelu(w *writer) bool {
	return reluPair(w, []float32{w.n.Attr.(ir.LeakyRelu).Alpha}, []int32{1})
}

func reluPair(w *writer, slopes []float32, of []int32) bool {
	x, shape := w.in(0), w.shape(w.in(0))
	above := w.add(schema.BuiltinOperatorRELU, nil, shape, x)
	if slices.Min(slopes) >= 0 {
		negated := make([]float32, len(slopes))
		for i, v := range slopes {
			negated[i] = -v
		}
		w.minus(shape, above, w.mul(shape, x, w.constant("slopes", negated, of...), relu))
		return true
	}
	below := w.mul(shape, x, w.number("minus", -1), relu)
	w.minus(shape, above, w.mul(shape, below, w.constant("slopes", slopes, of...), none))
	return true
}

// bounded is min(max(x, lo), hi).
func bounded(lo, hi float64) rule {
	return func(w *writer) bool {
		x, shape := w.in(0), w.shape(w.in(0))
		above := w.extreme(schema.BuiltinOperatorMAXIMUM, shape, x, w.number("least", lo))
		w.extreme(schema.BuiltinOperatorMINIMUM, shape, above, w.number("greatest", hi))
		return true
	}
}

// largestPower bounds the exponents that are written as products, by their absolute value.
const largestPower = 16

// pow is a product of powers of x and of its roots, or 1 over it, where one constant is the exponent of all and a multiple of 1/4. Below zero a
// root is no number, as POW is there.
func pow(w *writer) bool {
	exponents := w.floats(1)
	if len(exponents) == 0 || slices.Min(exponents) != slices.Max(exponents) || !slices.Equal(w.shape(w.in(0)), w.shape(w.out())) {
		return false
	}
	x, shape := w.in(0), w.shape(w.in(0))
	quarters := 4 * float64(exponents[0])
	switch size := math.Abs(quarters); {
	case size != math.Trunc(size) || size == 0 || size > 4*largestPower: // also what is no number
		return false
	case quarters == 4:
		w.reshape(x, shape)
	case quarters == -2:
		w.add(schema.BuiltinOperatorRSQRT, nil, shape, x)
	case quarters < 0:
		below := x
		if size != 4 {
			below = w.power(shape, x, int(size))
		}
		w.add(schema.BuiltinOperatorDIV, &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsDivOptions, Value: &schema.DivOptionsT{}}, shape, w.number("1", 1), below)
	default:
		w.power(shape, x, int(size))
	}
	return true
}

// power writes x to the power of so many quarters: of its roots and its squares those that the binary digits name.
func (w *writer) power(shape []int32, x int32, quarters int) int32 {
	product, root := int32(-1), x
	times := func(factor int32) {
		if product >= 0 {
			factor = w.mul(shape, factor, product, none)
		}
		product = factor
	}
	if quarters&3 != 0 {
		root = w.add(schema.BuiltinOperatorSQRT, nil, shape, x)
	}
	for n, square := quarters>>2, x; n > 0; {
		if n&1 == 1 {
			times(square)
		}
		if n >>= 1; n > 0 {
			square = w.mul(shape, square, square, none)
		}
	}
	if quarters&2 != 0 {
		times(root)
	}
	if quarters&1 != 0 {
		times(w.add(schema.BuiltinOperatorSQRT, nil, shape, root))
	}
	return product
}

func square(w *writer) bool {
	x := w.in(0)
	w.mul(w.shape(x), x, x, none)
	return true
}

func squaredDifference(w *writer) bool {
	shape := w.shape(w.out())
	d := w.minus(shape, w.in(0), w.in(1))
	w.mul(shape, d, d, none)
	return true
}

// sign is (x > 0) − (x < 0).
func sign(w *writer) bool {
	x, shape := w.in(0), w.shape(w.in(0))
	if w.typ(x) != schema.TensorTypeFLOAT32 {
		return false
	}
	zero := w.number("zero", 0)
	side := func(code schema.BuiltinOperator) int32 {
		return w.floated(w.typed(schema.TensorTypeBOOL, code, nil, shape, x, zero))
	}
	w.minus(shape, side(schema.BuiltinOperatorGREATER), side(schema.BuiltinOperatorLESS))
	return true
}

// floated writes a CAST to floats.
func (w *writer) floated(x int32) int32 {
	return w.add(schema.BuiltinOperatorCAST, &schema.BuiltinOptionsT{
		Type: schema.BuiltinOptionsCastOptions, Value: &schema.CastOptionsT{InDataType: w.typ(x), OutDataType: schema.TensorTypeFLOAT32},
	}, w.shape(x), x)
}

// reduceAny asks whether the greatest of zeros and ones is one.
func reduceAny(w *writer) bool {
	if w.g.Input(w.n, 1) == nil || w.g.Input(w.n, 1).Const == nil {
		return false
	}
	shape := w.shape(w.out())
	most := w.add(schema.BuiltinOperatorREDUCE_MAX, w.operator.BuiltinOptions, shape, w.floated(w.in(0)), w.in(1))
	w.typed(schema.TensorTypeBOOL, schema.BuiltinOperatorGREATER, nil, shape, most, w.number("half", 0.5))
	return true
}

// oneHot compares every index with 0 … depth−1.
func oneHot(w *writer) bool {
	attr := w.n.Attr.(ir.OneHot)
	on, off := w.floats(2), w.floats(3)
	x, shape := w.in(0), w.shape(w.out())
	if len(on) != 1 || len(off) != 1 || w.typ(x) != schema.TensorTypeINT32 {
		return false
	}
	places := make([]int32, attr.Depth)
	for i := range places {
		places[i] = int32(i)
	}
	among := slices.Repeat([]int32{1}, len(shape)-attr.Axis)
	among[0] = int32(attr.Depth)
	row := w.tensor("places", &schema.TensorT{Shape: among, Type: schema.TensorTypeINT32, Buffer: w.m.AddBuffer(tflite.Int32Bytes(places))})
	kept := slices.Clone(shape)
	kept[attr.Axis] = 1
	hot := w.floated(w.typed(schema.TensorTypeBOOL, schema.BuiltinOperatorEQUAL, nil, shape, w.reshape(x, kept), row))
	if on[0] != 1 || off[0] != 0 {
		hot = w.mul(shape, hot, w.number("step", float64(on[0])-float64(off[0])), none)
		w.plus(shape, hot, w.number("off", float64(off[0])), none)
	}
	return true
}

// selectRows is SELECT_V2, whose condition broadcasts by its last dimensions, not by its first.
func selectRows(w *writer) bool {
	condition, shape := w.in(0), w.shape(w.out())
	if of := w.shape(condition); len(of) == 1 && len(shape) > 1 {
		condition = w.reshape(condition, append(slices.Clone(of), slices.Repeat([]int32{1}, len(shape)-1)...))
	}
	w.typed(w.typ(w.out()), schema.BuiltinOperatorSELECT_V2, nil, shape, condition, w.in(1), w.in(2))
	return true
}

// mostConcatenated are the inputs that a CONCATENATION written here has: TFLM's takes no more.
const mostConcatenated = 10

func concatenation(w *writer) bool {
	axis := int32(w.n.Attr.(ir.Concat).Axis)
	if len(w.operator.Inputs) <= mostConcatenated {
		return false
	}
	if o, ok := w.operator.BuiltinOptions.Value.(*schema.ConcatenationOptionsT); !ok || o.FusedActivationFunction != none {
		return false
	}
	w.joined(axis, w.operator.Inputs)
	return true
}

// joined writes a tree of CONCATENATIONs.
func (w *writer) joined(axis int32, parts []int32) int32 {
	for len(parts) > 1 {
		var longer []int32
		for some := range slices.Chunk(parts, mostConcatenated) {
			if len(some) == 1 {
				longer = append(longer, some...)
				continue
			}
			shape := slices.Clone(w.shape(some[0]))
			for _, t := range some[1:] {
				shape[axis] += w.shape(t)[axis]
			}
			longer = append(longer, w.typed(w.typ(some[0]), schema.BuiltinOperatorCONCATENATION, &schema.BuiltinOptionsT{
				Type: schema.BuiltinOptionsConcatenationOptions, Value: &schema.ConcatenationOptionsT{Axis: axis},
			}, shape, slices.Clone(some)...))
		}
		parts = longer
	}
	return parts[0]
}

// tile repeats dimensions of 1 by one BROADCAST_TO, others by CONCATENATIONs.
func tile(w *writer) bool {
	x := w.in(0)
	from, to := w.shape(x), w.shape(w.out())
	if slices.Equal(from, to) || slices.Contains(from, 0) || slices.Contains(to, 0) {
		return false
	}
	for axis := range from {
		if times := to[axis] / from[axis]; from[axis] > 1 && times > 1 {
			x = w.joined(int32(axis), slices.Repeat([]int32{x}, int(times)))
		}
	}
	if !slices.Equal(w.shape(x), to) {
		w.typed(w.typ(x), schema.BuiltinOperatorBROADCAST_TO, nil, to, x, w.ints("shape", to...))
	}
	return true
}

// reshape is one RESHAPE of what a chain of them begins with.
func reshape(w *writer) bool {
	x := w.in(0)
	for {
		producer := w.g.Tensors[x].Producer
		if producer < 0 || !moves(w.g.Nodes[producer].Op) || w.g.Nodes[producer].Folded {
			break
		}
		x = int32(w.g.Nodes[producer].Inputs[0])
	}
	if w.n.Op == schema.BuiltinOperatorRESHAPE && x == w.in(0) {
		return false
	}
	w.reshape(x, w.shape(w.out()))
	return true
}

// moves reports whether an operator gives another shape to the same values.
func moves(code schema.BuiltinOperator) bool {
	return code == schema.BuiltinOperatorRESHAPE || code == schema.BuiltinOperatorSQUEEZE || code == schema.BuiltinOperatorEXPAND_DIMS
}

// transpose moves as one the dimensions that stay beside each other.
func transpose(w *writer) bool {
	perm := w.n.Attr.(ir.Transpose).Perm
	shape := w.shape(w.in(0))
	var blocks [][]int // of input dimensions, as the output has them
	for _, axis := range perm {
		if last := len(blocks) - 1; last >= 0 && blocks[last][len(blocks[last])-1] == axis-1 && axis > 1 { // samples stay apart
			blocks[last] = append(blocks[last], axis)
			continue
		}
		blocks = append(blocks, []int{axis})
	}
	if len(blocks) == len(perm) {
		return false
	}
	inOrder := slices.SortedFunc(slices.Values(blocks), func(a, b []int) int { return a[0] - b[0] })
	product := func(block []int) int32 {
		n := int32(1)
		for _, axis := range block {
			n *= shape[axis]
		}
		return n
	}
	var merged, moved, to []int32
	for _, b := range inOrder {
		merged = append(merged, product(b))
	}
	for _, b := range blocks {
		to = append(to, int32(slices.IndexFunc(inOrder, func(o []int) bool { return o[0] == b[0] })))
		moved = append(moved, product(b))
	}
	x := w.reshape(w.in(0), merged)
	x = w.typed(w.typ(x), schema.BuiltinOperatorTRANSPOSE, nil, moved, x, w.ints("perm", to...))
	w.reshape(x, w.shape(w.out()))
	return true
}

// slice takes as one the dimensions, beside each other, of which it takes all.
func slice(w *writer) bool {
	attr, ok := w.n.Attr.(ir.StridedSlice)
	if !ok {
		return false
	}
	shape := w.shape(w.in(0))
	if len(attr.Begin) != len(shape) {
		return false
	}
	whole := func(i int) bool {
		return attr.Begin[i] == 0 && attr.Stride[i] == 1 && attr.Count[i] == int(shape[i]) && !attr.Shrink[i]
	}
	var merged, begin, end, strides, taken []int32
	var mask int32 // of dimensions that are taken whole, whatever their size
	for i, d := range shape {
		last := len(merged) - 1
		if i > 1 && whole(i) && mask>>last&1 == 1 { // samples stay apart
			merged[last] *= d
			taken[last] *= d
			end[last] *= d
			continue
		}
		if whole(i) {
			mask |= 1 << len(merged)
		}
		stop := attr.Begin[i] + attr.Count[i]*attr.Stride[i]
		if stop < 0 {
			return false // it runs backwards over the first element, which an end cannot say
		}
		merged, begin, end, strides = append(merged, d), append(begin, int32(attr.Begin[i])), append(end, int32(stop)), append(strides, int32(attr.Stride[i]))
		taken = append(taken, int32(attr.Count[i]))
	}
	if len(merged) == len(shape) {
		return false
	}
	x := w.reshape(w.in(0), merged)
	x = w.typed(w.typ(x), schema.BuiltinOperatorSTRIDED_SLICE, &schema.BuiltinOptionsT{
		Type: schema.BuiltinOptionsStridedSliceOptions, Value: &schema.StridedSliceOptionsT{BeginMask: mask, EndMask: mask},
	}, taken, x, w.ints("begin", begin...), w.ints("end", end...), w.ints("strides", strides...))
	w.reshape(x, w.shape(w.out()))
	return true
}
