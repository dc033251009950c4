package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	"espalier.dev/espalier/optimizer/audio"
)

// recordingFiles are the files of recordings, otherRecordings those that are not read.
var (
	recordingFiles  = []string{".wav", ".wave"}
	otherRecordings = []string{".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wma", ".amr"}
)

// AudioSteps turn recordings into the model's input, in this order: averaged to one channel, resampled, cut or padded with zeros at the
// end, and features computed as tf.signal or the front end of TensorFlow Lite Micro does. Zero values are the defaults.
type AudioSteps struct {
	SampleRate   int      `json:"sampleRate,omitempty"`   // samples a second; default: the files', if all are the same
	Samples      int      `json:"samples,omitempty"`      // of a clip; default: what the network's input takes, or all clips have
	Features     Features `json:"features,omitempty"`     // default: the samples themselves
	FrameLength  int      `json:"frameLength,omitempty"`  // default: 30 ms
	FrameStep    int      `json:"frameStep,omitempty"`    // default: 20 ms; of MicroFrontend 10 ms
	FFTLength    int      `json:"fftLength,omitempty"`    // default: the power of two at or above FrameLength
	Power        int      `json:"power,omitempty"`        // 1, magnitudes (default), or 2, their squares
	MelBands     int      `json:"melBands,omitempty"`     // default 40
	LowerHertz   Number   `json:"lowerHertz,omitempty"`   // default 20; of MicroFrontend 125
	UpperHertz   Number   `json:"upperHertz,omitempty"`   // default: 4000, or half of the rate if that is less; of MicroFrontend 7500, or 15/32 of the rate
	LogOffset    Number   `json:"logOffset,omitempty"`    // default 1e-6
	Coefficients int      `json:"coefficients,omitempty"` // of MFCC; default 10
	GainControl  *bool    `json:"gainControl,omitempty"`  // of MicroFrontend; default true
}

// Features are what is made of a recording.
type Features string

// The features; package audio says how they are computed.
const (
	LogMel        Features = "LogMel"
	MFCC          Features = "MFCC"
	MicroFrontend Features = "MicroFrontend"
)

// recordingsParts reads a folder of recordings.
func recordingsParts(f *files, root string, spec *Spec) (*parts, error) {
	headers := map[string]*audio.Header{}
	return mediaParts(f, root, &media{
		what: "recordings", extensions: recordingFiles, unread: otherRecordings, remedy: "convert them to WAV",
		store: func(root string, paths []string) store {
			return &recordings{root: root, paths: paths, headers: headers}
		},
		measure: func(path string) (err error) { headers[path], err = measureClip(path); return err },
	}, spec)
}

// clips is a store of sound, before it has a length.
type clips interface {
	store
	clip(i int) (*audio.Clip, error)
	// header says the rate and the frames of clip i without reading it.
	header(i int) *audio.Header
}

// recordings is a store of one file a sample.
type recordings struct {
	root  string
	paths []string // slash-separated, below root
	// headers of the files of all splits, by path
	headers map[string]*audio.Header
}

func (s *recordings) len() int          { return len(s.paths) }
func (s *recordings) shape() []int      { return nil }
func (s *recordings) path(i int) string { return filepath.Join(s.root, filepath.FromSlash(s.paths[i])) }
func (s *recordings) read(int, *sample) error {
	return errors.New("clips have no shape of their own") // listeners read them
}

func (s *recordings) name(i int) string {
	if i >= len(s.paths) {
		return s.root
	}
	return s.path(i)
}

func (s *recordings) header(i int) *audio.Header { return s.headers[s.path(i)] }

func (s *recordings) clip(i int) (*audio.Clip, error) {
	file, size, err := openRegular(s.path(i))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c, err := audio.Decode(file, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(i), err)
	}
	return c, nil
}

// measureClip reads the header of a WAV file.
func measureClip(path string) (*audio.Header, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return audio.ReadHeader(file, size)
}

func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, 0, cmp.Or(err, errors.New("is no file"))
	}
	file, err := os.Open(path)
	return file, info.Size(), err
}

// arrayClips are clips that an array holds; integers of 16 bits mean what they do in a WAV file.
type arrayClips struct {
	*array
	rate int
}

func (s *arrayClips) header(int) *audio.Header {
	return &audio.Header{Rate: s.rate, Channels: 1, Frames: numel(s.array.shape())}
}

func (s *arrayClips) clip(i int) (*audio.Clip, error) {
	var one sample
	if err := s.array.read(i, &one); err != nil {
		return nil, err
	}
	if s.kind.name == Int16 {
		for k := range one.values {
			one.values[k] /= 1 << 15
		}
	}
	return &audio.Clip{Rate: s.rate, Samples: one.values}, nil
}

// listener is a store of clips of one length, or of their features.
type listener struct {
	clips
	rate, length int
	extractor    *audio.Extractor // nil: the samples themselves
}

func (s *listener) shape() []int {
	if s.extractor == nil {
		return []int{s.length}
	}
	return s.extractor.Shape(s.length)
}

