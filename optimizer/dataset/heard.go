package dataset

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// FeaturesMetadata is the metadata entry of models and leaves that says how the features of their inputs are computed: the JSON of Dataset.Heard.
const FeaturesMetadata = "espalier.preprocessing"

// Heard is how an input is made of sound, every setting with its value, so that firmware can do the same: mono samples at SampleRate, cut or padded
// with zeros at the end to Samples, Features of frames of FrameLength every FrameStep, ((v·Scale + Offset) − Mean)/Std by last dimension, as Shape.
type Heard struct {
	Input        string    `json:"input"`
	SampleRate   int       `json:"sampleRate"`
	Samples      int       `json:"samples"`
	Features     Features  `json:"features"`
	FrameLength  int       `json:"frameLength"`
	FrameStep    int       `json:"frameStep"`
	FFTLength    int       `json:"fftLength"`
	MelBands     int       `json:"melBands"`
	LowerHertz   float64   `json:"lowerHertz"`
	UpperHertz   float64   `json:"upperHertz"`
	Power        int       `json:"power,omitempty"`        // of LogMel and MFCC
	LogOffset    float64   `json:"logOffset,omitempty"`    // likewise
	Coefficients int       `json:"coefficients,omitempty"` // of MFCC
	GainControl  bool      `json:"gainControl,omitempty"`  // of MicroFrontend, whose integers are multiplied by 10/256
	Scale        []float64 `json:"scale,omitempty"`
	Offset       []float64 `json:"offset,omitempty"`
	Mean         []float64 `json:"mean,omitempty"`
	Std          []float64 `json:"std,omitempty"`
	Shape        []int     `json:"shape"`
}

// heardAs describes an input that features are computed for.
func heardAs(name string, l *listener, p *pipeline) Heard {
	f := l.extractor.Features
	h := Heard{Input: name, SampleRate: l.rate, Samples: l.length, Features: Features(f.Kind), FrameLength: f.FrameLength, FrameStep: f.FrameStep, FFTLength: f.FFTLength,
		MelBands: f.MelBands, LowerHertz: f.Lower, UpperHertz: f.Upper, Power: f.Power, LogOffset: f.Offset, Coefficients: f.Count, GainControl: f.GainControl, Shape: p.shape}
	for _, c := range p.affine {
		h.Scale, h.Offset, h.Mean, h.Std = append(h.Scale, c.scale), append(h.Offset, c.offset), append(h.Mean, c.mean), append(h.Std, c.std)
	}
	return h
}

// HeardJSON is how the inputs that are made of sound are, as FeaturesMetadata; nil where there are none.
func (d *Dataset) HeardJSON() ([]byte, error) {
	if len(d.Heard) == 0 {
		return nil, nil
	}
	return json.Marshal(struct {
		Inputs []Heard `json:"inputs"`
	}{d.Heard})
}

// madeOf is the preprocessing that a model's file says makes an input of sound; nil where it says nothing of the input.
func madeOf(metadata []byte, in *Input) (*Preprocessing, error) {
	var about struct {
		Inputs []Heard `json:"inputs"`
	}
	if err := json.Unmarshal(metadata, &about); err != nil {
		return nil, fmt.Errorf("the model's metadata %s cannot be read: name the features in preprocessing.audio", FeaturesMetadata)
	}
	for _, h := range about.Inputs {
		if in.is(h.Input) && h.Features != "" {
			return h.preprocessing(), nil
		}
	}
	return nil, nil
}

// preprocessing is what makes the input so.
func (h *Heard) preprocessing() *Preprocessing {
	steps := &AudioSteps{SampleRate: h.SampleRate, Samples: h.Samples, Features: h.Features, FrameLength: h.FrameLength, FrameStep: h.FrameStep, MelBands: h.MelBands,
		LowerHertz: decimal(h.LowerHertz), UpperHertz: decimal(h.UpperHertz)}
	if h.Features == MicroFrontend {
		steps.GainControl = &h.GainControl
	} else {
		steps.FFTLength, steps.Power, steps.LogOffset, steps.Coefficients = h.FFTLength, h.Power, decimal(h.LogOffset), h.Coefficients
	}
	p := &Preprocessing{Audio: steps, Mean: decimals(h.Mean), Std: decimals(h.Std), Reshape: h.Shape}
	if len(h.Scale) > 0 { // one number for all, as a manifest has it
		p.Scale = decimal(h.Scale[0])
	}
	if len(h.Offset) > 0 {
		p.Offset = decimal(h.Offset[0])
	}
	return p
}

func decimal(v float64) Number { return Number(strconv.FormatFloat(v, 'g', -1, 64)) }

func decimals(values []float64) (out []Number) {
	for _, v := range values {
		out = append(out, decimal(v))
	}
	return out
}
