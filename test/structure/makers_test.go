package structure

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// makers are the operators that networks are built of.
var makers map[schema.BuiltinOperator]maker

func init() {
	makers = map[schema.BuiltinOperator]maker{
		schema.BuiltinOperatorCONV_2D:           makeConv,
		schema.BuiltinOperatorDEPTHWISE_CONV_2D: makeDepthwise,
		schema.BuiltinOperatorTRANSPOSE_CONV:    makeTransposeConv,
		schema.BuiltinOperatorCONV_3D:           makeConv3D,
		schema.BuiltinOperatorFULLY_CONNECTED:   makeDense,
		schema.BuiltinOperatorBATCH_MATMUL:      makeBatchMatMul,

		schema.BuiltinOperatorSPACE_TO_BATCH_ND: makeDilated,
		schema.BuiltinOperatorSHAPE:             makeComputedReshape,

		schema.BuiltinOperatorLEAKY_RELU: func(g *generator) bool {
			return g.unary(schema.BuiltinOperatorLEAKY_RELU, schema.BuiltinOptionsLeakyReluOptions, &schema.LeakyReluOptionsT{Alpha: float32(g.IntN(5)) / 8})
		},
		schema.BuiltinOperatorGELU: func(g *generator) bool {
			return g.unary(schema.BuiltinOperatorGELU, schema.BuiltinOptionsGeluOptions, &schema.GeluOptionsT{Approximate: g.chance(0.5)})
		},
		schema.BuiltinOperatorSOFTMAX: func(g *generator) bool {
			return g.row(schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: []float32{1, 1, 0.5, 2}[g.IntN(4)]})
		},
		schema.BuiltinOperatorLOG_SOFTMAX: func(g *generator) bool {
			return g.row(schema.BuiltinOperatorLOG_SOFTMAX, schema.BuiltinOptionsLogSoftmaxOptions, &schema.LogSoftmaxOptionsT{})
		},
		schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION: func(g *generator) bool {
			o := &schema.LocalResponseNormalizationOptionsT{Radius: int32(g.IntN(4)), Bias: 1, Alpha: 0.3, Beta: 0.5}
			return g.row(schema.BuiltinOperatorLOCAL_RESPONSE_NORMALIZATION, schema.BuiltinOptionsLocalResponseNormalizationOptions, o)
		},
		schema.BuiltinOperatorL2_NORMALIZATION: func(g *generator) bool {
			return g.row(schema.BuiltinOperatorL2_NORMALIZATION, schema.BuiltinOptionsL2NormOptions, &schema.L2NormOptionsT{})
		},

		schema.BuiltinOperatorADD: func(g *generator) bool {
			return g.binary(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{FusedActivationFunction: g.act()})
		},
		schema.BuiltinOperatorSUB: func(g *generator) bool {
			return g.binary(schema.BuiltinOperatorSUB, schema.BuiltinOptionsSubOptions, &schema.SubOptionsT{FusedActivationFunction: g.act()})
		},
		schema.BuiltinOperatorMUL: func(g *generator) bool {
			return g.binary(schema.BuiltinOperatorMUL, schema.BuiltinOptionsMulOptions, &schema.MulOptionsT{FusedActivationFunction: g.act()})
		},
		schema.BuiltinOperatorDIV: func(g *generator) bool {
			return g.ofPositives(schema.BuiltinOperatorDIV, schema.BuiltinOptionsDivOptions, &schema.DivOptionsT{FusedActivationFunction: g.act()}, false)
		},
		schema.BuiltinOperatorPOW: func(g *generator) bool {
			return g.ofPositives(schema.BuiltinOperatorPOW, schema.BuiltinOptionsPowOptions, &schema.PowOptionsT{}, true)
		},
		schema.BuiltinOperatorFLOOR_DIV: func(g *generator) bool {
			return g.ofPositives(schema.BuiltinOperatorFLOOR_DIV, schema.BuiltinOptionsFloorDivOptions, &schema.FloorDivOptionsT{}, false)
		},
		schema.BuiltinOperatorFLOOR_MOD: func(g *generator) bool {
			return g.ofPositives(schema.BuiltinOperatorFLOOR_MOD, schema.BuiltinOptionsFloorModOptions, &schema.FloorModOptionsT{}, false)
		},
		schema.BuiltinOperatorADD_N:  makeAddN,
		schema.BuiltinOperatorPRELU:  makePRelu,
		schema.BuiltinOperatorSELECT: makeSelect, schema.BuiltinOperatorSELECT_V2: makeSelect,
		schema.BuiltinOperatorLOGICAL_NOT: func(g *generator) bool {
			t, ok := g.pick(schema.TensorTypeBOOL, nil)
			return ok && g.done(g.emit(schema.BuiltinOperatorLOGICAL_NOT, schema.BuiltinOptionsLogicalNotOptions, &schema.LogicalNotOptionsT{}, of(t), schema.TensorTypeBOOL))
		},
		schema.BuiltinOperatorCAST: makeCast,

		schema.BuiltinOperatorRFFT2D: makeSpectrum, schema.BuiltinOperatorCOMPLEX_ABS: makeSpectrum,
		schema.BuiltinOperatorREAL: makeSpectrum, schema.BuiltinOperatorIMAG: makeSpectrum,
		schema.BuiltinOperatorSCATTER_ND:  makeScatterND,
		schema.BuiltinOperatorSEGMENT_SUM: makeSegmentSum,

		schema.BuiltinOperatorCUMSUM:          makeCumsum,
		schema.BuiltinOperatorTOPK_V2:         makeTopK,
		schema.BuiltinOperatorONE_HOT:         makeOneHot,
		schema.BuiltinOperatorCONCATENATION:   makeConcat,
		schema.BuiltinOperatorPACK:            makePack,
		schema.BuiltinOperatorUNPACK:          makeUnpack,
		schema.BuiltinOperatorSPLIT:           makeSplit,
		schema.BuiltinOperatorSPLIT_V:         makeSplitV,
		schema.BuiltinOperatorGATHER:          makeGather,
		schema.BuiltinOperatorGATHER_ND:       makeGatherND,
		schema.BuiltinOperatorMIRROR_PAD:      makePad,
		schema.BuiltinOperatorSTRIDED_SLICE:   makeStridedSlice,
		schema.BuiltinOperatorSLICE:           makeSlice,
		schema.BuiltinOperatorRESHAPE:         makeReshape,
		schema.BuiltinOperatorSQUEEZE:         makeSqueeze,
		schema.BuiltinOperatorEXPAND_DIMS:     makeExpandDims,
		schema.BuiltinOperatorTRANSPOSE:       makeTranspose,
		schema.BuiltinOperatorREVERSE_V2:      makeReverse,
		schema.BuiltinOperatorTILE:            makeTile,
		schema.BuiltinOperatorBROADCAST_TO:    makeBroadcastTo,
		schema.BuiltinOperatorDEPTH_TO_SPACE:  makeDepthToSpace,
		schema.BuiltinOperatorSPACE_TO_DEPTH:  makeSpaceToDepth,
		schema.BuiltinOperatorRESIZE_BILINEAR: makeResize, schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: makeResizeNearest,
	}
	for _, code := range []schema.BuiltinOperator{
		schema.BuiltinOperatorRELU, schema.BuiltinOperatorRELU6, schema.BuiltinOperatorRELU_N1_TO_1, schema.BuiltinOperatorRELU_0_TO_1,
		schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorTANH, schema.BuiltinOperatorHARD_SWISH, schema.BuiltinOperatorELU,
		schema.BuiltinOperatorABS, schema.BuiltinOperatorNEG, schema.BuiltinOperatorEXP, schema.BuiltinOperatorSQUARE,
		schema.BuiltinOperatorSIN, schema.BuiltinOperatorCOS, schema.BuiltinOperatorFLOOR, schema.BuiltinOperatorCEIL,
		schema.BuiltinOperatorROUND, schema.BuiltinOperatorSIGN, schema.BuiltinOperatorZEROS_LIKE,
	} {
		makers[code] = func(g *generator) bool { return g.unary(code, schema.BuiltinOptionsNONE, nil) }
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorSQRT, schema.BuiltinOperatorRSQRT, schema.BuiltinOperatorLOG} {
		makers[code] = func(g *generator) bool {
			t, ok := g.positive()
			return ok && g.done(g.emit(code, schema.BuiltinOptionsNONE, nil, of(t)))
		}
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorMINIMUM, schema.BuiltinOperatorMAXIMUM} {
		makers[code] = func(g *generator) bool {
			return g.binary(code, schema.BuiltinOptionsMaximumMinimumOptions, &schema.MaximumMinimumOptionsT{})
		}
	}
	makers[schema.BuiltinOperatorSQUARED_DIFFERENCE] = func(g *generator) bool {
		return g.binary(schema.BuiltinOperatorSQUARED_DIFFERENCE, schema.BuiltinOptionsSquaredDifferenceOptions, &schema.SquaredDifferenceOptionsT{})
	}
	for _, code := range []schema.BuiltinOperator{
		schema.BuiltinOperatorEQUAL, schema.BuiltinOperatorNOT_EQUAL, schema.BuiltinOperatorLESS, schema.BuiltinOperatorLESS_EQUAL,
		schema.BuiltinOperatorGREATER, schema.BuiltinOperatorGREATER_EQUAL,
	} {
		makers[code] = func(g *generator) bool { return g.binary(code, schema.BuiltinOptionsNONE, nil, schema.TensorTypeBOOL) }
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorLOGICAL_AND, schema.BuiltinOperatorLOGICAL_OR} {
		makers[code] = func(g *generator) bool {
			x, ok := g.pick(schema.TensorTypeBOOL, nil)
			if !ok {
				return false
			}
			y, ok := g.pick(schema.TensorTypeBOOL, func(s []int) bool { return slices.Equal(s, g.shape(x)) })
			return ok && g.done(g.emit(code, schema.BuiltinOptionsNONE, nil, of(x, y), schema.TensorTypeBOOL))
		}
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorAVERAGE_POOL_2D, schema.BuiltinOperatorMAX_POOL_2D, schema.BuiltinOperatorL2_POOL_2D} {
		makers[code] = func(g *generator) bool { return g.pool(code) }
	}
	for _, code := range []schema.BuiltinOperator{
		schema.BuiltinOperatorMEAN, schema.BuiltinOperatorSUM, schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_MIN, schema.BuiltinOperatorREDUCE_PROD,
	} {
		makers[code] = func(g *generator) bool { return g.reduce(code, schema.TensorTypeFLOAT32) }
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorREDUCE_ANY, schema.BuiltinOperatorREDUCE_ALL} {
		makers[code] = func(g *generator) bool { return g.reduce(code, schema.TensorTypeBOOL) }
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorARG_MAX, schema.BuiltinOperatorARG_MIN} {
		makers[code] = func(g *generator) bool {
			t, ok := g.float(atLeast(2))
			if !ok {
				return false
			}
			kind, options := schema.BuiltinOptionsArgMaxOptions, any(&schema.ArgMaxOptionsT{OutputType: schema.TensorTypeINT32})
			if code == schema.BuiltinOperatorARG_MIN {
				kind, options = schema.BuiltinOptionsArgMinOptions, &schema.ArgMinOptionsT{OutputType: schema.TensorTypeINT32}
			}
			return g.done(g.emit(code, kind, options, append(of(t), scalar(float64(g.axis(t)), schema.TensorTypeINT32)), schema.TensorTypeINT32))
		}
	}
	for _, code := range []schema.BuiltinOperator{schema.BuiltinOperatorPAD, schema.BuiltinOperatorPADV2} {
		makers[code] = makePad
	}
}