func (s *listener) read(i int, into *sample) error {
	c, err := s.clip(i)
	if err != nil {
		return err
	}
	if err := finite(s, i, c.Samples); err != nil { // integers have no such values
		return err
	}
	c = c.Fit(s.rate, s.length)
	into.shape = s.shape()
	out := into.grow(numel(into.shape))
	if s.extractor == nil {
		copy(out, c.Samples)
		return nil
	}
	s.extractor.Extract(c.Samples, out)
	return nil
}

// listen makes listeners of the clips that input k of all splits has, and says what it decided.
func (p *parts) listen(k int, in *Input, steps *AudioSteps) ([]string, error) {
	var all []clips
	for _, part := range p.each() {
		if part == nil {
			continue
		}
		switch s := part.inputs[k].(type) {
		case clips:
			all = append(all, s)
		case *array:
			if steps == nil {
				return nil, nil
			}
			if steps.SampleRate == 0 {
				return nil, fmt.Errorf("preprocessing.audio.sampleRate has to say the rate of %s", s.title)
			}
			all = append(all, &arrayClips{array: s, rate: steps.SampleRate})
		default:
			if steps == nil {
				return nil, nil
			}
			return nil, errors.New("preprocessing.audio is for recordings and for arrays of samples")
		}
	}
	if steps == nil {
		steps = &AudioSteps{}
	}
	if err := steps.check(); err != nil {
		return nil, fmt.Errorf("preprocessing.audio.%w", err)
	}
	heard, err := survey(all, steps.SampleRate)
	if err != nil {
		return nil, err
	}
	extractor, err := steps.extractor(heard.rate)
	if err != nil {
		return nil, fmt.Errorf("preprocessing.audio: %w", err)
	}
	length, note, err := heard.length(steps, extractor, in)
	if err != nil {
		return nil, err
	}
	for _, part := range p.each() {
		if part != nil {
			part.inputs[k], all = &listener{clips: all[0], rate: heard.rate, length: length, extractor: extractor}, all[1:]
		}
	}
	return note, nil
}

// check refuses numbers that are out of bounds, which those of the manifest are within.
func (a *AudioSteps) check() error {
	for _, field := range []struct {
		name       string
		value, top int
	}{
		{"sampleRate", a.SampleRate, 1 << 20}, {"samples", a.Samples, maxSamples}, {"frameLength", a.FrameLength, 1 << 16}, {"frameStep", a.FrameStep, maxSamples},
		{"fftLength", a.FFTLength, 1 << 16}, {"melBands", a.MelBands, 1 << 15}, {"coefficients", a.Coefficients, 1 << 15},
	} {
		if field.value < 0 || field.value > field.top {
			return fmt.Errorf("%s is %d: at least 1 and at most %d", field.name, field.value, field.top)
		}
	}
	return nil
}

// maxSamples bounds a clip.
const maxSamples = 1 << 26

// heard is what clips have in common.
type heard struct {
	rate              int
	lengths           []int // of all, in samples
	shortest, longest int
}

// survey looks at the headers of all clips. rate is what they are resampled to; 0: what all have.
func survey(all []clips, rate int) (*heard, error) {
	h := &heard{rate: rate}
	first := ""
	for _, s := range all {
		for i := range s.len() {
			header := s.header(i)
			if h.rate == 0 {
				h.rate, first = header.Rate, s.name(i)
			}
			if rate == 0 && header.Rate != h.rate {
				return nil, fmt.Errorf("%s has %d samples a second, %s has %d; preprocessing.audio.sampleRate makes them equal", first, h.rate, s.name(i), header.Rate)
			}
			n := audio.Fitted(header.Frames, header.Rate, h.rate, 0)
			if n > maxSamples {
				return nil, fmt.Errorf("%s would have %d samples at %d a second; at most %d are supported: cut it into clips", s.name(i), n, h.rate, maxSamples)
			}
			h.lengths = append(h.lengths, n)
		}
	}
	h.shortest, h.longest = slices.Min(h.lengths), slices.Max(h.lengths)
	return h, nil
}

// usualRates are those that recordings are made at, or resampled to, in Hz.
var usualRates = []int{4000, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}

// fitted says how many recordings lose their ends, or are padded, where an input is made of n samples, and what else could be meant; "" where
// none is. Behind the last frame of features less than a step is left, which no frame would take.
func (h *heard) fitted(n int, e *audio.Extractor, in *Input) string {
	longer, shorter, least := 0, 0, 1
	if e != nil {
		least = e.FrameStep
	}
	for _, length := range h.lengths {
		if length-n >= least {
			longer++
		} else if length < n {
			shorter++
		}
	}
	if longer == 0 && shorter == 0 {
		return ""
	}
	text := fmt.Sprintf("input %s is made of %s", in.name(), h.samples(n))
	if longer > 0 {
		text += fmt.Sprintf("; %d of %d recordings are longer and lose up to %s at their ends", longer, len(h.lengths), h.samples(h.longest-n))
	}
	if shorter > 0 {
		text += fmt.Sprintf("; %d of %d are shorter and padded with up to %s of silence", shorter, len(h.lengths), h.samples(n-h.shortest))
	}
	text += " (preprocessing.audio.samples)"
	if rate := h.rate * n / h.longest; h.shortest == h.longest && h.rate*n%h.longest == 0 && slices.Contains(usualRates, rate) {
		text += fmt.Sprintf("; sampleRate: %d makes all %d samples of a recording %d: is that the rate the network was trained at?", rate, h.longest, n)
	}
	return text
}

