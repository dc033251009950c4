package weight

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
)

// MaxCode is the largest magnitude of a code: weights are int8, narrow, so that the set is symmetric (TFLite quantization
// specification). MaxCode4 is that of int4, of which −8 is left out likewise.
const (
	MaxCode  = 127
	MaxCode4 = 7
)

// Tensor is one trainable weight tensor. The exported fields are for reading; the methods keep them consistent.
type Tensor struct {
	Name  string
	Shape []int
	Axis  int // of the output channels
	Most  int // largest magnitude of a code: MaxCode, or MaxCode4

	Latent []float32 // in code units when Scale is set, in weight units otherwise; row-major like the tensor
	Mask   []uint8   // 1 keeps, 0 prunes; nil prunes nothing

	Scale     []float32   // as ScaleIndex has them; nil: a float tensor
	Codebooks []*Codebook // one, or one per output channel; nil: all codes within ±Most

	// Unit is the size of a code unit in weight units, the median scale (1 for a float tensor): what the optimizer's learning
	// rate is divided by.
	Unit float32

	geometry
	members []uint8 // by weight: index into its codebook, pruned for a masked one; nil without codebooks
	grad    gradients
}

// pruned is the member index of a masked weight. A codebook has at most 255 codes, so it is free.
const pruned = 255

// geometry is how a row-major tensor falls into rows of one output channel each: weight ((o·channels)+c)·inner + i is channel c.
type geometry struct{ outer, channels, inner int }

func geometryOf(shape []int, axis int) geometry {
	g := geometry{1, 1, 1}
	for d, n := range shape {
		switch {
		case d < axis:
			g.outer *= n
		case d == axis:
			g.channels = n
		default:
			g.inner *= n
		}
	}
	return g
}

func (g geometry) size() int { return g.outer * g.channels * g.inner }

// channel of weight i.
func (g geometry) channel(i int) int { return i / g.inner % g.channels }

// rows calls f with every row [lo, hi) of one channel, in memory order.
func (g geometry) rows(f func(c, lo, hi int)) {
	lo := 0
	for range g.outer {
		for c := range g.channels {
			f(c, lo, lo+g.inner)
			lo += g.inner
		}
	}
}

// New returns a float tensor that owns a copy of values, of the given shape with output channels on axis.
func New(name string, shape []int, axis int, values []float32) (*Tensor, error) {
	g, err := checkGeometry(shape, axis, len(values))
	if err != nil {
		return nil, fmt.Errorf("weights %q: %w", name, err)
	}
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("weights %q: value %d is %v, not finite", name, i, v)
		}
	}
	return &Tensor{
		Name: name, Shape: slices.Clone(shape), Axis: axis, Most: MaxCode, geometry: g,
		Latent: slices.Clone(values), Unit: 1,
	}, nil
}

func checkGeometry(shape []int, axis, values int) (geometry, error) {
	dims := make([]int32, len(shape))
	for d, n := range shape {
		if n <= 0 || n > math.MaxInt32 {
			return geometry{}, fmt.Errorf("dimension %d of shape %v is not positive", d, shape)
		}
		dims[d] = int32(n)
	}
	n, err := tflite.NumElements(dims)
	switch {
	case err != nil:
		return geometry{}, err
	case n != values:
		return geometry{}, fmt.Errorf("%d values for shape %v", values, shape)
	case axis < 0 || axis >= len(shape):
		return geometry{}, fmt.Errorf("output-channel axis %d outside shape %v", axis, shape)
	}
	return geometryOf(shape, axis), nil
}

// Len is the number of weights.
func (t *Tensor) Len() int { return len(t.Latent) }

// Channels is the number of output channels.
func (t *Tensor) Channels() int { return t.channels }

// ScaleIndex is which of so many scales output channel c of so many has. There is one for all, one per output channel, or one for each of
// as many equal parts of these, one after the other, such as the gates of an LSTM.
func ScaleIndex(c, scales, channels int) int { return c * scales / channels }