func (g *generator) done(_ []int32, ok bool) bool { return ok }

// axis is a random axis of an activation that may be worked along, from the front or from the back.
func (g *generator) axis(t int32) int {
	rank := len(g.shape(t))
	a := g.first() + g.IntN(rank-g.first())
	if g.chance(0.4) {
		a -= rank
	}
	return a
}

func (g *generator) act() schema.ActivationFunctionType {
	return []schema.ActivationFunctionType{
		schema.ActivationFunctionTypeNONE, schema.ActivationFunctionTypeNONE, schema.ActivationFunctionTypeRELU,
		schema.ActivationFunctionTypeRELU6, schema.ActivationFunctionTypeRELU_N1_TO_1,
	}[g.IntN(5)]
}

func (g *generator) padding() schema.Padding {
	return []schema.Padding{schema.PaddingSAME, schema.PaddingVALID}[g.IntN(2)]
}

func (g *generator) unary(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any) bool {
	t, ok := g.float(atLeast(1))
	return ok && g.done(g.emit(code, kind, options, of(t)))
}

// row is a unary operator that works along the last dimension.
func (g *generator) row(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any) bool {
	t, ok := g.float(atLeast(2))
	return ok && g.done(g.emit(code, kind, options, of(t)))
}

// positive makes an activation of values above zero.
func (g *generator) positive() (int32, bool) {
	t, ok := g.float(nil)
	if !ok {
		return 0, false
	}
	code := []schema.BuiltinOperator{schema.BuiltinOperatorABS, schema.BuiltinOperatorSQUARE, schema.BuiltinOperatorLOGISTIC, schema.BuiltinOperatorEXP}[g.IntN(4)]
	out, ok := g.emit(code, schema.BuiltinOptionsNONE, nil, of(t))
	if !ok {
		return 0, false
	}
	out, ok = g.emit(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, append(of(out[0]), g.const32(array{shape: []int{1}, v: []float64{0.5}})))
	if !ok {
		return 0, false
	}
	return out[0], true
}

