package ir

import (
	"encoding/binary"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// maxEvaluated bounds the elements of a constant that Specialize computes and that is larger than what it is computed from.
const maxEvaluated = 1 << 22

// evaluate computes a node all of whose inputs are constants, whatever their size: what Specialize folds beyond Parse.
func (c *call) evaluate() {
	if len(c.n.Outputs) == 0 || c.empty() {
		return
	}
	largest := 0
	for i := range c.n.Inputs {
		t := c.in(i)
		if t == nil || t.Const == nil || t.Quant != nil || t.Producer < 0 && slices.Contains(c.Inputs, t.Index) {
			return
		}
		largest = max(largest, t.Numel())
	}
	for j, t := range c.n.Outputs {
		if t < 0 || c.Output(c.n, j).Quant != nil || c.Output(c.n, j).Numel() > max(largest, maxEvaluated) {
			return
		}
	}
	results := c.moved()
	if results == nil {
		if v, ok := c.computed(); ok && len(c.n.Outputs) == 1 {
			if data := v.bytes(c.Output(c.n, 0).Type); data != nil {
				results = [][]byte{data}
			}
		}
	}
	if len(results) != len(c.n.Outputs) {
		return
	}
	for j := range results {
		c.Output(c.n, j).Const = results[j]
	}
	c.n.Folded = true
}

// empty folds a node that gives nothing, such as the slice before the first element.
func (c *call) empty() bool {
	for _, t := range c.n.Outputs {
		if t < 0 || c.Numel(t) > 0 {
			return false
		}
	}
	for _, t := range c.n.Outputs {
		c.Tensors[t].Const = []byte{}
	}
	c.n.Folded = true
	return true
}

// moved computes operators that only move elements, of any type.
func (c *call) moved() [][]byte {
	x := c.in(0)
	switch attr := c.n.Attr.(type) {
	case Reshape:
		return [][]byte{x.Const}
	case StridedSlice:
		return c.picked(x, 0, func(at []int) []int {
			from, k := make([]int, len(attr.Begin)), 0
			for d := range from {
				from[d] = attr.Begin[d]
				if !attr.Shrink[d] {
					from[d] += at[k] * attr.Stride[d]
					k++
				}
			}
			return from
		}, attr.newAxes(c.Output(c.n, 0).Shape))
	case Transpose:
		return c.picked(x, 0, func(at []int) []int {
			from := make([]int, len(at))
			for i, p := range attr.Perm {
				from[p] = at[i]
			}
			return from
		}, nil)
	case Unpack:
		return c.each(func(j int) []byte {
			return c.pick(x, c.Output(c.n, j).Shape, func(at []int) []int { return slices.Insert(slices.Clone(at), attr.Axis, j) })
		})
	case Split:
		first := 0
		return c.each(func(j int) []byte {
			from := first
			first += attr.Sizes[j]
			return c.pick(c.in(attr.Data), c.Output(c.n, j).Shape, func(at []int) []int {
				at = slices.Clone(at)
				at[attr.Axis] += from
				return at
			})
		})
	case Pack, Concat:
		return c.joined(attr)
	case Gather:
		return c.gathered(attr)
	case Repeat:
		return c.picked(x, 0, func(at []int) []int { return repeated(x.Shape, at) }, nil)
	default:
		return nil
	}
}

// newAxes returns nil where the slice's output has exactly the dimensions that were not shrunk; positions are counted along those.
func (a *StridedSlice) newAxes(shape []int) []int {
	kept := []int{}
	for d, shrink := range a.Shrink {
		if !shrink {
			kept = append(kept, a.Count[d])
		}
	}
	if slices.Equal(kept, shape) {
		return nil
	}
	return kept
}

func (c *call) each(f func(j int) []byte) [][]byte {
	out := make([][]byte, len(c.n.Outputs))
	for j := range out {
		if out[j] = f(j); out[j] == nil {
			return nil
		}
	}
	return out
}

// picked is pick for output j; shape, if not nil, is the output's without dimensions of 1 that were added.
func (c *call) picked(x *Tensor, j int, from func(at []int) []int, shape []int) [][]byte {
	if shape == nil {
		shape = c.Output(c.n, j).Shape
	}
	if data := c.pick(x, shape, from); data != nil {
		return [][]byte{data}
	}
	return nil
}

// pick gathers the elements of x that from names, for every position of shape in order.
func (c *call) pick(x *Tensor, shape []int, from func(at []int) []int) []byte {
	size, ok := elementSize(x.Type)
	if !ok {
		return nil
	}
	out := make([]byte, 0, size*numel(shape))
	positions(shape, func(at []int) {
		i := 0
		for d, p := range from(at) {
			i = i*x.Shape[d] + p
		}
		out = append(out, x.Const[i*size:(i+1)*size]...)
	})
	return out
}

// positions calls f for every position of a shape, the last dimension fastest.
func positions(shape []int, f func(at []int)) {
	at := make([]int, len(shape))
	for range numel(shape) {
		f(at)
		for d := len(shape) - 1; d >= 0; d-- {
			if at[d]++; at[d] < shape[d] {
				break
			}
			at[d] = 0
		}
	}
}

// elementSize returns the bytes of an element; ok is false for types that do not take whole bytes.
func elementSize(t schema.TensorType) (size int, ok bool) {
	bits, known := tflite.TypeSize(t)
	return bits / 8, known && bits%8 == 0
}

// joined computes PACK and CONCATENATION.
func (c *call) joined(attr any) [][]byte {
	axis, act := 0, None
	switch a := attr.(type) {
	case Pack:
		axis = a.Axis
	case Concat:
		axis, act = a.Axis, a.Act
	}
	out := c.Output(c.n, 0)
	size, ok := elementSize(out.Type)
	if !ok || act != None {
		return nil
	}
	outer := numel(out.Shape[:axis])
	data := make([]byte, 0, size*out.Numel())
	for o := range outer {
		for i := range c.n.Inputs {
			t := c.in(i)
			if t.Type != out.Type {
				return nil
			}
			run := len(t.Const) / max(outer, 1)
			data = append(data, t.Const[o*run:(o+1)*run]...)
		}
	}
	return [][]byte{data}
}

// gathered computes GATHER without batch dimensions.
func (c *call) gathered(attr Gather) [][]byte {
	x, indices := c.in(0), c.in(1).Ints()
	size, ok := elementSize(x.Type)
	if !ok || indices == nil || attr.BatchDims != 0 {
		return nil
	}
	inner := size * numel(x.Shape[attr.Axis+1:])
	data := []byte{}
	for o := range numel(x.Shape[:attr.Axis]) {
		for _, i := range indices {
			if i < 0 || i >= x.Shape[attr.Axis] {
				return nil
			}
			at := (o*x.Shape[attr.Axis] + i) * inner
			data = append(data, x.Const[at:at+inner]...)
		}
	}
	return [][]byte{data}
}

// values are the elements of a constant: numbers are float64, which holds every float32 and every integer that shapes have.
type values []float64

// valuesOf returns the elements of a numeric or boolean constant; ok is false for other types and for integers float64 cannot hold.
func valuesOf(t *Tensor) (v values, ok bool) {
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		for _, x := range t.Float32s() {
			v = append(v, float64(x))
		}
	case schema.TensorTypeINT32, schema.TensorTypeINT64:
		for _, x := range t.Ints() {
			if x < -1<<53 || x > 1<<53 {
				return nil, false
			}
			v = append(v, float64(x))
		}
	case schema.TensorTypeBOOL:
		for _, b := range t.Const {
			v = append(v, float64(b))
		}
	default:
		return nil, false
	}
	return v, true
}

