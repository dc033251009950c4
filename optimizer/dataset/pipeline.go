package dataset

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// pipeline turns the stored values of a sample into the model's input, in the order the package comment gives.
type pipeline struct {
	shape      []int // of the result
	samples    int   // elements of the result
	zero       float64
	unit       float64 // real = (stored − zero)·unit
	first      bool    // stored channels first
	resize     *Resize
	crop       *Size
	frame      bool // there is a step over height and width, or one may be drawn
	height     int  // of the image after resizing and cropping, where frame
	width      int
	channels   Channels
	affine     []channel // by last dimension; one if it is the same for all; nil: unchanged
	still      bool      // not augmented
	exactFirst bool      // stored shape is known and nothing moves: decode straight into the result
}

// channel is the normalisation of one channel: ((v·scale + offset) − mean)/std.
type channel struct{ scale, offset, mean, std float64 }

func (c channel) apply(v float32) float32 {
	// the conversions keep arm64 from fusing product and sum: the same bytes on every architecture
	scaled := float64(float64(v)*c.scale) + c.offset
	return float32((scaled - c.mean) / c.std)
}

// newPipeline checks the declared steps against the stored shape, parts of which may vary, and settles the shape of the result.
func newPipeline(spec *Spec, stored []int, vary sizes) (*pipeline, error) {
	p := &pipeline{first: spec.Stored.Layout == ChannelsFirst, resize: spec.Preprocessing.Resize,
		crop: spec.Preprocessing.Crop, channels: spec.Preprocessing.Channels, zero: float64(spec.Stored.ZeroPoint)}
	var err error
	if p.unit, err = spec.Stored.Scale.Float(1); err != nil {
		return nil, fmt.Errorf("stored.scale: %w", err)
	}
	shape := slices.Clone(stored)
	if p.first {
		if len(shape) != 3 {
			return nil, fmt.Errorf("stored.layout ChannelsFirst needs samples of shape [channels, height, width]; they are %v", shape)
		}
		shape = []int{shape[1], shape[2], shape[0]}
	}
	if shape, err = p.planFrame(spec, shape, vary.size); err != nil {
		return nil, err
	}
	if shape, err = p.planChannels(shape, vary.channels); err != nil {
		return nil, err
	}
	if err := p.planAffine(&spec.Preprocessing, shape[len(shape)-1]); err != nil {
		return nil, err
	}
	if r := spec.Preprocessing.Reshape; r != nil {
		if _, err := byteSize("preprocessing.reshape", kind{size: 1}, append([]int{1}, r...)); err != nil {
			return nil, err
		}
		if len(r) == 0 || numel(r) != numel(shape) {
			return nil, fmt.Errorf("preprocessing.reshape %v has %d elements, samples of shape %v have %d", r, numel(r), shape, numel(shape))
		}
		shape = slices.Clone(r)
	}
	p.shape, p.samples = shape, numel(shape)
	p.still = spec.Augmentation == Augmentation{}
	p.exactFirst = !p.first && !p.frame && p.channels == ""
	return p, nil
}

// varied is what is done to a sample where it is augmented.
func (p *pipeline) varied(change *change) *change {
	if p.still {
		return nil
	}
	return change
}

// planFrame settles the height and width. vary: they differ from image to image.
func (p *pipeline) planFrame(spec *Spec, out []int, vary bool) ([]int, error) {
	if vary && p.resize == nil && p.crop == nil {
		return nil, fmt.Errorf("images differ in size; preprocessing.resize or preprocessing.crop makes them equal")
	}
	if p.resize == nil && p.crop == nil && spec.Augmentation.still() {
		if len(out) == 0 {
			out = []int{1}
		}
		return out, nil
	}
	if len(out) != 2 && len(out) != 3 {
		return nil, fmt.Errorf("resize, crop, flip and shift need samples of shape [height, width] or [height, width, channels]; "+
			"they are %v", out)
	}
	p.frame = true
	if r := p.resize; r != nil {
		if !sensible(r.Height, r.Width) {
			return nil, fmt.Errorf("preprocessing.resize to %d × %d pixels is not possible", r.Height, r.Width)
		}
		if r.Method != "" && r.Method != Bilinear && r.Method != Nearest {
			return nil, fmt.Errorf("preprocessing.resize.method is %q; it is Bilinear or Nearest", r.Method)
		}
		out[0], out[1] = r.Height, r.Width
	}
	if c := p.crop; c != nil {
		if !sensible(c.Height, c.Width) {
			return nil, fmt.Errorf("preprocessing.crop to %d × %d pixels is not possible", c.Height, c.Width)
		}
		if (!vary || p.resize != nil) && (c.Height > out[0] || c.Width > out[1]) {
			return nil, fmt.Errorf("preprocessing.crop to %d × %d does not fit in images of %d × %d; resize them to more",
				c.Height, c.Width, out[0], out[1])
		}
		out[0], out[1] = c.Height, c.Width
	}
	p.height, p.width = out[0], out[1]
	return out, nil
}

// sensible reports whether an image may have this size.
func sensible(height, width int) bool {
	return height > 0 && width > 0 && height <= 1<<14 && width <= 1<<14 && height*width <= maxPixels
}

// planChannels settles the number of channels.
func (p *pipeline) planChannels(shape []int, vary bool) ([]int, error) {
	if vary && p.channels == "" {
		return nil, fmt.Errorf("some images are gray and some coloured; preprocessing.channels RGB, BGR or Gray makes them equal")
	}
	if p.channels == "" {
		return shape, nil
	}
	count, ok := map[Channels]int{RGB: 3, BGR: 3, Gray: 1}[p.channels]
	if !ok {
		return nil, fmt.Errorf("preprocessing.channels is %q; it is RGB, BGR or Gray", p.channels)
	}
	if len(shape) == 2 {
		shape = append(shape, 1)
	}
	if len(shape) != 3 || shape[2] != 1 && shape[2] != 3 && shape[2] != 4 {
		return nil, fmt.Errorf("preprocessing.channels needs samples of shape [height, width, 1, 3 or 4]; they are %v", shape)
	}
	shape[2] = count
	return shape, nil
}