// partner is a second operand that broadcasts with an activation: another activation, itself or a constant of some of its dimensions.
func (g *generator) partner(t int32, draw func(shape ...int) array) operand {
	shape := g.shape(t)
	if g.chance(0.5) {
		other, ok := g.float(func(s []int) bool {
			if len(s) > len(shape) || g.open && len(s) != len(shape) {
				return false
			}
			for i, d := range s {
				if want := shape[len(shape)-len(s)+i]; d != want && d != 1 {
					return false
				}
			}
			return true
		})
		if ok {
			return of(other)[0]
		}
	}
	own := slices.Clone(shape[g.IntN(len(shape)+1):])
	if g.open && len(own) == len(shape) {
		own[0] = 1
	}
	for i := range own {
		if g.chance(0.3) {
			own[i] = 1
		}
	}
	return g.const32(draw(own...))
}

func (g *generator) spread(shape ...int) array { return g.normal(0.8, shape...) }

func (g *generator) binary(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, types ...schema.TensorType) bool {
	t, ok := g.float(nil)
	if !ok {
		return false
	}
	in := append(of(t), g.partner(t, g.spread))
	if g.chance(0.4) {
		in[0], in[1] = in[1], in[0]
	}
	return g.done(g.emit(code, kind, options, in, types...))
}

// ofPositives is a binary operator whose second operand, or first, is positive.
func (g *generator) ofPositives(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, base bool) bool {
	p, ok := g.positive()
	if !ok {
		return false
	}
	above := func(shape ...int) array {
		return g.normal(1, shape...).each(func(x float64) float64 { return float64(float32(0.5 + x*x)) })
	}
	if base {
		return g.done(g.emit(code, kind, options, append(of(p), g.partner(p, g.spread))))
	}
	if g.chance(0.5) {
		t, _ := g.float(nil)
		if other := g.partner(t, above); other.value != nil {
			return g.done(g.emit(code, kind, options, append(of(t), other)))
		}
	}
	return g.done(g.emit(code, kind, options, []operand{g.partner(p, g.spread), of(p)[0]}))
}

// image is an activation of four dimensions, reshaped to them if there is no other.
func (g *generator) image() (int32, bool) {
	if t, ok := g.float(exactly(4)); ok {
		return t, true
	}
	t, ok := g.float(atLeast(1))
	if !ok {
		return 0, false
	}
	n := product(g.shape(t))
	c := 1
	for _, d := range []int{2, 3, 4} {
		if n%d == 0 {
			c = d
		}
	}
	h := 1
	for _, d := range []int{2, 3, 4, 5} {
		if n/c%d == 0 {
			h = d
		}
	}
	out, ok := g.reshaped(t, []int{1, h, n / c / h, c})
	return out, ok
}

// reshaped gives an activation another shape, the batch first if it is open.
func (g *generator) reshaped(t int32, shape []int) (int32, bool) {
	target := slices.Clone(shape)
	if g.open {
		target[0] = -1
	} else if g.chance(0.3) {
		target[g.IntN(len(target))] = -1
	}
	out, ok := g.emit(schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{NewShape: int32s(target)}, append(of(t), ints(target...)))
	if !ok {
		return 0, false
	}
	return out[0], true
}

// kernel draws the size, stride and dilation of a window over in pixels.
func (g *generator) kernel(in int, padding schema.Padding) (kernel, stride, dilation int) {
	kernel, stride, dilation = 1+g.IntN(3), 1+g.IntN(2), 1
	if g.chance(0.2) {
		stride, dilation = 1, 2
	}
	if padding == schema.PaddingVALID {
		for (kernel-1)*dilation+1 > in {
			kernel--
		}
	}
	return kernel, stride, dilation
}