// bytes stores the elements as a type; nil if they do not fit it.
func (v values) bytes(t schema.TensorType) []byte {
	out := []byte{}
	for _, x := range v {
		switch t {
		case schema.TensorTypeFLOAT32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		case schema.TensorTypeINT32, schema.TensorTypeINT64:
			if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
				return nil
			}
			b := packed([]int{int(x)}, t)
			if b == nil {
				return nil
			}
			out = append(out, b...)
		case schema.TensorTypeBOOL:
			out = append(out, byte(truth(x != 0)))
		default:
			return nil
		}
	}
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// computed computes arithmetic on constants.
func (c *call) computed() (values, bool) {
	var in []values
	for i := range c.n.Inputs {
		v, ok := valuesOf(c.in(i))
		if !ok {
			return nil, false
		}
		in = append(in, v)
	}
	if len(in) == 0 {
		return nil, false
	}
	out := c.Output(c.n, 0)
	if f := unaryFunctions[c.n.Op]; f != nil {
		return in[0].each(f), true
	}
	if f := c.binaryFunction(); f != nil {
		if attr, fused := c.n.Attr.(Binary); fused && attr.Act != None || len(in) != 2 {
			return nil, false
		}
		return c.combined(out.Shape, in, func(x []float64) float64 { return f(x[0], x[1]) })
	}
	switch c.n.Op {
	case schema.BuiltinOperatorSELECT, schema.BuiltinOperatorSELECT_V2:
		if len(in) != 3 || c.n.Op == schema.BuiltinOperatorSELECT && len(c.in(0).Shape) == 1 && len(c.in(1).Shape) > 1 {
			return nil, false
		}
		return c.combined(out.Shape, in, func(x []float64) float64 {
			if x[0] != 0 {
				return x[1]
			}
			return x[2]
		})
	case schema.BuiltinOperatorCAST:
		return in[0].each(Cast{From: c.in(0).Type, To: out.Type}.Of), true
	case schema.BuiltinOperatorFILL:
		return c.combined(out.Shape, in[1:], func(x []float64) float64 { return x[0] })
	case schema.BuiltinOperatorZEROS_LIKE:
		return make(values, out.Numel()), true
	case schema.BuiltinOperatorRANGE:
		v := make(values, out.Numel())
		for i := range v {
			v[i] = in[0][0] + float64(i)*in[2][0]
		}
		return v, true
	case schema.BuiltinOperatorUNSORTED_SEGMENT_PROD, schema.BuiltinOperatorUNSORTED_SEGMENT_SUM, schema.BuiltinOperatorUNSORTED_SEGMENT_MIN,
		schema.BuiltinOperatorUNSORTED_SEGMENT_MAX:
		return c.segmented(in[0], in[1], out.Numel())
	case schema.BuiltinOperatorBROADCAST_ARGS:
		shape, err := broadcastShape(c, c.in(0).Ints(), c.in(1).Ints())
		v := values{}
		for _, d := range shape {
			v = append(v, float64(d))
		}
		return v, err == nil
	}
	if attr, ok := c.n.Attr.(Reduce); ok {
		return c.reduced(attr, in[0])
	}
	return nil, false
}