// planAffine settles the normalisation of each of n channels.
func (p *pipeline) planAffine(prep *Preprocessing, n int) error {
	base := channel{scale: 1, std: 1}
	var err error
	if base.scale, err = prep.Scale.Float(1); err != nil {
		return fmt.Errorf("preprocessing.scale: %w", err)
	}
	if base.offset, err = prep.Offset.Float(0); err != nil {
		return fmt.Errorf("preprocessing.offset: %w", err)
	}
	for what, list := range map[string][]Number{"mean": prep.Mean, "std": prep.Std} {
		if len(list) > 1 && len(list) != n {
			return fmt.Errorf("preprocessing.%s has %d numbers: want 1, or %d, the size of the samples' last dimension", what, len(list), n)
		}
	}
	p.affine = make([]channel, max(1, len(prep.Mean), len(prep.Std)))
	for i := range p.affine {
		c := base
		if c.mean, err = pick(prep.Mean, i, 0); err != nil {
			return fmt.Errorf("preprocessing.mean: %w", err)
		}
		if c.std, err = pick(prep.Std, i, 1); err != nil {
			return fmt.Errorf("preprocessing.std: %w", err)
		}
		if c.std <= 0 {
			return fmt.Errorf("preprocessing.std: %v is not positive", c.std)
		}
		p.affine[i] = c
	}
	if slices.Equal(p.affine, []channel{{scale: 1, std: 1}}) {
		p.affine = nil
	}
	return nil
}

// pick returns number i of a list that may hold one for all, or none.
func pick(list []Number, i int, otherwise float64) (float64, error) {
	switch len(list) {
	case 0:
		return otherwise, nil
	case 1:
		return list[0].Float(otherwise)
	default:
		return list[i].Float(otherwise)
	}
}

// scratches are reused for the steps between stored and finished samples.
var scratches = sync.Pool{New: func() any { return new([2]sample) }}

// directs are reused to decode into the result itself.
var directs = sync.Pool{New: func() any { return new(sample) }}

// run reads sample i of a store into x. change is nil unless the sample is augmented.
func (p *pipeline) run(s store, i int, x []float32, change *change) error {
	if len(x) != p.samples {
		return fmt.Errorf("samples have %d elements (shape %v), not %d", p.samples, p.shape, len(x))
	}
	if p.exactFirst {
		direct := directs.Get().(*sample)
		defer directs.Put(direct)
		direct.values = x[:0:len(x)]
		if err := s.read(i, direct); err != nil {
			return err
		}
		if len(direct.values) != len(x) {
			return fmt.Errorf("%s has shape %v, not %v; was it changed meanwhile?", s.name(i), direct.shape, p.shape)
		}
		p.dequantize(x)
	} else {
		scratch := scratches.Get().(*[2]sample)
		defer scratches.Put(scratch)
		if err := s.read(i, &scratch[0]); err != nil {
			return err
		}
		p.dequantize(scratch[0].values)
		if err := p.arrange(scratch, x, change); err != nil {
			return fmt.Errorf("%s: %w", s.name(i), err)
		}
	}
	p.normalise(x)
	if change != nil && change.noise != nil {
		change.disturb(x)
	}
	return finite(s, i, x)
}

func (p *pipeline) dequantize(values []float32) {
	if p.unit == 1 && p.zero == 0 {
		return
	}
	for i, v := range values {
		values[i] = float32((float64(v) - p.zero) * p.unit)
	}
}

// arrange does what moves elements: channels last, resize, crop and shift, order of channels.
func (p *pipeline) arrange(scratch *[2]sample, x []float32, change *change) error {
	from, to := &scratch[0], &scratch[1]
	if p.first {
		channelsLast(from, to)
		from, to = to, from
	}
	if p.frame {
		h, w, _ := from.plane()
		if p.resize != nil {
			h, w = p.resize.Height, p.resize.Width
		}
		a, err := p.taken(h, w, change)
		if err != nil {
			return err
		}
		if p.resize != nil { // only what is taken, which may be little
			part := a.within(h, w)
			resize(from, to, p.resize, part)
			a.top, a.left = a.top-part.top, a.left-part.left
			from, to = to, from
		}
		cut(from, to, a, change != nil && change.flip)
		from, to = to, from
	}
	if p.channels != "" {
		if err := colour(from, to, p.channels); err != nil {
			return err
		}
		from = to
	}
	if len(from.values) != len(x) {
		return fmt.Errorf("has shape %v, others gave %v", from.shape, p.shape)
	}
	copy(x, from.values)
	return nil
}

// normalise applies scale, offset, mean and standard deviation.
func (p *pipeline) normalise(x []float32) {
	switch n := len(p.affine); n {
	case 0:
	case 1:
		c := p.affine[0]
		for i, v := range x {
			x[i] = c.apply(v)
		}
	default:
		for i := 0; i+n <= len(x); i += n {
			for j, c := range p.affine {
				x[i+j] = c.apply(x[i+j])
			}
		}
	}
}

// finite refuses a sample with NaN or Inf.
func finite(s store, i int, x []float32) error {
	for j, v := range x {
		if bits := math.Float32bits(v); bits&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("%s: value %d is %v; remove or replace it", s.name(i), j, v)
		}
	}
	return nil
}