// samples is a number of samples and how long they last.
func (h *heard) samples(n int) string {
	return fmt.Sprintf("%s (%.3g s)", several(n, "samples"), float64(n)/float64(h.rate))
}

// length settles how long a clip is: as the steps say, else as the network's input wants it, else as all are.
func (h *heard) length(steps *AudioSteps, e *audio.Extractor, in *Input) (int, []string, error) {
	n := steps.Samples
	known := len(in.Shape) > 0 && !slices.Contains(in.Shape, -1)
	if n == 0 && known && e == nil {
		n = numel(in.Shape)
	}
	if n == 0 && known && e != nil {
		if width := e.Shape(0)[1]; numel(in.Shape)%width == 0 {
			n = min(numel(in.Shape)/width-1, maxSamples)*e.FrameStep + e.FrameLength
		}
	}
	if n == 0 && h.shortest != h.longest {
		return 0, nil, fmt.Errorf("recordings have %d to %d samples; preprocessing.audio.samples makes them equal, such as %d", h.shortest, h.longest, h.longest)
	}
	if n == 0 {
		n = h.longest
	}
	if steps.Samples == 0 && (h.longest > 2*n || 2*h.longest < n) {
		if e != nil {
			return 0, nil, fmt.Errorf("recordings have up to %d samples, the input %s is made of %d, in frames of %d every %d: preprocessing.audio.frameStep, frameLength and coefficients or melBands have to be the training's; samples: %d cuts or pads all the same",
				h.longest, in, n, e.FrameLength, e.FrameStep, n)
		}
		return 0, nil, fmt.Errorf("recordings have up to %d samples, the input %s is made of %d: name features (preprocessing.audio.features: LogMel, MFCC or MicroFrontend) or the length (preprocessing.audio.samples: %d)",
			h.longest, in, n, n)
	}
	if e != nil && n < e.FrameLength {
		return 0, nil, fmt.Errorf("clips of %d samples are shorter than a frame of %d (preprocessing.audio.frameLength)", n, e.FrameLength)
	}
	if n > maxSamples {
		return 0, nil, fmt.Errorf("preprocessing.audio.samples %d is more than the %d that are supported", n, maxSamples)
	}
	var notes []string
	if steps.Samples == 0 {
		if note := h.fitted(n, e, in); note != "" {
			notes = append(notes, note)
		}
	}
	return n, notes, nil
}

// extractor is what computes the features of clips of a rate, nil where the samples are wanted.
func (a *AudioSteps) extractor(rate int) (*audio.Extractor, error) {
	if a.Features == "" {
		if a.FrameLength != 0 || a.FrameStep != 0 || a.FFTLength != 0 || a.MelBands != 0 || a.Coefficients != 0 {
			return nil, fmt.Errorf("frames and bands are of features: name LogMel, MFCC or MicroFrontend")
		}
		return nil, nil
	}
	micro := a.Features == MicroFrontend
	step, lower, upper := rate*20/1000, 20.0, min(4000, float64(rate)/2)
	if micro {
		step, lower, upper = rate*10/1000, 125, min(7500, float64(rate)*15/32)
		if a.FFTLength != 0 || a.Power != 0 || a.LogOffset != "" || a.Coefficients != 0 {
			return nil, errors.New("fftLength, power, logOffset and coefficients are of LogMel and MFCC: MicroFrontend has its own")
		}
	} else if a.GainControl != nil {
		return nil, errors.New("gainControl is of MicroFrontend")
	}
	f := audio.Features{Kind: audio.Kind(a.Features), Rate: rate, FrameLength: cmp.Or(a.FrameLength, rate*30/1000), FrameStep: cmp.Or(a.FrameStep, step),
		FFTLength: a.FFTLength, MelBands: cmp.Or(a.MelBands, 40)}
	if f.FFTLength == 0 {
		f.FFTLength = 1 << bits.Len(uint(f.FrameLength-1))
	}
	var err error
	if f.Lower, err = a.LowerHertz.Float(lower); err != nil {
		return nil, fmt.Errorf("lowerHertz: %w", err)
	}
	if f.Upper, err = a.UpperHertz.Float(upper); err != nil {
		return nil, fmt.Errorf("upperHertz: %w", err)
	}
	if micro {
		f.GainControl = a.GainControl == nil || *a.GainControl
		return audio.NewExtractor(f)
	}
	f.Power = cmp.Or(a.Power, 1)
	if f.Kind == audio.MFCC {
		f.Count = cmp.Or(a.Coefficients, 10)
	}
	if f.Offset, err = a.LogOffset.Float(1e-6); err != nil {
		return nil, fmt.Errorf("logOffset: %w", err)
	}
	return audio.NewExtractor(f)
}