func (v values) each(f func(float64) float64) values {
	out := make(values, len(v))
	for i, x := range v {
		out[i] = f(x)
	}
	return out
}

// combined broadcasts the inputs against each other.
func (c *call) combined(shape []int, in []values, f func([]float64) float64) (values, bool) {
	first := len(c.n.Inputs) - len(in)
	out, x := make(values, 0, numel(shape)), make([]float64, len(in))
	positions(shape, func(at []int) {
		for k := range in {
			s, i := c.in(first+k).Shape, 0
			for d, size := range s {
				if p := at[len(at)-len(s)+d]; size > 1 {
					i += p * numel(s[d+1:])
				}
			}
			x[k] = in[k][i]
		}
		out = append(out, f(x))
	})
	return out, true
}

var unaryFunctions = map[schema.BuiltinOperator]func(float64) float64{
	schema.BuiltinOperatorNEG:         func(x float64) float64 { return -x },
	schema.BuiltinOperatorABS:         math.Abs,
	schema.BuiltinOperatorSQRT:        func(x float64) float64 { return float64(float32(math.Sqrt(x))) },
	schema.BuiltinOperatorRSQRT:       func(x float64) float64 { return float64(float32(1 / math.Sqrt(x))) },
	schema.BuiltinOperatorSQUARE:      func(x float64) float64 { return x * x },
	schema.BuiltinOperatorFLOOR:       math.Floor,
	schema.BuiltinOperatorCEIL:        math.Ceil,
	schema.BuiltinOperatorROUND:       math.RoundToEven,
	schema.BuiltinOperatorLOGICAL_NOT: func(x float64) float64 { return truth(x == 0) },
}