// scaleOf is the scale of channel c; 1 for a float tensor.
func (t *Tensor) scaleOf(c int) float32 {
	if len(t.Scale) == 0 {
		return 1
	}
	return t.Scale[ScaleIndex(c, len(t.Scale), t.channels)]
}

// bookOf is the codebook of channel c.
func (t *Tensor) bookOf(c int) *Codebook { return t.Codebooks[min(c, len(t.Codebooks)-1)] }

// SetMask sets which weights survive (1) and which are pruned (0): their latents become zero, and stay so. A nil mask prunes nothing.
// Weights with codebooks take no new mask: prune before clustering.
func (t *Tensor) SetMask(mask []uint8) error {
	if mask != nil && len(mask) != t.Len() {
		return fmt.Errorf("weights %q: mask of %d for %d weights", t.Name, len(mask), t.Len())
	}
	if t.Codebooks != nil {
		return fmt.Errorf("weights %q: already clustered; prune before clustering", t.Name)
	}
	for i, m := range mask {
		if m > 1 {
			return fmt.Errorf("weights %q: mask %d is %d, neither 0 nor 1", t.Name, i, m)
		}
	}
	if mask == nil {
		t.Mask = nil
		return nil
	}
	if t.Mask == nil { // keep the slice: trainables refer to it
		t.Mask = make([]uint8, len(mask))
	}
	copy(t.Mask, mask)
	applyMask(t.Latent, t.Mask)
	return nil
}

// Quantize turns a float tensor into one with all codes within ±Most and so many scales (Scales).
func (t *Tensor) Quantize(scales int) error { return t.QuantizeWith(t.Scales(scales, nil)) }

// QuantizeWith is Quantize with given scales, as ScaleIndex has them.
func (t *Tensor) QuantizeWith(scale []float32) error {
	if t.Scale != nil {
		return fmt.Errorf("weights %q: already have scales", t.Name)
	}
	return t.setScale(scale)
}

// setScale gives a float tensor scales and moves its latents into code units.
func (t *Tensor) setScale(scale []float32) error {
	if err := checkScale(scale, t.channels); err != nil {
		return fmt.Errorf("weights %q: %w", t.Name, err)
	}
	t.Scale = slices.Clone(scale)
	t.Unit = median(t.Scale)
	t.rows(func(c, lo, hi int) {
		s := t.scaleOf(c)
		for i := lo; i < hi; i++ {
			t.Latent[i] = clamp(float32(t.Latent[i]/s), float32(t.Most))
		}
	})
	return nil
}

func checkScale(scale []float32, channels int) error {
	if len(scale) == 0 || channels%len(scale) != 0 {
		return fmt.Errorf("%d scales for %d output channels", len(scale), channels)
	}
	for c, s := range scale {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return fmt.Errorf("scale %d is %v, not a positive finite number", c, s)
		}
	}
	return nil
}

// Range returns the largest surviving |w| of those that each of so many scales is for (ScaleIndex). Where there are none it is the
// smallest of the others, so that the scale is ordinary; 1 if all weights are zero.
func (t *Tensor) Range(scales int) []float32 {
	largest := make([]float32, scales)
	t.rows(func(c, lo, hi int) {
		s, c := t.scaleOf(c), ScaleIndex(c, scales, t.channels)
		for i := lo; i < hi; i++ {
			if t.Mask == nil || t.Mask[i] != 0 {
				largest[c] = max(largest[c], float32(s*abs(t.Latent[i])))
			}
		}
	})
	idle := float32(math.Inf(1))
	for _, m := range largest {
		if m > 0 {
			idle = min(idle, m)
		}
	}
	if math.IsInf(float64(idle), 1) {
		idle = 1
	}
	for c, m := range largest {
		largest[c] = max(m, smallestScale*MaxCode)
		if m == 0 {
			largest[c] = idle
		}
	}
	return largest
}