func (g *generator) biasOf(n int) operand { return g.const32(g.normal(0.3, n)) }

// weights are new ones, or those of another layer of the same shape.
func (g *generator) weights(spread float64, shape ...int) operand {
	key := fmt.Sprint(shape)
	if w, ok := g.shared[key]; ok && g.chance(0.5) {
		return w
	}
	w := g.const32(g.normal(spread, shape...))
	g.shared[key] = w
	return w
}

func makeConv(g *generator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.Conv2DOptionsT{Padding: g.padding(), FusedActivationFunction: g.act()}
	kh, sh, dh := g.kernel(x[1], o.Padding)
	kw, sw, dw := g.kernel(x[2], o.Padding)
	o.StrideH, o.StrideW, o.DilationHFactor, o.DilationWFactor = int32(sh), int32(sw), int32(dh), int32(dw)
	groups, out := 1, 1+g.IntN(9)
	if x[3]%2 == 0 && g.chance(0.2) {
		groups, out = 2, 2*(1+g.IntN(3))
	}
	in := append(of(t), g.weights(0.5, out, kh, kw, x[3]/groups), g.biasOf(out)) // LiteRT takes none without a bias
	return g.done(g.emit(schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, in))
}

func makeDepthwise(g *generator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.DepthwiseConv2DOptionsT{Padding: g.padding(), FusedActivationFunction: g.act()}
	kh, sh, dh := g.kernel(x[1], o.Padding)
	kw, _, dw := g.kernel(x[2], o.Padding)
	multiplier := 1 + g.IntN(2)*g.IntN(3)
	o.StrideH, o.StrideW, o.DilationHFactor, o.DilationWFactor, o.DepthMultiplier = int32(sh), int32(sh), int32(dh), int32(dw), int32(multiplier)
	in := append(of(t), g.weights(0.6, 1, kh, kw, x[3]*multiplier))
	if g.chance(0.7) {
		in = append(in, g.biasOf(x[3]*multiplier))
	}
	return g.done(g.emit(schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOptionsDepthwiseConv2DOptions, o, in))
}

func makeTransposeConv(g *generator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.TransposeConvOptionsT{Padding: g.padding(), StrideH: int32(1 + g.IntN(3)), StrideW: int32(1 + g.IntN(2)), FusedActivationFunction: g.act()}
	k, out := 1+g.IntN(4), 1+g.IntN(4)
	size := func(in, stride int) int {
		if o.Padding == schema.PaddingSAME {
			return in * stride
		}
		return (in-1)*stride + k
	}
	in := []operand{ints(x[0], size(x[1], int(o.StrideH)), size(x[2], int(o.StrideW)), out), g.weights(0.5, out, k, k, x[3]), of(t)[0]}
	if g.chance(0.5) {
		in = append(in, g.const32(g.normal(0.3, out)))
	}
	return g.done(g.emit(schema.BuiltinOperatorTRANSPOSE_CONV, schema.BuiltinOptionsTransposeConvOptions, o, in))
}

func makeConv3D(g *generator) bool {
	t, ok := g.float(exactly(5))
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.Conv3DOptionsT{Padding: g.padding(), FusedActivationFunction: g.act()}
	kd, sd, dd := g.kernel(x[1], o.Padding)
	kh, sh, dh := g.kernel(x[2], o.Padding)
	kw, sw, dw := g.kernel(x[3], o.Padding)
	o.StrideD, o.StrideH, o.StrideW, o.DilationDFactor, o.DilationHFactor, o.DilationWFactor = int32(sd), int32(sh), int32(sw), int32(dd), int32(dh), int32(dw)
	out := 1 + g.IntN(4)
	return g.done(g.emit(schema.BuiltinOperatorCONV_3D, schema.BuiltinOptionsConv3DOptions, o, append(of(t), g.const32(g.normal(0.5, kd, kh, kw, x[4], out)), g.biasOf(out))))
}

func makeDense(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.FullyConnectedOptionsT{FusedActivationFunction: g.act(), KeepNumDims: len(x) > 2 && (g.open || g.chance(0.5))}
	n, out := x[len(x)-1], 1+g.IntN(8)
	bias := g.biasOf(out)
	if g.chance(0.3) {
		bias = absent
	}
	return g.done(g.emit(schema.BuiltinOperatorFULLY_CONNECTED, schema.BuiltinOptionsFullyConnectedOptions, o, append(of(t), g.weights(0.5, out, n), bias)))
}

func makeBatchMatMul(g *generator) bool {
	t, ok := g.float(atLeast(3))
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.BatchMatMulOptionsT{AdjX: g.chance(0.3), AdjY: g.chance(0.4)}
	k := x[len(x)-1]
	if o.AdjX {
		k = x[len(x)-2]
	}
	fits := func(s []int) bool {
		inner := len(s) - 2
		if o.AdjY {
			inner++
		}
		return len(s) == len(x) && slices.Equal(s[:len(s)-2], x[:len(x)-2]) && s[inner] == k
	}
	in := of(t)
	if other, found := g.float(fits); found && g.chance(0.7) {
		in = append(in, of(other)...)
	} else {
		shape := append(slices.Clone(x[:len(x)-2]), k, 1+g.IntN(4))
		if o.AdjY {
			shape[len(shape)-1], shape[len(shape)-2] = k, shape[len(shape)-1]
		}
		if g.open {
			shape[0] = 1
		}
		in = append(in, g.const32(g.normal(0.5, shape[g.IntN(len(shape)-1):]...)))
	}
	return g.done(g.emit(schema.BuiltinOperatorBATCH_MATMUL, schema.BuiltinOptionsBatchMatMulOptions, o, in))
}

