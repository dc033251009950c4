package target

import (
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// node is an operator of a file with what quantities are taken of.
type node struct {
	model    *tflite.Model
	subgraph *schema.SubGraphT
	op       *schema.OperatorT
	code     schema.BuiltinOperator
	custom   string
}

// name is the operator's name in tables.
func (n *node) name() string {
	if n.code == schema.BuiltinOperatorCUSTOM {
		return customPrefix + n.custom
	}
	return n.code.String()
}

// in returns input i, nil where there is none.
func (n *node) in(i int) *schema.TensorT {
	if i < 0 || i >= len(n.op.Inputs) || n.op.Inputs[i] < 0 {
		return nil
	}
	return n.subgraph.Tensors[n.op.Inputs[i]]
}

// out returns output i, nil where there is none.
func (n *node) out(i int) *schema.TensorT {
	if i >= len(n.op.Outputs) || n.op.Outputs[i] < 0 {
		return nil
	}
	return n.subgraph.Tensors[n.op.Outputs[i]]
}

// ints are the values of a constant INT32 input, nil for any other.
func (n *node) ints(i int) []int32 {
	t := n.in(i)
	if t == nil || t.Type != schema.TensorTypeINT32 {
		return nil
	}
	values, err := n.model.Int32s(t)
	if err != nil {
		return nil
	}
	return values
}

// weights returns the weight operand of a convolution or fully connected layer, nil for other operators.
func (n *node) weights() *schema.TensorT {
	known := op.Lookup(n.code)
	if known == nil || known.Weights == nil {
		return nil
	}
	return n.in(known.Find(op.Weight))
}

// subject is the index of the input whose type and shape are meant: the first that holds data.
func (n *node) subject() int {
	if known := op.Lookup(n.code); known != nil {
		if i := known.Find(op.Data); i >= 0 {
			return i
		}
	}
	return 0
}

// window is what an operator slides over an image.
type window struct {
	kernel, stride, dilation [2]int // height, width
	same                     bool   // padding is SAME, and there is some
}

// window returns the window of convolutions and pools.
func (n *node) window() (w window, ok bool) {
	w.dilation = [2]int{1, 1}
	if t := n.weights(); t != nil && len(t.Shape) == 4 {
		w.kernel = [2]int{int(t.Shape[1]), int(t.Shape[2])}
	}
	if n.op.BuiltinOptions == nil {
		return w, false
	}
	switch o := n.op.BuiltinOptions.Value.(type) {
	case *schema.Conv2DOptionsT:
		w.stride, w.dilation = [2]int{int(o.StrideH), int(o.StrideW)}, [2]int{int(o.DilationHFactor), int(o.DilationWFactor)}
		w.same = o.Padding == schema.PaddingSAME
	case *schema.DepthwiseConv2DOptionsT:
		w.stride, w.dilation = [2]int{int(o.StrideH), int(o.StrideW)}, [2]int{int(o.DilationHFactor), int(o.DilationWFactor)}
		w.same = o.Padding == schema.PaddingSAME
	case *schema.TransposeConvOptionsT:
		w.stride = [2]int{int(o.StrideH), int(o.StrideW)}
	case *schema.Pool2DOptionsT:
		w.stride, w.kernel = [2]int{int(o.StrideH), int(o.StrideW)}, [2]int{int(o.FilterHeight), int(o.FilterWidth)}
		w.same = o.Padding == schema.PaddingSAME
	default:
		return w, false
	}
	w.same = w.same && n.pads(w)
	return w, true
}

// pads reports whether a window with padding SAME reaches beyond the image.
func (n *node) pads(w window) bool {
	x, y := n.in(n.subject()), n.out(0)
	if x == nil || y == nil || len(x.Shape) != 4 || len(y.Shape) != 4 {
		return true
	}
	for i := range 2 {
		if reach := (int(y.Shape[i+1])-1)*w.stride[i] + (w.kernel[i]-1)*w.dilation[i] + 1; reach > int(x.Shape[i+1]) {
			return true
		}
	}
	return false
}

// quantity takes a number of an operator; ok is false where the operator does not have it.
type quantity func(n *node) (v float64, ok bool)

// ofWindow is a quantity of a window.
func ofWindow(of func(w window) int) quantity {
	return func(n *node) (float64, bool) {
		w, ok := n.window()
		return float64(of(w)), ok
	}
}

// constant is 1 where input i is in the file, 0 where it is computed.
func constant(i int) quantity {
	return func(n *node) (float64, bool) {
		t := n.in(i)
		if t == nil {
			return 0, false
		}
		if n.model.IsConst(t) {
			return 1, true
		}
		return 0, true
	}
}

// dimension is a dimension of the subject, counted from the end where i is negative.
func dimension(i int) quantity {
	return func(n *node) (float64, bool) {
		t := n.in(n.subject())
		if t == nil {
			return 0, false
		}
		at := i
		if at < 0 {
			at += len(t.Shape)
		}
		if at < 0 || at >= len(t.Shape) {
			return 0, false
		}
		return float64(t.Shape[at]), true
	}
}

// quantities are what limits of the catalogue may bound, by name.
var quantities = map[string]quantity{
	"kernel height":   ofWindow(func(w window) int { return w.kernel[0] }),
	"kernel width":    ofWindow(func(w window) int { return w.kernel[1] }),
	"kernel area":     ofWindow(func(w window) int { return w.kernel[0] * w.kernel[1] }),
	"stride height":   ofWindow(func(w window) int { return w.stride[0] }),
	"stride width":    ofWindow(func(w window) int { return w.stride[1] }),
	"dilation height": ofWindow(func(w window) int { return w.dilation[0] }),
	"dilation width":  ofWindow(func(w window) int { return w.dilation[1] }),
	"dilated kernel height": ofWindow(func(w window) int {
		return (w.kernel[0]-1)*w.dilation[0] + 1
	}),
	"dilated kernel area": ofWindow(func(w window) int {
		return ((w.kernel[0]-1)*w.dilation[0] + 1) * ((w.kernel[1]-1)*w.dilation[1] + 1)
	}),
	"stride where it pads or dilates": ofWindow(func(w window) int {
		if w.same || w.dilation != [2]int{1, 1} {
			return max(w.stride[0], w.stride[1])
		}
		return 1
	}),
	"scale for e^x": func(n *node) (float64, bool) { // of SOFTMAX and LOG_SOFTMAX: the input's scale times beta, 1 where there is none
		x := n.in(0)
		if x == nil || x.Quantization == nil || len(x.Quantization.Scale) != 1 {
			return 0, false
		}
		beta := 1.0
		if n.op.BuiltinOptions != nil {
			if o, ok := n.op.BuiltinOptions.Value.(*schema.SoftmaxOptionsT); ok {
				beta = float64(o.Beta)
			}
		}
		return float64(x.Quantization.Scale[0]) * beta, true
	},
	"axis behind batch dimensions": func(n *node) (float64, bool) {
		x := n.in(0)
		if n.op.BuiltinOptions == nil || x == nil {
			return 0, false
		}
		o, ok := n.op.BuiltinOptions.Value.(*schema.GatherOptionsT)
		if !ok {
			return 0, false
		}
		axis := int(o.Axis)
		if axis < 0 {
			axis += len(x.Shape)
		}
		return float64(axis - int(o.BatchDims)), true
	},
	"largest dimension reduced": ofReduced(func(a, b int) int { return max(a, b) }),
	"elements reduced":          ofReduced(func(a, b int) int { return a * b }),
	"pixels": func(n *node) (float64, bool) {
		x := n.in(n.subject())
		if x == nil || len(x.Shape) != 4 {
			return 0, false
		}
		return float64(x.Shape[1]) * float64(x.Shape[2]), true
	},
	"stride where it dilates": ofWindow(func(w window) int {
		if w.dilation != [2]int{1, 1} {
			return max(w.stride[0], w.stride[1])
		}
		return 1
	}),
	"depth multiplier": func(n *node) (float64, bool) {
		x, y := n.in(n.subject()), n.out(0)
		if x == nil || y == nil || len(x.Shape) != 4 || len(y.Shape) != 4 || x.Shape[3] < 1 {
			return 0, false
		}
		return float64(y.Shape[3] / x.Shape[3]), true
	},
	"bits of data": func(n *node) (float64, bool) {
		x := n.in(n.subject())
		if x == nil {
			return 0, false
		}
		bits, ok := tflite.TypeSize(x.Type)
		if n.converts() {
			bits = 32 // on one side
		}
		return float64(bits), ok
	},
	"dimensions of inputs and outputs": func(n *node) (float64, bool) {
		most := 0
		for _, list := range [][]int32{n.op.Inputs, n.op.Outputs} {
			for _, i := range list {
				if i >= 0 {
					most = max(most, len(n.subgraph.Tensors[i].Shape))
				}
			}
		}
		return float64(most), true
	},
	"largest side of the output": func(n *node) (float64, bool) {
		y := n.out(0)
		if y == nil || len(y.Shape) != 4 {
			return 0, false
		}
		return float64(max(y.Shape[1], y.Shape[2])), true
	},
	"height and width reduced alone": func(n *node) (float64, bool) {
		x := n.in(0)
		if x == nil {
			return 0, false
		}
		for axis := range x.Shape {
			if spatial := axis == 1 || axis == 2; reduces(n, axis) != spatial {
				return 0, true
			}
		}
		return 1, len(x.Shape) == 4
	},
	"kernel where it pads": ofWindow(func(w window) int {
		if w.same {
			return max(w.kernel[0], w.kernel[1])
		}
		return 1
	}),
	"constant bias": func(n *node) (float64, bool) {
		known := op.Lookup(n.code)
		if known == nil {
			return 0, false
		}
		return constant(known.Find(op.Bias))(n)
	},
	"channels reduced that are no multiple of 4": func(n *node) (float64, bool) {
		x := n.in(0)
		if x == nil || len(x.Shape) == 0 {
			return 0, false
		}
		last := len(x.Shape) - 1
		if reduces(n, last) && x.Shape[last]%4 != 0 {
			return float64(x.Shape[last]), true
		}
		return 0, true
	},
	"batch reduced": func(n *node) (float64, bool) {
		if reduces(n, 0) {
			return 1, true
		}
		return 0, true
	},
	"batch padded": func(n *node) (float64, bool) {
		sides := n.ints(1)
		if len(sides) < 2 {
			return 0, false
		}
		return float64(sides[0] + sides[1]), true
	},
	"axis of packing": func(n *node) (float64, bool) {
		if n.op.BuiltinOptions == nil || n.out(0) == nil {
			return 0, false
		}
		o, ok := n.op.BuiltinOptions.Value.(*schema.PackOptionsT)
		if !ok {
			return 0, false
		}
		if o.Axis < 0 {
			return float64(int(o.Axis) + len(n.out(0).Shape)), true
		}
		return float64(o.Axis), true
	},
	"slopes of one channel": func(n *node) (float64, bool) {
		slopes := n.in(1)
		if slopes == nil || len(slopes.Shape) == 0 {
			return 0, false
		}
		return float64(elements(slopes) / max(int(slopes.Shape[len(slopes.Shape)-1]), 1)), true
	},
	"difference of dilations": ofWindow(func(w window) int {
		return max(w.dilation[0]-w.dilation[1], w.dilation[1]-w.dilation[0])
	}),
	"fused activation": fusedActivation,
	"elements":         func(n *node) (float64, bool) { return float64(elements(n.in(n.subject()))), true },
	"dimensions before the last three": func(n *node) (float64, bool) {
		t := n.in(n.subject())
		if t == nil {
			return 0, false
		}
		product := 1.0
		for _, d := range t.Shape[:max(0, len(t.Shape)-3)] {
			product *= float64(max(d, 1))
		}
		return product, true
	},
	"depth reduced with no side of 1": func(n *node) (float64, bool) {
		x := n.in(0)
		if x == nil || len(x.Shape) != 4 {
			return 0, false
		}
		last := slices.Contains(n.ints(1), 3) || slices.Contains(n.ints(1), -1)
		if last && !slices.Contains(x.Shape[1:], 1) {
			return 1, true
		}
		return 0, true
	},
	"scale factor":                           scaleFactor,
	"scale factor between centres of pixels": scaleFactorOfCentres,
	"scale factors of powers of two":         scalesByPowersOfTwo,
	"equal quantization":                     equalQuantization,
	"constant input 0":                       constant(0),
	"constant input 1":                       constant(1),
	"constant input 2":                       constant(2),
	"batch":                                  dimension(0),
	"channels":                               dimension(-1),
	"inputs": func(n *node) (float64, bool) {
		return float64(len(n.op.Inputs)), true
	},
	"rank": func(n *node) (float64, bool) {
		t := n.in(n.subject())
		if t == nil {
			return 0, false
		}
		return float64(len(t.Shape)), true
	},
	"scales of weights": func(n *node) (float64, bool) {
		t := n.weights()
		if t == nil || t.Quantization == nil || len(t.Quantization.Scale) == 0 {
			return 0, false
		}
		return float64(len(t.Quantization.Scale)), true
	},
	"largest dimension": func(n *node) (float64, bool) {
		largest := int32(0)
		for _, list := range [][]int32{n.op.Inputs, n.op.Outputs} {
			for _, i := range list {
				if i >= 0 && len(n.subgraph.Tensors[i].Shape) > 0 {
					largest = max(largest, slices.Max(n.subgraph.Tensors[i].Shape))
				}
			}
		}
		return float64(largest), true
	},
	"quantized inputs and outputs": func(n *node) (float64, bool) {
		for _, list := range [][]int32{n.op.Inputs[:min(len(n.op.Inputs), n.subject()+1)], n.op.Outputs} {
			for _, i := range list {
				if i < 0 {
					continue
				}
				t := n.subgraph.Tensors[i]
				if (t.Type == schema.TensorTypeINT8 || t.Type == schema.TensorTypeUINT8 || t.Type == schema.TensorTypeINT16) &&
					(t.Quantization == nil || len(t.Quantization.Scale) == 0) {
					return 0, true
				}
			}
		}
		return 1, true
	},
	"sum of absolute weights": largestWeightSum,
}

// ofReduced is a quantity of the dimensions that an operator with its axes as input 1 reduces.
func ofReduced(of func(a, b int) int) quantity {
	return func(n *node) (float64, bool) {
		x := n.in(0)
		if x == nil {
			return 0, false
		}
		out := 1
		for axis, d := range x.Shape {
			if reduces(n, axis) {
				out = of(out, int(d))
			}
		}
		return float64(out), true
	}
}

// reduces says whether an operator with the axes it reduces as input 1 reduces this one.
func reduces(n *node, axis int) bool {
	x := n.in(0)
	return x != nil && (slices.Contains(n.ints(1), int32(axis)) || slices.Contains(n.ints(1), int32(axis-len(x.Shape))))
}

// fusedActivation is 1 where a pool, CONCATENATION or L2_NORMALIZATION bounds its values too.
func fusedActivation(n *node) (float64, bool) {
	if n.op.BuiltinOptions == nil {
		return 0, false
	}
	activation := schema.ActivationFunctionTypeNONE
	switch o := n.op.BuiltinOptions.Value.(type) {
	case *schema.Pool2DOptionsT:
		activation = o.FusedActivationFunction
	case *schema.ConcatenationOptionsT:
		activation = o.FusedActivationFunction
	case *schema.L2NormOptionsT:
		activation = o.FusedActivationFunction
	}
	if activation != schema.ActivationFunctionTypeNONE {
		return 1, true
	}
	return 0, true
}

// largestWeightSum is the largest sum of |weight − zero point| over the weights of one output.
func largestWeightSum(n *node) (float64, bool) {
	t := n.weights()
	if t == nil || !tflite.IsInt8s(t.Type) {
		return 0, false
	}
	values, err := n.model.Int8s(t)
	if err != nil || len(values) == 0 || len(t.Shape) == 0 {
		return 0, false
	}
	// Weights of a depthwise convolution lie channel by channel at each place, others channel after channel.
	channels, step := int(t.Shape[0]), 1
	if op.Lookup(n.code).Weights.Kind == op.Depthwise {
		channels = int(t.Shape[len(t.Shape)-1])
		step = channels
	}
	if channels < 1 || len(values)%channels != 0 {
		return 0, false
	}
	each := len(values) / channels
	sums := make([]float64, channels)
	for c := range sums {
		zero := int64(0)
		if q := t.Quantization; q != nil && len(q.ZeroPoint) > 0 {
			zero = q.ZeroPoint[c%len(q.ZeroPoint)]
		}
		first := c * each
		if step > 1 {
			first = c
		}
		sum := int64(0)
		for k := range each {
			d := int64(values[first+k*step]) - zero
			sum += max(d, -d)
		}
		sums[c] = float64(sum)
	}
	return slices.Max(sums), true
}

// scaling is by how much a RESIZE makes an image taller and wider, and whether it takes pixels at their centres.
func (n *node) scaling() (h, w float64, centres, ok bool) {
	x, y := n.in(0), n.out(0)
	if x == nil || y == nil || len(x.Shape) != 4 || len(y.Shape) != 4 || n.op.BuiltinOptions == nil {
		return 0, 0, false, false
	}
	corners := false
	switch o := n.op.BuiltinOptions.Value.(type) {
	case *schema.ResizeBilinearOptionsT:
		corners, centres = o.AlignCorners, o.HalfPixelCenters
	case *schema.ResizeNearestNeighborOptionsT:
		corners, centres = o.AlignCorners, o.HalfPixelCenters
	}
	factor := func(axis int) float64 {
		from, to := float64(x.Shape[axis]), float64(y.Shape[axis])
		if corners {
			from, to = from-1, to-1
		}
		if from < 1 {
			return to
		}
		return to / from
	}
	return factor(1), factor(2), centres, true
}

// scaleFactor is by how much an image is made larger, 1 where it has one pixel; 0 where the two directions differ.
func scaleFactor(n *node) (float64, bool) {
	h, w, _, ok := n.scaling()
	if !ok {
		return 0, false
	}
	x, y := n.in(0), n.out(0)
	switch {
	case x.Shape[1] == 1 && x.Shape[2] == 1:
		return 1, true
	case h == w, y.Shape[2] == 1:
		return h, true
	case y.Shape[1] == 1:
		return w, true
	default:
		return 0, true
	}
}

// scaleFactorOfCentres is the scale factor of a RESIZE that takes pixels at their centres.
func scaleFactorOfCentres(n *node) (float64, bool) {
	if _, _, centres, ok := n.scaling(); !ok || !centres {
		return 0, false
	}
	return scaleFactor(n)
}

// scalesByPowersOfTwo is 1 where both directions of an image become larger by a power of two.
func scalesByPowersOfTwo(n *node) (float64, bool) {
	h, w, _, ok := n.scaling()
	if !ok {
		return 0, false
	}
	for _, factor := range []float64{h, w} {
		if mantissa, _ := math.Frexp(factor); mantissa != 0.5 || factor < 1 {
			return 0, true
		}
	}
	return 1, true
}

// equalQuantization is 1 where an operator's inputs have the scale and zero point of its output.
func equalQuantization(n *node) (float64, bool) {
	out := n.out(0)
	if out == nil || out.Quantization == nil {
		return 0, false
	}
	for i := range n.op.Inputs {
		t := n.in(i)
		if t != nil && (t.Quantization == nil || !slices.Equal(t.Quantization.Scale, out.Quantization.Scale) || !slices.Equal(t.Quantization.ZeroPoint, out.Quantization.ZeroPoint)) {
			return 0, true
		}
	}
	return 1, true
}