// binaryFunction returns what a binary operator does to two elements, nil for other operators.
func (c *call) binaryFunction() func(a, b float64) float64 {
	integers := isInteger(c.Output(c.n, 0).Type)
	switch c.n.Op {
	case schema.BuiltinOperatorADD:
		return func(a, b float64) float64 { return a + b }
	case schema.BuiltinOperatorSUB:
		return func(a, b float64) float64 { return a - b }
	case schema.BuiltinOperatorMUL:
		return func(a, b float64) float64 { return a * b }
	case schema.BuiltinOperatorDIV:
		return func(a, b float64) float64 {
			if integers {
				return math.Trunc(a / b)
			}
			return a / b
		}
	case schema.BuiltinOperatorFLOOR_DIV:
		return func(a, b float64) float64 { return math.Floor(a / b) }
	case schema.BuiltinOperatorFLOOR_MOD:
		return func(a, b float64) float64 { return a - b*math.Floor(a/b) }
	case schema.BuiltinOperatorPOW:
		return math.Pow
	case schema.BuiltinOperatorSQUARED_DIFFERENCE:
		return func(a, b float64) float64 { return (a - b) * (a - b) }
	case schema.BuiltinOperatorMINIMUM:
		return math.Min
	case schema.BuiltinOperatorMAXIMUM:
		return math.Max
	case schema.BuiltinOperatorEQUAL:
		return func(a, b float64) float64 { return truth(a == b) }
	case schema.BuiltinOperatorNOT_EQUAL:
		return func(a, b float64) float64 { return truth(a != b) }
	case schema.BuiltinOperatorLESS:
		return func(a, b float64) float64 { return truth(a < b) }
	case schema.BuiltinOperatorLESS_EQUAL:
		return func(a, b float64) float64 { return truth(a <= b) }
	case schema.BuiltinOperatorGREATER:
		return func(a, b float64) float64 { return truth(a > b) }
	case schema.BuiltinOperatorGREATER_EQUAL:
		return func(a, b float64) float64 { return truth(a >= b) }
	case schema.BuiltinOperatorLOGICAL_AND:
		return func(a, b float64) float64 { return truth(a != 0 && b != 0) }
	case schema.BuiltinOperatorLOGICAL_OR:
		return func(a, b float64) float64 { return truth(a != 0 || b != 0) }
	default:
		return nil
	}
}

// reduced reduces a constant along axes.
func (c *call) reduced(attr Reduce, in values) (values, bool) {
	var f func(a, b float64) float64
	switch c.n.Op {
	case schema.BuiltinOperatorREDUCE_PROD:
		f = func(a, b float64) float64 { return a * b }
	case schema.BuiltinOperatorSUM, schema.BuiltinOperatorMEAN:
		f = func(a, b float64) float64 { return a + b }
	case schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_ANY:
		f = math.Max
	case schema.BuiltinOperatorREDUCE_MIN, schema.BuiltinOperatorREDUCE_ALL:
		f = math.Min
	default:
		return nil, false
	}
	x := c.in(0)
	out := make(values, c.Output(c.n, 0).Numel())
	seen := make([]int, len(out))
	at := 0
	positions(x.Shape, func(p []int) {
		o := 0
		for d, size := range x.Shape {
			if !slices.Contains(attr.Axes, d) {
				o = o*size + p[d]
			}
		}
		if seen[o] == 0 {
			out[o] = in[at]
		} else {
			out[o] = f(out[o], in[at])
		}
		seen[o]++
		at++
	})
	for o, n := range seen {
		if n == 0 && c.n.Op == schema.BuiltinOperatorREDUCE_PROD {
			out[o] = 1
		}
		if c.n.Op == schema.BuiltinOperatorMEAN {
			if isInteger(x.Type) || n == 0 {
				return nil, false
			}
			out[o] /= float64(n)
		}
	}
	return out, true
}