// makeDilated writes a dilated convolution as TensorFlow does.
func makeDilated(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) == 4 && s[0] == 1 && s[1] > 1 && s[2] > 1 })
	if !ok {
		return false
	}
	x, k := g.shape(t), 2+g.IntN(2)
	var pads, crops []int
	for d := range 2 {
		around := 2 * (k - 1) // what SAME padding adds for dilation 2
		before, after := around/2, around-around/2
		extra := (2 - (x[d+1]+around)%2) % 2
		pads, crops = append(pads, before, after+extra), append(crops, 0, extra)
	}
	pairs := func(v []int) operand {
		p := ints(v...)
		p.value.shape = []int{2, 2}
		return p
	}
	snapshot := len(g.order)
	blocks, ok := g.emit(schema.BuiltinOperatorSPACE_TO_BATCH_ND, schema.BuiltinOptionsSpaceToBatchNDOptions, &schema.SpaceToBatchNDOptionsT{}, append(of(t), ints(2, 2), pairs(pads)))
	if !ok {
		return false
	}
	out := 1 + g.IntN(4)
	o := &schema.Conv2DOptionsT{Padding: schema.PaddingVALID, StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}
	y, ok := g.emit(schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, append(of(blocks[0]), g.const32(g.normal(0.4, out, k, k, x[3])), g.const32(g.normal(0.3, out))))
	if !ok {
		panic("a dilated convolution left the usual range")
	}
	if _, ok = g.emit(schema.BuiltinOperatorBATCH_TO_SPACE_ND, schema.BuiltinOptionsBatchToSpaceNDOptions, &schema.BatchToSpaceNDOptionsT{}, append(of(y[0]), ints(2, 2), pairs(crops))); !ok {
		panic("a dilated convolution left the usual range")
	}
	g.order = append(g.order[:snapshot], g.order[len(g.order)-1]) // nothing reads what lies between
	return true
}

// makeComputedReshape reshapes to a target that the network computes from the batch, as Keras writes it.
func makeComputedReshape(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok || !g.open {
		return false
	}
	x := g.shape(t)
	snapshot, i32 := len(g.order), schema.TensorTypeINT32
	shape, _ := g.emit(schema.BuiltinOperatorSHAPE, schema.BuiltinOptionsShapeOptions, &schema.ShapeOptionsT{OutType: i32}, of(t), i32)
	batch, _ := g.emit(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, &schema.StridedSliceOptionsT{ShrinkAxisMask: 1}, append(of(shape[0]), ints(0), ints(1), ints(1)), i32)
	rest := product(x[1:])
	sizes := []int{rest}
	if rest%2 == 0 {
		sizes = []int{rest / 2, 2}
	}
	in := of(batch[0])
	for _, n := range sizes {
		in = append(in, scalar(float64(n), i32))
	}
	target, _ := g.emit(schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{ValuesCount: int32(len(in))}, in, i32)
	_, ok = g.emit(schema.BuiltinOperatorRESHAPE, schema.BuiltinOptionsReshapeOptions, &schema.ReshapeOptionsT{}, of(t, target[0]))
	if !ok {
		panic("a reshape left the usual range")
	}
	g.order = append(g.order[:snapshot], g.order[len(g.order)-1])
	return true
}

func makeAddN(g *generator) bool {
	t, ok := g.float(nil)
	if !ok {
		return false
	}
	in := of(t)
	for range 1 + g.IntN(2) {
		other, _ := g.float(func(s []int) bool { return slices.Equal(s, g.shape(t)) })
		in = append(in, of(other)...)
	}
	return g.done(g.emit(schema.BuiltinOperatorADD_N, schema.BuiltinOptionsAddNOptions, &schema.AddNOptionsT{}, in))
}

func makePRelu(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	slopes := slices.Clone(g.shape(t)[1:])
	for i := range slopes[:len(slopes)-1] {
		if g.chance(0.5) {
			slopes[i] = 1
		}
	}
	return g.done(g.emit(schema.BuiltinOperatorPRELU, schema.BuiltinOptionsNONE, nil, append(of(t), g.const32(g.normal(0.3, slopes...)))))
}

func makeSelect(g *generator) bool {
	when, ok := g.pick(schema.TensorTypeBOOL, nil)
	if !ok {
		return false
	}
	same := func(s []int) bool { return slices.Equal(s, g.shape(when)) }
	x, ok := g.float(same)
	if !ok {
		return false
	}
	if g.chance(0.5) {
		y, _ := g.float(same)
		return g.done(g.emit(schema.BuiltinOperatorSELECT, schema.BuiltinOptionsSelectOptions, &schema.SelectOptionsT{}, of(when, x, y)))
	}
	in := append(of(when, x), g.partner(x, g.spread))
	if g.chance(0.5) {
		in[1], in[2] = in[2], in[1]
	}
	return g.done(g.emit(schema.BuiltinOperatorSELECT_V2, schema.BuiltinOptionsSelectV2Options, &schema.SelectV2OptionsT{}, in))
}

func makeCast(g *generator) bool {
	from := []schema.TensorType{schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeBOOL}[g.IntN(3)]
	to := schema.TensorTypeFLOAT32
	if from == to {
		to = schema.TensorTypeINT32
	}
	t, ok := g.pick(from, nil)
	return ok && g.done(g.emit(schema.BuiltinOperatorCAST, schema.BuiltinOptionsCastOptions, &schema.CastOptionsT{InDataType: from, OutDataType: to}, of(t), to))
}