// SetCodebooks clusters the tensor: weights are value = scale·code with the codes of books, one for the tensor or one per
// output channel, and scale, as ScaleIndex has them. The tensor is float, or has those scales already.
func (t *Tensor) SetCodebooks(scale []float32, books []*Codebook) error {
	if len(books) != 1 && len(books) != t.channels {
		return fmt.Errorf("weights %q: %d codebooks for %d output channels", t.Name, len(books), t.channels)
	}
	for b, book := range books {
		if err := book.check(t.Mask != nil, t.Most); err != nil {
			return fmt.Errorf("weights %q: codebook %d: %w", t.Name, b, err)
		}
	}
	if err := t.checkMembers(books); err != nil {
		return fmt.Errorf("weights %q: %w", t.Name, err)
	}
	if t.Scale != nil && !slices.Equal(scale, t.Scale) {
		return fmt.Errorf("weights %q: already have other scales", t.Name)
	}
	if t.Scale == nil {
		if err := t.setScale(scale); err != nil {
			return err
		}
	}
	t.Codebooks = books
	t.members = make([]uint8, t.Len())
	t.grad = gradients{}
	t.Project()
	t.assign()
	return nil
}

// checkMembers reports an empty codebook that weights depend on.
func (t *Tensor) checkMembers(books []*Codebook) error {
	var err error
	t.rows(func(c, lo, hi int) {
		if len(books[min(c, len(books)-1)].Center) > 0 || err != nil {
			return
		}
		for i := lo; i < hi; i++ {
			if t.Mask == nil || t.Mask[i] != 0 {
				err = fmt.Errorf("the codebook of output channel %d has no codes, but weight %d of it survives", c, i)
				return
			}
		}
	})
	return err
}

var errFloat = errors.New("a float tensor has no codes; quantize or cluster it first")

// Float returns a float tensor of the same values and mask, without scales and codes.
func (t *Tensor) Float() (*Tensor, error) { return t.With(t.Values(), t.Mask) }

// With returns a float tensor of other values and another mask, which it copies, to become codes within the same ±Most.
func (t *Tensor) With(values []float32, mask []uint8) (*Tensor, error) {
	f, err := New(t.Name, t.Shape, t.Axis, values)
	if err != nil {
		return nil, err
	}
	f.Most = t.Most
	return f, f.SetMask(mask)
}

// Check reports a broken invariant: latents and scales finite, codes sorted and distinct, masked codes zero.
func (t *Tensor) Check() error {
	for i, v := range t.Latent {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("weights %q: value %d became %v: training diverged; lower the learning rate", t.Name, i, v)
		}
	}
	if t.Scale == nil {
		return nil
	}
	if err := checkScale(t.Scale, t.channels); err != nil {
		return fmt.Errorf("weights %q: %w", t.Name, err)
	}
	for b, book := range t.Codebooks {
		if err := book.check(t.Mask != nil, t.Most); err != nil {
			return fmt.Errorf("weights %q: codebook %d: %w", t.Name, b, err)
		}
	}
	codes := make([]int8, t.Len())
	if err := t.Codes(codes); err != nil {
		return err
	}
	if err := CheckCodes(codes, t.State()); err != nil {
		return fmt.Errorf("weights %q: %w", t.Name, err)
	}
	return nil
}

func abs(x float32) float32 {
	if x < 0 {
		return -x
	}
	return x
}

func clamp(x, limit float32) float32 { return min(max(x, -limit), limit) }

// median of the scales: the upper one of an even number.
func median(scale []float32) float32 {
	sorted := slices.Sorted(slices.Values(scale))
	return sorted[len(sorted)/2]
}

// smallestScale keeps scales, and their products with activation scales, among the normal float32 numbers.
const smallestScale = 1e-18

// CompactScale rounds a positive scale up to 8 significant bits. A scale is free to within a code's rounding anyway, and a
// mantissa that ends in zeros takes half the space in a compressed file.
func CompactScale(s float32) float32 {
	fraction, exponent := math.Frexp(float64(max(s, smallestScale)))
	return float32(math.Ldexp(math.Ceil(fraction*256)/256, exponent))
}
