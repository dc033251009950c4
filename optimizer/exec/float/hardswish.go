package float

import "math"

// hardSwishLayer is HARD_SWISH. Its integer kernel works in 16 bits and is off by one code here and there; quantized, the layer
// does the same, by table.
type hardSwishLayer struct{ unary }

func newHardSwish(l *unary) layer {
	l.fused = true
	return &hardSwishLayer{*l}
}

func (l *hardSwishLayer) forward(e *Exec) {
	l.unary.forward(e)
	t := l.out[0]
	act, from := e.act[t], e.act[l.in[0]]
	if act < 0 {
		return
	}
	raw := e.result(&l.node, 0)
	if from < 0 {
		e.quantize(t, raw)
		return
	}
	e.observe(act, raw)
	in, out := e.acts[from], e.acts[act]
	var table [256]float32
	for i := range table {
		table[i] = out.Scale * float32(hardSwishCode(int32(i)-128, in, out)-out.ZeroPoint)
	}
	y := e.values[t]
	for i, v := range e.value(l.in[0]) {
		code := int32(roundHalfAway(v/in.Scale)) + in.ZeroPoint
		y[i] = table[min(max(code, -128), 127)+128]
	}
}

func (l *hardSwishLayer) backward(e *Exec, g *Grads) {
	t := l.out[0]
	e.gate(g, t, e.gradient(t), e.result(&l.node, 0), unbounded)
	l.unary.backward(e, g)
}

// hardSwishCode is the code that LiteRT's reference/hard_swish.h gives for a code: x·relu6(x+3)/6 with products of the high halves
// of 16-bit numbers. The last product does not round.
func hardSwishCode(code int32, in, out *ActQuant) int32 {
	fine := float32((1.0 / 128) * in.Scale) // x is shifted to the left by 7
	output, outputShift := multiplier16(float64(fine / out.Scale))
	three, threeShift := multiplier16(float64(fine / float32(3.0/32768))) // 3 becomes 2¹⁵
	x := (code - in.ZeroPoint) << 7
	relu := x
	if threeShift > 0 {
		relu = saturate16(relu << min(threeShift-1, 15))
	}
	relu = highProduct(relu, three)
	if threeShift > 0 {
		relu = saturate16(relu << 1)
	} else {
		relu = shiftRight(relu, -threeShift)
	}
	relu = (relu + 1<<15) >> 1 // from [−1, 1] to [0, 1]
	y := relu * highProduct(x, output) / (1 << 15)
	return min(max(shiftRight(y, -outputShift)+out.ZeroPoint, -128), 127)
}

// multiplier16 splits a factor into a 15-bit fraction, by way of TensorFlow Lite's 31-bit one, and a shift to the left.
func multiplier16(factor float64) (fraction int32, shift int) {
	f, shift := math.Frexp(factor)
	wide := int64(math.Round(float64(f * (1 << 31))))
	if wide == 1<<31 {
		wide /= 2
		shift++
	}
	if wide >= math.MaxInt32-1<<15 {
		return math.MaxInt16, shift
	}
	return int32((wide + 1<<15) >> 16), shift
}

func saturate16(x int32) int32 { return min(max(x, math.MinInt16), math.MaxInt16) }

// highProduct is the rounded high half of the doubled product of two 16-bit numbers.
func highProduct(a, b int32) int32 { return saturate16((a*b + 1<<14) >> 15) }

// shiftRight divides by 2^shift, halves away from zero.
func shiftRight(x int32, shift int) int32 {
	if shift <= 0 {
		return saturate16(x << min(-shift, 15))
	}
	if shift >= 31 {
		return 0
	}
	half := int32(1) << (shift - 1)
	if x < 0 {
		return -((-x + half) >> shift)
	}
	return (x + half) >> shift
}