func (g *generator) pool(code schema.BuiltinOperator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.Pool2DOptionsT{Padding: g.padding(), FusedActivationFunction: g.act()}
	kh, sh, _ := g.kernel(x[1], o.Padding)
	kw, sw, _ := g.kernel(x[2], o.Padding)
	o.FilterHeight, o.FilterWidth, o.StrideH, o.StrideW = int32(min(kh, x[1])), int32(min(kw, x[2])), int32(sh), int32(sw)
	return g.done(g.emit(code, schema.BuiltinOptionsPool2DOptions, o, of(t)))
}

func (g *generator) reduce(code schema.BuiltinOperator, typ schema.TensorType) bool {
	t, ok := g.pick(typ, atLeast(2))
	if !ok {
		return false
	}
	rank := len(g.shape(t))
	var axes []int
	for a := g.first(); a < rank; a++ {
		if g.chance(0.5) {
			if g.chance(0.3) {
				axes = append(axes, a-rank)
			} else {
				axes = append(axes, a)
			}
		}
	}
	if len(axes) == 0 {
		axes = []int{rank - 1}
	}
	g.Shuffle(len(axes), func(i, j int) { axes[i], axes[j] = axes[j], axes[i] })
	return g.done(g.emit(code, schema.BuiltinOptionsReducerOptions, &schema.ReducerOptionsT{KeepDims: g.chance(0.5)}, append(of(t), ints(axes...)), typ))
}

func makeCumsum(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	o := &schema.CumsumOptionsT{Exclusive: g.chance(0.4), Reverse: g.chance(0.4)}
	return g.done(g.emit(schema.BuiltinOperatorCUMSUM, schema.BuiltinOptionsCumsumOptions, o, append(of(t), scalar(float64(g.axis(t)), schema.TensorTypeINT32))))
}

func makeTopK(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) >= 2 && s[len(s)-1] > 1 })
	if !ok {
		return false
	}
	x := g.shape(t)
	k := 1 + g.IntN(x[len(x)-1])
	return g.done(g.emit(schema.BuiltinOperatorTOPK_V2, schema.BuiltinOptionsTopKV2Options, &schema.TopKV2OptionsT{}, append(of(t), scalar(float64(k), schema.TensorTypeINT32)), schema.TensorTypeFLOAT32, schema.TensorTypeINT32))
}

func makeOneHot(g *generator) bool {
	t, ok := g.pick(schema.TensorTypeINT32, atLeast(1))
	if !ok {
		return false
	}
	axis := -1
	if rank := len(g.shape(t)); g.chance(0.3) && rank > 1 {
		axis = 1 + g.IntN(rank-1)
	}
	in := append(of(t), scalar(float64(2+g.IntN(4)), schema.TensorTypeINT32), scalar(1, schema.TensorTypeFLOAT32), scalar(float64(g.IntN(2))/4, schema.TensorTypeFLOAT32))
	return g.done(g.emit(schema.BuiltinOperatorONE_HOT, schema.BuiltinOptionsOneHotOptions, &schema.OneHotOptionsT{Axis: int32(axis)}, in))
}

func makeConcat(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x, axis := g.shape(t), g.axis(t)
	at := (axis + len(x)) % len(x)
	in := of(t)
	for range 1 + g.IntN(2) {
		other, _ := g.float(func(s []int) bool {
			s = slices.Clone(s)
			if len(s) != len(x) {
				return false
			}
			s[at] = x[at]
			return slices.Equal(s, x)
		})
		in = append(in, of(other)...)
	}
	if !g.open && g.chance(0.2) {
		in = append(in, g.const32(g.spread(x...)))
	}
	o := &schema.ConcatenationOptionsT{Axis: int32(axis)} // LiteRT takes no fused activation here
	return g.done(g.emit(schema.BuiltinOperatorCONCATENATION, schema.BuiltinOptionsConcatenationOptions, o, in))
}

func makePack(g *generator) bool {
	t, ok := g.float(atLeast(1))
	if !ok {
		return false
	}
	rank := len(g.shape(t)) + 1
	axis := g.first() + g.IntN(rank-g.first())
	if g.chance(0.4) {
		axis -= rank
	}
	other, _ := g.float(func(s []int) bool { return slices.Equal(s, g.shape(t)) })
	return g.done(g.emit(schema.BuiltinOperatorPACK, schema.BuiltinOptionsPackOptions, &schema.PackOptionsT{Axis: int32(axis), ValuesCount: 2}, of(t, other)))
}

func makeUnpack(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x, axis := g.shape(t), g.axis(t)
	n := x[(axis+len(x))%len(x)]
	return g.done(g.emit(schema.BuiltinOperatorUNPACK, schema.BuiltinOptionsUnpackOptions, &schema.UnpackOptionsT{Axis: int32(axis), Num: int32(n)}, of(t)))
}

func makeSplit(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x, axis := g.shape(t), g.axis(t)
	n := x[(axis+len(x))%len(x)]
	count := n
	for _, k := range []int{2, 3} {
		if n%k == 0 && g.chance(0.7) {
			count = k
		}
	}
	return g.done(g.emit(schema.BuiltinOperatorSPLIT, schema.BuiltinOptionsSplitOptions, &schema.SplitOptionsT{NumSplits: int32(count)}, append([]operand{scalar(float64(axis), schema.TensorTypeINT32)}, of(t)...)))
}

func makeSplitV(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x, axis := g.shape(t), g.axis(t)
	n := x[(axis+len(x))%len(x)]
	if n < 2 {
		return false
	}
	k := 1 + g.IntN(n-1)
	sizes := []int{k, n - k}
	if g.chance(0.3) {
		sizes[g.IntN(2)] = -1
	}
	return g.done(g.emit(schema.BuiltinOperatorSPLIT_V, schema.BuiltinOptionsSplitVOptions, &schema.SplitVOptionsT{NumSplits: 2}, append(of(t), ints(sizes...), scalar(float64(axis), schema.TensorTypeINT32))))
}

