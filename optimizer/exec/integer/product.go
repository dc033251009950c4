package integer

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// rescale turns accumulators into codes, times input scale × weight scale / output scale of the channel: a multiplier, or for
// FULLY_CONNECTED, as LiteRT's reference kernel has it, a float64 product rounded once.
type rescale struct {
	multipliers []multiplier // by channel, if real is nil
	real        []float64    // by channel
	zero        int32        // of the output
	lo, hi      int32
}

// weights are the constants of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV.
type weights struct {
	w     []int8  // codes as the file has them, one each
	wZero int32   // of the weights: 0 but in files that were uint8
	xZero int32   // of the input
	bias  []int32 // by channel
	wide  []int64 // the same, for int16 activations
	rescale
}

// newWeights reads the constants of a node: weights in input w with channels along axis, a bias or none in input b.
func (c *compiler) newWeights(x *ir.Tensor, w, b, axis int, act ir.Activation) (*weights, error) {
	in, err := c.quant(x)
	if err != nil {
		return nil, err
	}
	out, err := c.quant(c.out(0))
	if err != nil {
		return nil, err
	}
	t := c.in(w)
	if t == nil || !tflite.IsInt8s(t.Type) || t.Const == nil {
		return nil, c.unsupported("its weights %s are not constant INT8 or INT4: convert with weights of 8 or 4 bits", t)
	}
	if depthwise := c.n.Op == schema.BuiltinOperatorDEPTHWISE_CONV_2D; t.Type == schema.TensorTypeINT4 && (op.Lookup(c.n.Op).Weights.Int4 == 0 || c.wide && depthwise) {
		return nil, c.unsupported("its weights %s are INT4, of which LiteRT has no kernel: convert with 8-bit weights", t)
	}
	channels := t.Shape[axis]
	if t.Quant == nil || len(t.Quant.Scale) != 1 && (len(t.Quant.Scale) != channels || t.Quant.Axis != axis) {
		return nil, c.unsupported("weights %s are not quantized per tensor or along dimension %d", t, axis)
	}
	k := &weights{w: t.Int8s(), wZero: t.Quant.ZeroPoint[0], xZero: in.zero, bias: make([]int32, channels)}
	for i, zero := range t.Quant.ZeroPoint {
		if zero != k.wZero || zero < -128 || zero > 127 || len(t.Quant.Scale) > 1 && zero != 0 {
			return nil, c.unsupported("weights %s have zero point %d in channel %d: per-channel weights are symmetric", t, zero, i)
		}
	}
	if c.wide {
		k.wide = make([]int64, channels)
	}
	if bias := c.in(b); bias != nil {
		if bias.Const == nil || bias.Type != schema.TensorTypeINT32 && (!c.wide || bias.Type != schema.TensorTypeINT64) {
			return nil, c.unsupported("its bias %s is not constant INT32%s", bias, map[bool]string{true: " or INT64"}[c.wide])
		}
		for i, v := range bias.Ints() {
			if c.wide {
				k.wide[i] = int64(v)
			} else {
				k.bias[i] = int32(v)
			}
		}
	}
	k.zero = out.zero
	k.lo, k.hi = out.bounds(act)
	for i := range channels {
		scale := t.Quant.Scale[min(i, len(t.Quant.Scale)-1)]
		real := float64(float64(in.scale)*float64(scale)) / float64(out.scale)
		switch dense := c.n.Op == schema.BuiltinOperatorFULLY_CONNECTED; {
		case c.g.Model.Unsigned && !dense: // LiteRT multiplies the scales of uint8 layers as float32
			k.multipliers = append(k.multipliers, newMultiplier(float64(in.scale*scale)/float64(out.scale)))
		case dense && !c.tflm:
			k.real = append(k.real, real)
		case dense && len(t.Quant.Scale) == 1:
			k.multipliers = append(k.multipliers, newMultiplier(float64(in.scale*scale)/float64(out.scale)))
		default:
			k.multipliers = append(k.multipliers, newMultiplier(real))
		}
	}
	return k, nil
}

// code rescales the accumulator of channel c.
func (r *rescale) code(acc int32, c int) int8 {
	if r.real != nil {
		v := math.Round(float64(acc) * r.real[c])
		return clamp(int32(min(max(v, -1<<24), 1<<24))+r.zero, r.lo, r.hi)
	}
	return clamp(r.multipliers[c].of(acc)+r.zero, r.lo, r.hi)
}