// repeated returns where an element at a position of the output of a BROADCAST_TO or TILE comes from.
func repeated(shape, at []int) []int {
	from := make([]int, len(shape))
	for d := range from {
		from[d] = at[len(at)-len(shape)+d] % max(shape[d], 1)
	}
	return from
}

// shapeRules infer operators that occur in the arithmetic on shapes and have no rule of their own.
var shapeRules = map[schema.BuiltinOperator]rule{
	schema.BuiltinOperatorRANGE:             ranged,
	schema.BuiltinOperatorFILL:              filled,
	schema.BuiltinOperatorBROADCAST_ARGS:    broadcastArgs,
	schema.BuiltinOperatorSPACE_TO_BATCH_ND: spaceToBatch,
	schema.BuiltinOperatorBATCH_TO_SPACE_ND: batchToSpace,

	schema.BuiltinOperatorUNSORTED_SEGMENT_PROD: segments,
	schema.BuiltinOperatorUNSORTED_SEGMENT_SUM:  segments,
	schema.BuiltinOperatorUNSORTED_SEGMENT_MIN:  segments,
	schema.BuiltinOperatorUNSORTED_SEGMENT_MAX:  segments,

	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM: sequenceLSTM,
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_RNN:  sequenceRNN,
}

// target gives the output the shape that input i holds.
func (c *call) target(i int, what string) error {
	shape, err := c.constants(i, what)
	if err != nil {
		return err
	}
	if err := checkShape(shape); err != nil {
		return c.fail("%s: %v", what, err)
	}
	c.give(shape)
	return nil
}

func filled(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	if c.in(1).Numel() != 1 {
		return c.fail("value %s is not one number", c.in(1))
	}
	return c.target(0, "shape")
}

func broadcastArgs(c *call) error {
	if err := c.want(2); err != nil {
		return err
	}
	c.give([]int{max(c.in(0).Numel(), c.in(1).Numel())})
	return nil
}

func ranged(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	var v [3]float64
	for i := range v {
		x, ok := valuesOf(c.in(i))
		if !ok || len(x) != 1 {
			return c.fail("input %d, %s, is not a constant number", i, c.in(i))
		}
		v[i] = x[0]
	}
	n := math.Ceil((v[1] - v[0]) / v[2])
	if !(v[2] != 0 && n <= maxElements) {
		return c.fail("from %v to %v in steps of %v", v[0], v[1], v[2])
	}
	c.give([]int{int(max(n, 0))})
	return nil
}

// segments is UNSORTED_SEGMENT_PROD and its relatives, with which converters join dimensions of a shape.
func segments(c *call) error {
	if err := c.want(3); err != nil {
		return err
	}
	number, err := c.constants(2, "number of segments")
	if err != nil {
		return err
	}
	if len(number) != 1 || number[0] < 0 || number[0] > maxElements || len(c.in(0).Shape) != 1 || !slices.Equal(c.in(0).Shape, c.in(1).Shape) {
		return c.fail("%v segments of %v by %v: only one number by one id is supported", number, c.in(0).Shape, c.in(1).Shape)
	}
	c.mix("it joins samples")
	c.give([]int{number[0]})
	return nil
}

// segmented computes it where every segment has a member.
func (c *call) segmented(in, ids values, number int) (values, bool) {
	f := map[schema.BuiltinOperator]func(a, b float64) float64{
		schema.BuiltinOperatorUNSORTED_SEGMENT_PROD: func(a, b float64) float64 { return a * b },
		schema.BuiltinOperatorUNSORTED_SEGMENT_SUM:  func(a, b float64) float64 { return a + b },
		schema.BuiltinOperatorUNSORTED_SEGMENT_MIN:  math.Min,
		schema.BuiltinOperatorUNSORTED_SEGMENT_MAX:  math.Max,
	}[c.n.Op]
	out, seen := make(values, number), make([]bool, number)
	for i, id := range ids {
		switch at := int(id); {
		case at < 0:
		case at >= number:
			return nil, false
		case seen[at]:
			out[at] = f(out[at], in[i])
		default:
			out[at], seen[at] = in[i], true
		}
	}
	return out, !slices.Contains(seen, false)
}
