package quantize

import (
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/weight"
)

// Weights are the integers of a weight tensor and their scales: value = code times the scale of its output channel (weight.ScaleIndex).
type Weights struct {
	Codes []int8    // row-major, within ±127, or of int4 in [−8, 7]
	Scale []float32 // one, one per output channel, or one for each of equal parts of these
	Int4  bool      // packed, two a byte; otherwise int8
}

// maxBias bounds int32 biases. Half of the int32 range is left to the accumulated products, as TensorFlow's converter does.
const maxBias = 1 << 30

// Symmetric quantizes float weights for post-training quantization to codes within ±most, narrow: output channels are on axis, scales so many,
// rounded up to 8 significant bits (weight.Tensor.Scales). floor holds the smallest scale allowed by channel (nil: none),
// see scaleFloor.
func Symmetric(name string, values []float32, shape []int, axis, most, scales int, floor []float32) (Weights, error) {
	t, err := weight.New(name, shape, axis, values)
	if err != nil {
		return Weights{}, err
	}
	t.Most = most
	if err := t.QuantizeWith(t.Scales(scales, floor)); err != nil {
		return Weights{}, err
	}
	return WeightsOf(t)
}

// WeightsOf copies the integers and scales of a quantized or clustered weight tensor.
func WeightsOf(t *weight.Tensor) (Weights, error) {
	w := Weights{Codes: make([]int8, t.Len()), Scale: slices.Clone(t.Scale), Int4: t.Most < weight.MaxCode}
	return w, t.Codes(w.Codes)
}

// scaleOf is the scale of output channel c of so many.
func (w Weights) scaleOf(c, channels int) float32 {
	return w.Scale[weight.ScaleIndex(c, len(w.Scale), channels)]
}

// Spread are w with a scale for each of so many output channels, unless there is one for all.
func (w Weights) Spread(channels int) Weights {
	if len(w.Scale) == 1 || len(w.Scale) == channels {
		return w
	}
	scale := make([]float32, channels)
	for c := range scale {
		scale[c] = w.scaleOf(c, channels)
	}
	w.Scale = scale
	return w
}

// Part are the integers and the scale of part i of n equal ones that the first dimension is cut into, that of the output channels. They have one
// scale for all, or one for each of them.
func (w Weights) Part(i, n int) (codes []int8, scale float32) {
	size := len(w.Codes) / n
	return w.Codes[i*size:][:size], w.scaleOf(i, n)
}

// limits are the least and the largest code there are: −8 of int4 in files of others only.
func (w Weights) limits() (lo, hi int) {
	if w.Int4 {
		return -weight.MaxCode4 - 1, weight.MaxCode4
	}
	return -weight.MaxCode, weight.MaxCode
}

// Holds reports whether values of the weights' shape are within what their scales can express.
func (w Weights) Holds(values []float32, shape []int, axis int) bool {
	inner := product(shape[axis+1:])
	lo, hi := w.limits()
	for i, v := range values {
		steps := float64(v) / float64(w.scaleOf(i/inner%shape[axis], shape[axis]))
		if !(steps >= float64(lo)-0.5 && steps <= float64(hi)+0.5) {
			return false
		}
	}
	return len(values) == len(w.Codes)
}

// On returns other values of the weights' shape as integers under the same scales; ok is false if these cannot express them. Values
// that are the weights' own give their codes.
func (w Weights) On(values []float32, shape []int, axis int) (on Weights, ok bool) {
	if !w.Holds(values, shape, axis) {
		return Weights{}, false
	}
	inner := product(shape[axis+1:])
	lo, hi := w.limits()
	on = Weights{Codes: make([]int8, len(values)), Scale: w.Scale, Int4: w.Int4}
	for i, v := range values {
		code := math.Round(float64(v) / float64(w.scaleOf(i/inner%shape[axis], shape[axis])))
		on.Codes[i] = int8(min(max(code, float64(lo)), float64(hi)))
	}
	return on, true
}

// scaleFloor is, by channel, the smallest weight scale with which bias/(input scale · weight scale) stays within maxBias: a
// channel whose weights are nearly zero (a dead batch-norm channel) would otherwise have its bias saturate.
func scaleFloor(bias []float32, input float32) []float32 {
	floor := make([]float32, len(bias))
	for c, b := range bias {
		floor[c] = float32(math.Abs(float64(b)) / maxBias / float64(input))
	}
	return floor
}

