package dataset

import "encoding/json"

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
