package dataset

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// PreprocessingMetadata is the metadata entry of models and leaves that says how their inputs are made: the JSON of Dataset.Made.
const PreprocessingMetadata = "espalier.preprocessing"

// Made is how an input is made of what is stored, so that firmware can do the same, in the order of its fields: sound to samples or features;
// real numbers of stored integers; channels last; resized; the centre cropped; channels ordered; ((v·Scale + Offset) − Mean)/Std, a number for
// all or one by last dimension; and the shape. What is not there is not done, and a number is 0, Scale and Std 1.
type Made struct {
	Input string `json:"input"`
	*Sound
	Stored   *StoredAs `json:"stored,omitempty"`
	Resize   *Resize   `json:"resize,omitempty"`
	Crop     *Size     `json:"crop,omitempty"`
	Channels Channels  `json:"channels,omitempty"`
	Scale    []float64 `json:"scale,omitempty"`
	Offset   []float64 `json:"offset,omitempty"`
	Mean     []float64 `json:"mean,omitempty"`
	Std      []float64 `json:"std,omitempty"`
	Shape    []int     `json:"shape,omitempty"` // where it is another one than before
}

// Sound is how recordings are read, every setting with its value: mono samples from −1 to 1 at SampleRate, cut or padded with zeros at the end to
// Samples, and Features, if any, of frames of FrameLength every FrameStep.
type Sound struct {
	SampleRate   int      `json:"sampleRate"`
	Samples      int      `json:"samples"`
	Features     Features `json:"features,omitempty"`
	FrameLength  int      `json:"frameLength,omitempty"`
	FrameStep    int      `json:"frameStep,omitempty"`
	FFTLength    int      `json:"fftLength,omitempty"`
	MelBands     int      `json:"melBands,omitempty"`
	LowerHertz   float64  `json:"lowerHertz,omitempty"`
	UpperHertz   float64  `json:"upperHertz,omitempty"`
	Power        int      `json:"power,omitempty"`        // of LogMel and MFCC
	LogOffset    float64  `json:"logOffset,omitempty"`    // likewise
	Coefficients int      `json:"coefficients,omitempty"` // of MFCC
	GainControl  bool     `json:"gainControl,omitempty"`  // of MicroFrontend, whose integers are multiplied by 10/256
}

// StoredAs is what stored values mean: (v − ZeroPoint)·Scale.
type StoredAs struct {
	Layout    Layout   `json:"layout,omitempty"` // where it is not ChannelsLast
	Scale     *float64 `json:"scale,omitempty"`
	ZeroPoint int      `json:"zeroPoint,omitempty"`
}

// madeAs describes how an input is made of a store; nil where it takes values as they are.
func madeAs(input string, s store, spec *Spec, p *pipeline) *Made {
	m := &Made{Input: input, Crop: p.crop, Channels: p.channels,
		Scale: p.each(func(c channel) float64 { return c.scale }, 1), Offset: p.each(func(c channel) float64 { return c.offset }, 0),
		Mean: p.each(func(c channel) float64 { return c.mean }, 0), Std: p.each(func(c channel) float64 { return c.std }, 1)}
	if spec.Preprocessing.Reshape != nil {
		m.Shape = p.shape
	}
	if l, ok := s.(*listener); ok {
		m.Sound, m.Shape = soundOf(l), p.shape
	}
	if p.first || p.unit != 1 || p.zero != 0 {
		m.Stored = &StoredAs{ZeroPoint: spec.Stored.ZeroPoint}
		if p.first {
			m.Stored.Layout = ChannelsFirst
		}
		if p.unit != 1 {
			m.Stored.Scale = &p.unit
		}
	}
	if r := p.resize; r != nil {
		m.Resize = &Resize{Height: r.Height, Width: r.Width, Method: cmp.Or(r.Method, Bilinear)}
	}
	if reflect.DeepEqual(*m, Made{Input: input}) {
		return nil
	}
	return m
}

// each is one number of all channels, or one if they have the same; nil if that is what is done otherwise.
func (p *pipeline) each(of func(channel) float64, otherwise float64) []float64 {
	var out []float64
	for _, c := range p.affine {
		out = append(out, of(c))
	}
	switch {
	case len(out) == 0 || slices.ContainsFunc(out, func(v float64) bool { return v != out[0] }):
		return out
	case out[0] == otherwise:
		return nil
	}
	return out[:1]
}

func soundOf(l *listener) *Sound {
	s := &Sound{SampleRate: l.rate, Samples: l.length}
	if l.extractor == nil {
		return s
	}
	f := l.extractor.Features
	s.Features, s.FrameLength, s.FrameStep, s.FFTLength, s.MelBands = Features(f.Kind), f.FrameLength, f.FrameStep, f.FFTLength, f.MelBands
	s.LowerHertz, s.UpperHertz, s.Power, s.LogOffset, s.Coefficients, s.GainControl = f.Lower, f.Upper, f.Power, f.Offset, f.Count, f.GainControl
	return s
}