func makeGather(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x, axis := g.shape(t), g.axis(t)
	n := x[(axis+len(x))%len(x)]
	ids := ints(g.IntN(n), g.IntN(n), g.IntN(n))
	if g.chance(0.2) {
		ids = scalar(float64(g.IntN(n)), schema.TensorTypeINT32)
	}
	return g.done(g.emit(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{Axis: int32(axis)}, append(of(t), ids)))
}

func makeGatherND(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	x := g.shape(t)
	depth := 1 + g.IntN(len(x)-g.first())
	if g.open { // every sample's own place: at batch 1 that of the only one
		depth++
		depth = min(depth, len(x))
	}
	var at []int
	for range 2 {
		for d := range depth {
			at = append(at, g.IntN(x[d]))
		}
	}
	ids := ints(at...)
	ids.value.shape = []int{2, depth}
	if g.open {
		return false
	}
	return g.done(g.emit(schema.BuiltinOperatorGATHER_ND, schema.BuiltinOptionsGatherNdOptions, &schema.GatherNdOptionsT{}, append(of(t), ids)))
}

func makePad(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) >= 2 && len(s) <= 4 })
	if !ok {
		return false
	}
	x := g.shape(t)
	kind := g.IntN(3)
	mode := g.IntN(2)
	p := ints(make([]int, 2*len(x))...)
	p.value.shape = []int{len(x), 2}
	for d := g.first(); d < len(x); d++ {
		most := 2
		if kind == 2 {
			most = min(most, x[d]-1+mode)
		}
		p.value.v[2*d], p.value.v[2*d+1] = float64(g.IntN(most+1)), float64(g.IntN(most+1))
	}
	switch kind {
	case 0:
		return g.done(g.emit(schema.BuiltinOperatorPAD, schema.BuiltinOptionsPadOptions, &schema.PadOptionsT{}, append(of(t), p)))
	case 1:
		return g.done(g.emit(schema.BuiltinOperatorPADV2, schema.BuiltinOptionsPadV2Options, &schema.PadV2OptionsT{}, append(of(t), p, g.const32(array{shape: []int{1}, v: []float64{float64(g.IntN(5)) / 2}}))))
	}
	o := &schema.MirrorPadOptionsT{Mode: []schema.MirrorPadMode{schema.MirrorPadModeREFLECT, schema.MirrorPadModeSYMMETRIC}[mode]}
	return g.done(g.emit(schema.BuiltinOperatorMIRROR_PAD, schema.BuiltinOptionsMirrorPadOptions, o, append(of(t), p)))
}

func makeStridedSlice(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) >= 2 && len(s) <= 4 })
	if !ok {
		return false
	}
	x := g.shape(t)
	o := &schema.StridedSliceOptionsT{}
	var begin, end, stride []int
	for d, n := range x {
		bit := int32(1) << d
		b, e, s := g.IntN(n), n, 1+g.IntN(2)
		switch {
		case d < g.first():
			b, s = 0, 1
			o.BeginMask, o.EndMask = o.BeginMask|bit, o.EndMask|bit
		case g.chance(0.2):
			o.ShrinkAxisMask |= bit
			e, s = b+1, 1
			if g.chance(0.5) {
				b, e = b-n, b-n+1
			}
		case g.chance(0.3):
			b, e, s = n-1, g.IntN(n)-n-1, -s
			if g.chance(0.3) {
				o.EndMask |= bit
			}
		case g.chance(0.3):
			b, o.BeginMask = -1, o.BeginMask|bit
		case g.chance(0.3):
			b -= n
		}
		begin, end, stride = append(begin, b), append(end, e), append(stride, s)
	}
	return g.done(g.emit(schema.BuiltinOperatorSTRIDED_SLICE, schema.BuiltinOptionsStridedSliceOptions, o, append(of(t), ints(begin...), ints(end...), ints(stride...))))
}

func makeSlice(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	var begin, size []int
	for d, n := range g.shape(t) {
		b := g.IntN(n)
		s := 1 + g.IntN(n-b)
		if d < g.first() {
			b, s = 0, -1
		} else if g.chance(0.3) {
			s = -1
		}
		begin, size = append(begin, b), append(size, s)
	}
	return g.done(g.emit(schema.BuiltinOperatorSLICE, schema.BuiltinOptionsSliceOptions, &schema.SliceOptionsT{}, append(of(t), ints(begin...), ints(size...))))
}

func makeReshape(g *generator) bool {
	t, ok := g.float(atLeast(1))
	if !ok {
		return false
	}
	var shape []int
	if g.open {
		shape = []int{1}
	}
	for n := product(g.shape(t)); n > 1; {
		d := n
		for _, k := range []int{2, 3, 4, 6} {
			if n%k == 0 && g.chance(0.4) {
				d = k
			}
		}
		shape, n = append(shape, d), n/d
	}
	if len(shape) < 2 {
		shape = append(shape, 1)
	}
	_, ok = g.reshaped(t, shape)
	return ok
}

func makeSqueeze(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) > 2 && slices.Contains(s[1:], 1) })
	if !ok {
		return false
	}
	x := g.shape(t)
	var dims []int32
	for d := 1; d < len(x); d++ {
		if x[d] == 1 && (len(dims) == 0 || g.chance(0.5)) {
			dims = append(dims, int32(d-g.IntN(2)*len(x)))
		}
	}
	return g.done(g.emit(schema.BuiltinOperatorSQUEEZE, schema.BuiltinOptionsSqueezeOptions, &schema.SqueezeOptionsT{SqueezeDims: dims}, of(t)))
}