// withFloor returns w with the scales below the floor of one of their channels raised to it, and these channels. There may be so many scales at
// most; inner weights in a row are of one channel. That of a single channel is raised with its codes untouched: they are a promise of earlier stages, and a channel this happens to
// contributes next to nothing beside its bias. Codes of several channels shrink by as much as their scale grows, which makes no new ones.
func (w Weights) withFloor(floor []float32, scales, inner int) (Weights, []int) {
	channels := len(floor)
	var raised []int
	for c, lowest := range floor {
		if w.scaleOf(c, channels) < lowest {
			raised = append(raised, c)
		}
	}
	if len(raised) == 0 {
		return w, nil
	}
	scale := make([]float32, max(scales, len(w.Scale)))
	for k := range scale {
		scale[k] = w.scaleOf(k, len(scale))
	}
	for _, c := range raised {
		k := weight.ScaleIndex(c, len(scale), channels)
		scale[k] = max(scale[k], weight.CompactScale(floor[c]))
	}
	on := Weights{Codes: w.Codes, Scale: scale, Int4: w.Int4}
	if len(scale) < channels {
		on.Codes = slices.Clone(w.Codes)
		for i, code := range w.Codes {
			c := i / inner % channels
			on.Codes[i] = int8(math.Round(float64(code) * float64(w.scaleOf(c, channels)) / float64(on.scaleOf(c, channels))))
		}
	}
	return on, raised
}

// Values returns the real weights, codes times scales.
func (w Weights) Values(shape []int, axis int) []float32 {
	inner := product(shape[axis+1:])
	values := make([]float32, len(w.Codes))
	for i, q := range w.Codes {
		values[i] = w.scaleOf(i/inner%shape[axis], shape[axis]) * float32(q)
	}
	return values
}

// check reports weights that do not fit a tensor of the shape, with output channels on axis, or are no codes.
func (w Weights) check(shape []int, axis int) error {
	if err := w.checkSize(shape, axis); err != nil {
		return err
	}
	lo, hi := w.limits()
	for i, q := range w.Codes {
		if int(q) < lo || int(q) > hi {
			return fmt.Errorf("code %d is %d, outside [−%d, %d]", i, q, -lo, hi)
		}
	}
	return nil
}

// checkSize reports numbers of codes or scales that do not fit a tensor of the shape, and scales that are none.
func (w Weights) checkSize(shape []int, axis int) error {
	if n := product(shape); len(w.Codes) != n {
		return fmt.Errorf("%d codes for %d weights", len(w.Codes), n)
	}
	if len(w.Scale) == 0 || shape[axis]%len(w.Scale) != 0 {
		return fmt.Errorf("%d scales for %d output channels", len(w.Scale), shape[axis])
	}
	for c, s := range w.Scale {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return fmt.Errorf("scale %d is %v, not a positive finite number", c, s)
		}
	}
	return nil
}

// BiasCodes quantizes a bias at scale input·weight[channel]. The reference kernels multiply by the scales' product in float64,
// so the codes refer to that product; the float32 scale in the file only documents it.
func BiasCodes(bias []float32, input float32, weight []float32) []int32 {
	q := make([]int32, len(bias))
	for c, b := range bias {
		step := float64(input) * float64(weight[min(c, len(weight)-1)])
		q[c] = int32(min(max(math.Round(float64(b)/step), math.MinInt32), math.MaxInt32))
	}
	return q
}

// WideBiasCodes are BiasCodes of a layer with int16 activations. They keep 40 bits, as TensorFlow's converter has it.
func WideBiasCodes(bias []float32, input float32, weight []float32) []int64 {
	const most = 1 << 39
	q := make([]int64, len(bias))
	for c, b := range bias {
		step := float64(input) * float64(weight[min(c, len(weight)-1)])
		q[c] = int64(min(max(math.Round(float64(b)/step), -most), most))
	}
	return q
}

// BiasScale is the bias scale written into the file.
func BiasScale(input float32, weight []float32) []float32 {
	scale := make([]float32, len(weight))
	for c, s := range weight {
		scale[c] = float32(input * s)
	}
	return scale
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