// MadeJSON is how the inputs are made, as PreprocessingMetadata; nil where all are taken as they are stored.
func (d *Dataset) MadeJSON() ([]byte, error) {
	if len(d.Made) == 0 {
		return nil, nil
	}
	return json.Marshal(struct {
		Inputs []Made `json:"inputs"`
	}{d.Made})
}

// madeOf is how a model's file says that an input is made; nil where it says nothing of the input.
func madeOf(metadata []byte, in *Input) (*Made, error) {
	var about struct {
		Inputs []Made `json:"inputs"`
	}
	if err := json.Unmarshal(metadata, &about); err != nil {
		return nil, fmt.Errorf("the model's metadata %s cannot be read: say in preprocessing how its inputs are made, scale: 1 if they are as stored", PreprocessingMetadata)
	}
	for i := range about.Inputs {
		if m := &about.Inputs[i]; in.is(m.Input) {
			return m, nil
		}
	}
	return nil, nil
}

// of reports whether what a store holds is what an input is made of in this way: recordings and arrays of samples where it is made of sound, but no
// arrays that are features already.
func (m *Made) of(s store, in *Input) bool {
	switch s := s.(type) {
	case clips:
		return m.Sound != nil
	case *array:
		return m.Sound == nil || m.Features == "" || !in.takes(s.shape())
	}
	return m.Sound == nil
}

// prepare has a Spec make the input so. Scale and offset are one number for all, as a manifest has them.
func (m *Made) prepare(spec *Spec) error {
	if n := max(len(m.Scale), len(m.Offset)); n > 1 {
		return fmt.Errorf("its scale and offset are to be one number each, not %d", n)
	}
	p := Preprocessing{Resize: m.Resize, Crop: m.Crop, Channels: m.Channels, Mean: decimals(m.Mean), Std: decimals(m.Std), Reshape: m.Shape}
	if len(m.Scale) > 0 {
		p.Scale = decimal(m.Scale[0])
	}
	if len(m.Offset) > 0 {
		p.Offset = decimal(m.Offset[0])
	}
	if m.Sound != nil {
		p.Audio = m.Sound.steps()
	}
	spec.Preprocessing = p
	if m.Stored != nil {
		spec.Stored.Layout, spec.Stored.ZeroPoint = m.Stored.Layout, m.Stored.ZeroPoint
		if m.Stored.Scale != nil {
			spec.Stored.Scale = decimal(*m.Stored.Scale)
		}
	}
	return nil
}

// steps are those of a manifest that make sound so.
func (s *Sound) steps() *AudioSteps {
	a := &AudioSteps{SampleRate: s.SampleRate, Samples: s.Samples, Features: s.Features}
	if s.Features == "" {
		return a
	}
	a.FrameLength, a.FrameStep, a.MelBands, a.LowerHertz, a.UpperHertz = s.FrameLength, s.FrameStep, s.MelBands, decimal(s.LowerHertz), decimal(s.UpperHertz)
	if s.Features == MicroFrontend {
		a.GainControl = &s.GainControl
	} else {
		a.FFTLength, a.Power, a.LogOffset, a.Coefficients = s.FFTLength, s.Power, decimal(s.LogOffset), s.Coefficients
	}
	return a
}

// String lists what is done, without the numbers of channels.
func (m *Made) String() string {
	var steps []string
	add := func(done bool, format string, args ...any) {
		if done {
			steps = append(steps, fmt.Sprintf(format, args...))
		}
	}
	if m.Sound != nil {
		add(true, "sound at %d Hz", m.SampleRate)
		add(m.Features != "", "%s", m.Features)
	}
	if m.Stored != nil {
		add(m.Stored.Scale != nil || m.Stored.ZeroPoint != 0, "stored integers")
		add(m.Stored.Layout == ChannelsFirst, "%s", ChannelsFirst)
	}
	if m.Resize != nil {
		add(true, "resized to %d × %d", m.Resize.Height, m.Resize.Width)
	}
	if m.Crop != nil {
		add(true, "cropped to %d × %d", m.Crop.Height, m.Crop.Width)
	}
	add(m.Channels != "", "%s", m.Channels)
	for _, of := range []struct {
		what   string
		values []float64
	}{{"scale", m.Scale}, {"offset", m.Offset}, {"mean", m.Mean}, {"std", m.Std}} {
		if len(of.values) == 1 {
			add(true, "%s %.4g", of.what, of.values[0])
		}
		add(len(of.values) > 1, "%s of %d channels", of.what, len(of.values))
	}
	add(m.Shape != nil && m.Sound == nil, "reshaped to %v", m.Shape)
	return strings.Join(steps, ", ")
}

func decimal(v float64) Number { return Number(strconv.FormatFloat(v, 'g', -1, 64)) }

func decimals(values []float64) (out []Number) {
	for _, v := range values {
		out = append(out, decimal(v))
	}
	return out
}