func makeExpandDims(g *generator) bool {
	t, ok := g.float(atLeast(1))
	if !ok {
		return false
	}
	rank := len(g.shape(t)) + 1
	axis := g.first() + g.IntN(rank-g.first())
	if g.chance(0.3) {
		axis -= rank
	}
	return g.done(g.emit(schema.BuiltinOperatorEXPAND_DIMS, schema.BuiltinOptionsExpandDimsOptions, &schema.ExpandDimsOptionsT{}, append(of(t), scalar(float64(axis), schema.TensorTypeINT32))))
}

func makeTranspose(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	rest := g.Perm(len(g.shape(t)) - g.first())
	var order []int
	if g.open {
		order = []int{0}
	}
	for _, a := range rest {
		order = append(order, a+g.first())
	}
	return g.done(g.emit(schema.BuiltinOperatorTRANSPOSE, schema.BuiltinOptionsTransposeOptions, &schema.TransposeOptionsT{}, append(of(t), ints(order...))))
}

func makeReverse(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	return g.done(g.emit(schema.BuiltinOperatorREVERSE_V2, schema.BuiltinOptionsReverseV2Options, &schema.ReverseV2OptionsT{}, append(of(t), ints(g.axis(t)))))
}

func makeTile(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok {
		return false
	}
	times := repeat(1, len(g.shape(t)))
	times[g.first()+g.IntN(len(times)-g.first())] = 2
	return g.done(g.emit(schema.BuiltinOperatorTILE, schema.BuiltinOptionsTileOptions, &schema.TileOptionsT{}, append(of(t), ints(times...))))
}

func makeBroadcastTo(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) >= 2 && slices.Contains(s[1:], 1) })
	if !ok {
		return false
	}
	shape := slices.Clone(g.shape(t))
	for d := 1; d < len(shape); d++ {
		if shape[d] == 1 {
			shape[d] = 1 + g.IntN(3)
		}
	}
	if g.open {
		return false // its target holds the batch as a number
	}
	return g.done(g.emit(schema.BuiltinOperatorBROADCAST_TO, schema.BuiltinOptionsBroadcastToOptions, &schema.BroadcastToOptionsT{}, append(of(t), ints(shape...))))
}

func makeDepthToSpace(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) == 4 && s[3]%4 == 0 })
	return ok && g.done(g.emit(schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOptionsDepthToSpaceOptions, &schema.DepthToSpaceOptionsT{BlockSize: 2}, of(t)))
}

func makeSpaceToDepth(g *generator) bool {
	t, ok := g.float(func(s []int) bool { return len(s) == 4 && s[1]%2 == 0 && s[2]%2 == 0 })
	return ok && g.done(g.emit(schema.BuiltinOperatorSPACE_TO_DEPTH, schema.BuiltinOptionsSpaceToDepthOptions, &schema.SpaceToDepthOptionsT{BlockSize: 2}, of(t)))
}

func makeResize(g *generator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	o := &schema.ResizeBilinearOptionsT{}
	switch g.IntN(3) {
	case 1:
		o.AlignCorners = true
	case 2:
		o.HalfPixelCenters = true
	}
	return g.done(g.emit(schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, o, append(of(t), ints(1+g.IntN(7), 1+g.IntN(7)))))
}

func makeResizeNearest(g *generator) bool {
	t, ok := g.image()
	if !ok {
		return false
	}
	o := &schema.ResizeNearestNeighborOptionsT{}
	switch g.IntN(3) {
	case 1:
		o.AlignCorners = true
	case 2:
		o.HalfPixelCenters = true
	}
	return g.done(g.emit(schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR, schema.BuiltinOptionsResizeNearestNeighborOptions, o, append(of(t), ints(1+g.IntN(7), 1+g.IntN(7)))))
}

// makeSpectrum takes a part of a Fourier transform.
func makeSpectrum(g *generator) bool {
	t, ok := g.float(atLeast(3))
	if !ok {
		return false
	}
	snapshot, complex64 := len(g.order), schema.TensorTypeCOMPLEX64
	spectrum, ok := g.emit(schema.BuiltinOperatorRFFT2D, schema.BuiltinOptionsRfft2dOptions, &schema.Rfft2dOptionsT{}, append(of(t), ints(1<<g.IntN(3), 2<<g.IntN(4))), complex64)
	if !ok {
		return false
	}
	code := []schema.BuiltinOperator{schema.BuiltinOperatorCOMPLEX_ABS, schema.BuiltinOperatorREAL, schema.BuiltinOperatorIMAG}[g.IntN(3)]
	part, ok := g.emit(code, schema.BuiltinOptionsNONE, nil, of(spectrum[0]))
	g.order = append(g.order[:snapshot], part...) // nothing else reads complex numbers
	return ok
}

func makeScatterND(g *generator) bool {
	t, ok := g.float(atLeast(2))
	if !ok || g.open {
		return false
	}
	x := g.shape(t)
	ids := newArray(x[0], 1).each(func(float64) float64 { return float64(g.IntN(4)) })
	shape := append([]int{4}, x[1:]...)
	in := []operand{{-1, &ids, schema.TensorTypeINT32}, of(t)[0], ints(shape...)}
	return g.done(g.emit(schema.BuiltinOperatorSCATTER_ND, schema.BuiltinOptionsScatterNdOptions, &schema.ScatterNdOptionsT{}, in))
}

func makeSegmentSum(g *generator) bool {
	t, ok := g.float(atLeast(1))
	if !ok || g.open {
		return false
	}
	ids := make([]int, g.shape(t)[0])
	for i := 1; i < len(ids); i++ {
		ids[i] = ids[i-1] + g.IntN(2)
	}
	return g.done(g.emit(schema.BuiltinOperatorSEGMENT_SUM, schema.BuiltinOptionsSegmentSumOptions, &schema.SegmentSumOptionsT{}, append(of(t), ints(ids...))))
}
