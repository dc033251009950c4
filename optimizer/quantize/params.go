package quantize

import (
	"encoding/binary"
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/weight"
)

// The codes of an int8 activation.
const (
	minCode = -128
	maxCode = 127
	codes   = maxCode - minCode // steps between the smallest and the largest code
)

// Params is the quantization of one activation tensor, exactly as written into the file: real = Scale·(q − ZeroPoint).
type Params struct {
	Scale     float32
	ZeroPoint int32 // 0 if Wide
	Wide      bool  // int16; otherwise int8
}

// Quantize returns the code of x: round(x/Scale) half away from zero, plus the zero point, held to the codes there are. Division and
// rounding are in float32, as in the QUANTIZE reference kernel. NaN has no code; it gives the zero point.
func (p Params) Quantize(x float32) int {
	steps := float64(x / p.Scale)
	if steps != steps {
		return int(p.ZeroPoint)
	}
	lo, hi := p.codes()
	q := math.Round(steps) + float64(p.ZeroPoint)
	return int(min(max(q, float64(lo)), float64(hi)))
}

// Dequantize returns the real value of a code.
func (p Params) Dequantize(q int) float32 {
	return p.Scale * float32(q-int(p.ZeroPoint))
}

// codes are the least and the largest there are.
func (p Params) codes() (lo, hi int) {
	if p.Wide {
		return math.MinInt16, math.MaxInt16
	}
	return minCode, maxCode
}

// Code reads code i of a tensor's raw little-endian data.
func (p Params) Code(data []byte, i int) int {
	if p.Wide {
		return int(int16(binary.LittleEndian.Uint16(data[2*i:])))
	}
	return int(int8(data[i]))
}

// Codes is how many codes a tensor's raw data holds.
func (p Params) Codes(data []byte) int {
	if p.Wide {
		return len(data) / 2
	}
	return len(data)
}

// Range is the interval between the values of the smallest and the largest code.
func (p Params) Range() Range {
	lo, hi := p.codes()
	return Range{Min: p.Dequantize(lo), Max: p.Dequantize(hi)}
}

// Check reports parameters that no file may hold.
func (p Params) Check() error {
	switch {
	case !(p.Scale > 0) || math.IsInf(float64(p.Scale), 0):
		return fmt.Errorf("scale %v is not a positive finite number", p.Scale)
	case p.Wide && p.ZeroPoint != 0:
		return fmt.Errorf("zero point %d of int16, which is symmetric", p.ZeroPoint)
	case p.ZeroPoint < minCode || p.ZeroPoint > maxCode:
		return fmt.Errorf("zero point %d is outside [%d, %d]", p.ZeroPoint, minCode, maxCode)
	}
	return nil
}

// Range is an interval of real values. As the range of a quantization it includes 0, so that 0 (padding, ReLU's floor) has a
// code of its own.
type Range struct{ Min, Max float32 }

// Empty is the range of no values; Include and Union grow it.
func Empty() Range {
	return Range{Min: float32(math.Inf(1)), Max: float32(math.Inf(-1))}
}

// Include returns the smallest range that holds r and x.
func (r Range) Include(x float32) Range { return Range{Min: min(r.Min, x), Max: max(r.Max, x)} }

// Union returns the smallest range that holds r and s.
func (r Range) Union(s Range) Range { return Range{Min: min(r.Min, s.Min), Max: max(r.Max, s.Max)} }

// zeroWidth is the width below which a range is taken for a constant 0: its scale would leave the normal float32 numbers once
// multiplied by a weight scale. smallestWidth is what narrower ranges are widened to: below it the 6 of a fused RELU6 is more than
// 2³¹ steps, which LiteRT refuses.
const (
	zeroWidth     = 1e-25
	smallestWidth = 1e-6
)

// widen makes r fit to be quantized: it includes 0, and a tensor that is always 0 (a dead ReLU) gets the range [0, 1], which
// leaves the biases of the layer it feeds a fine enough scale.
func (r Range) widen() Range {
	r = Range{Min: min(r.Min, 0), Max: max(r.Max, 0)}
	switch width := r.Max - r.Min; {
	case !(width >= zeroWidth):
		return Range{Min: 0, Max: 1}
	case width < smallestWidth:
		return Range{Min: r.Min * (smallestWidth / width), Max: r.Max * (smallestWidth / width)}
	default:
		return r
	}
}

// Params converts a range to the parameters written into the file. The range is first widened to include 0. The scale is
// (max − min)/255 and the zero point the code nearest to the one that gives min the code −128; where rounding it pushes an
// end of the range out, the loss is at most half a step.
func (r Range) Params() Params { return r.params(func(scale float32) float32 { return scale }) }

// CompactParams is Params with the scale rounded up to 8 significant bits: the quantization of inner tensors. Multiplied by
// weight scales of as many bits (weight.CompactScale), it makes the scale of every bias one of 16 bits, which a compressed file
// stores in two bytes instead of three.
func (r Range) CompactParams() Params { return r.params(weight.CompactScale) }

func (r Range) params(round func(float32) float32) Params {
	r = r.widen()
	lo, hi := float64(r.Min), float64(r.Max)
	scale := round(float32((hi - lo) / codes))
	zero := math.Round(minCode - lo/float64(scale))
	return Params{Scale: scale, ZeroPoint: int32(min(max(zero, minCode), maxCode))}
}

// WideParams are those of int16: symmetric, the scale that of the end farther from 0, rounded up to 8 significant bits unless it is to be
// kept exact.
func (r Range) WideParams(exact bool) Params {
	r = r.widen()
	scale := max(-r.Min, r.Max) / math.MaxInt16
	if !exact {
		scale = weight.CompactScale(scale)
	}
	return Params{Scale: scale, Wide: true}
}

// WideGradient is Gradient of WideParams: only the end farther from 0 decides.
func (r Range) WideGradient(dScale float32) (dMin, dMax float32) {
	if r = r.widen(); -r.Min > r.Max {
		return -dScale / math.MaxInt16, 0
	}
	return 0, dScale / math.MaxInt16
}

// Gradient turns the gradient with respect to a scale and a (continuous) zero point into the gradient with respect to the
// ends of the range r: the chain rule through scale = (max − min)/255 and zero = −128 − min/scale. Learned ranges step on
// their ends, since scale and zero point are coupled (LSQ+, arXiv 2004.09576, §3.2).
func (r Range) Gradient(dScale, dZero float32) (dMin, dMax float32) {
	r = r.widen()
	lo, hi := float64(r.Min), float64(r.Max)
	width := hi - lo
	ds, dz := float64(dScale)/codes, float64(dZero)*codes/(width*width)
	return float32(-ds - float64(dz*hi)), float32(ds + float64(dz*lo))
}

// MovingAverage is the exponential moving average of a tensor's per-batch range: m ← decay·m + (1 − decay)·batch.
// TFMOT's default is Decay 0.999 from the guess ±6 without correction for it, so that after n steps 0.999ⁿ of the guess
// remains; here ranges are seeded by calibration and the average only tracks them.
type MovingAverage struct {
	Decay float32
	Range Range
}

// Update folds the range of one batch in.
func (m *MovingAverage) Update(batch Range) {
	keep, take := m.Decay, 1-m.Decay
	m.Range.Min = float32(m.Range.Min*keep) + float32(batch.Min*take)
	m.Range.Max = float32(m.Range.Max*keep) + float32(batch.Max*take)
}