// code16 rescales the accumulator of channel c to an int16 code.
func (r *rescale) code16(acc int64, c int) int16 {
	if r.real != nil {
		v := math.Round(float64(acc) * r.real[c])
		return clamp16(int32(min(max(v, math.MinInt32), math.MaxInt32)), r.lo, r.hi)
	}
	return clamp16(r.multipliers[c].ofWide(acc), r.lo, r.hi)
}

// rescale16 makes int16 codes of the sums of package kernel, as code16 does.
type rescale16 struct {
	*rescale
	channels []channel16
}

// channel16 is what sums of a channel lack, the bias among it, and its multiplier (see ofWide).
type channel16 struct {
	offset, reduced, half int64
	shift                 uint8
}

// rescale16 is for sums that lack an offset by channel.
func (w *weights) rescale16(offset []int64) *rescale16 {
	r := &rescale16{rescale: &w.rescale, channels: make([]channel16, len(offset))}
	for c := range r.channels {
		channel := &r.channels[c]
		channel.offset = offset[c] + w.wide[c]
		if w.real == nil {
			channel.reduced, channel.half, channel.shift = w.multipliers[c].wide()
		}
	}
	return r
}

// of writes the codes of sums from one on to y.
func (r *rescale16) of(y []int16, sums kernel.Int16Sums, from int) {
	channels, lo, hi := r.channels, r.lo, r.hi
	n := len(channels)
	high, low := sums.High[from:][:len(y)], sums.Low[from:][:len(y)]
	for ; len(y) >= n && n > 0; y, high, low = y[n:], high[n:], low[n:] {
		high, low, y := high[:len(channels)], low[:len(channels)], y[:len(channels)]
		if r.real != nil {
			for c := range channels {
				y[c] = r.code16(int64(high[c])<<8+int64(low[c])+channels[c].offset, c)
			}
			continue
		}
		for c := range channels {
			k := &channels[c]
			sum := int64(high[c])<<8 + int64(low[c]) + k.offset
			y[c] = clamp16(int32((sum*k.reduced+k.half)>>(k.shift&63)), lo, hi)
		}
	}
}

// windowProduct16 is CONV_2D or DEPTHWISE_CONV_2D of int16 by package kernel.
type windowProduct16 struct {
	ir.Window
	x, y                  int // tensors
	batch, outputs, depth int // channels of y; products of an output
	packed                *kernel.Int16Window
	codes                 *rescale16
}

func (k *windowProduct16) run(m *memory) error {
	k.runRows(m, &m.scratch, 0, k.batch*k.OutH)
	return nil
}

func (k *windowProduct16) rows() (count, products int) {
	return k.batch * k.OutH, 2 * k.OutW * k.outputs * k.depth
}

func (k *windowProduct16) runRows(m *memory, s *kernel.Int8Scratch, from, to int) {
	x, y := m.int16s(k.x), m.int16s(k.y)
	in, row := len(x)/max(k.batch, 1), k.OutW*k.outputs
	eachImage(k.OutH, from, to, func(b, from, to int) {
		k.codes.of(y[(b*k.OutH+from)*row:(b*k.OutH+to)*row], k.packed.RunRows(s, x[b*in:(b+1)*in], from, to), from*row)
	})
}

// requant is what package kernel wants to know of the constants; ok is false for those only the plain loop knows: sums so deep that they
// may leave 32 bits where the plain loop's wrap.
func (w *weights) requant(depth int) (q kernel.Requant, ok bool) {
	q = kernel.Requant{Bias: w.bias, Real: w.real, InputZero: w.xZero, WeightZero: w.wZero, Zero: w.zero, Min: w.lo, Max: w.hi}
	for _, m := range w.multipliers {
		if m.shift > 30 {
			return q, false // package kernel shifts left by at most 30
		}
		q.Multiplier, q.Shift = append(q.Multiplier, m.value), append(q.Shift, int32(m.shift))
	}
	most := 1 << 16
	if w.wZero != 0 {
		most = 1 << 15
	}
	return q, depth > 0 && depth <= most
}

// paddable reports whether an image stays of a sensible size with its padding, which package kernel holds with it. A dilation may
// reach, and pad, any distance beyond the image.
func paddable(w ir.Window, channels int) bool {
	const most = 1 << 26 // elements
	rows, columns := w.PadTop+w.InH+w.PadBottom, w.PadLeft+w.InW+w.PadRight
	return rows <= most && columns <= most/max(rows*channels, 1)
}
