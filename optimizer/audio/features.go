package audio

import (
	"fmt"
	"math"
	"sync"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Kind is what is made of a clip.
type Kind string

// The kinds.
const (
	LogMel Kind = "LogMel" // [frames, mel bands]: ln(mel-weighted magnitudes + offset)
	MFCC   Kind = "MFCC"   // [frames, coefficients]: DCT-II of the above
	// MicroFrontend is [frames, mel bands], what the audio front end of TensorFlow Lite Micro computes, times 10/256.
	MicroFrontend Kind = "MicroFrontend"
)

// Features say how features are computed, in the terms of tf.signal.
type Features struct {
	Kind        Kind
	Rate        int // samples a second
	FrameLength int // samples under one Hann window
	FrameStep   int // samples from one to the next
	FFTLength   int // at least FrameLength; of MicroFrontend the least power of two that is
	Power       int // 1: magnitudes, 2: their squares; not of MicroFrontend
	MelBands    int
	Lower       float64 // Hz: lower edge of the lowest band
	Upper       float64 // Hz: upper edge of the highest
	Offset      float64 // added before the logarithm; not of MicroFrontend
	Count       int     // of coefficients that are kept, of MFCC
	GainControl bool    // of MicroFrontend: each band is divided by a power of its noise (PCAN)
}

// Extractor computes features. It may be used by many goroutines at once.
type Extractor struct {
	Features
	window []float64
	bands  []band
	dct    [][]float64
	micro  *micro // of MicroFrontend, instead of the above
	works  sync.Pool
}

// band is the weights of one mel band, from a bin of the spectrum on.
type band struct {
	first   int
	weights []float64
}

// work is what one extraction writes to.
type work struct {
	fft    *fourier.FFT
	frame  []float64
	bins   []complex128
	values []float64 // of the mel bands
}

// NewExtractor checks the settings; errors name the field.
func NewExtractor(f Features) (*Extractor, error) {
	switch {
	case f.Kind != LogMel && f.Kind != MFCC && f.Kind != MicroFrontend:
		return nil, fmt.Errorf("features %q are none of LogMel, MFCC, MicroFrontend", f.Kind)
	case f.Rate < 1:
		return nil, fmt.Errorf("sampleRate %d is not possible", f.Rate)
	case f.FrameLength < 2 || f.FrameStep < 1:
		return nil, fmt.Errorf("frameLength %d and frameStep %d are not possible", f.FrameLength, f.FrameStep)
	case f.FFTLength < f.FrameLength || f.FFTLength > 1<<16:
		return nil, fmt.Errorf("fftLength %d: at least frameLength, %d, and at most %d", f.FFTLength, f.FrameLength, 1<<16)
	case f.Kind != MicroFrontend && f.Power != 1 && f.Power != 2:
		return nil, fmt.Errorf("power %d: 1 for magnitudes, 2 for their squares", f.Power)
	case f.MelBands < 1 || f.MelBands > f.FFTLength/2:
		return nil, fmt.Errorf("melBands %d: from 1 to half of fftLength, %d", f.MelBands, f.FFTLength/2)
	case f.Lower < 0 || f.Lower >= f.Upper || f.Upper > float64(f.Rate)/2:
		return nil, fmt.Errorf("the mel bands go from %g to %g Hz: at least 0 and at most half of the sample rate, %g", f.Lower, f.Upper, float64(f.Rate)/2)
	case f.Kind != MicroFrontend && f.Offset <= 0:
		return nil, fmt.Errorf("logOffset %g is not positive: the logarithm of silence is not finite", f.Offset)
	case f.Kind == MFCC && (f.Count < 1 || f.Count > f.MelBands):
		return nil, fmt.Errorf("coefficients %d: from 1 to melBands, %d", f.Count, f.MelBands)
	}
	if f.Kind == MicroFrontend {
		m, err := newMicro(&f)
		if err != nil {
			return nil, err
		}
		e := &Extractor{Features: f, micro: m}
		e.works.New = func() any { return m.newWork() }
		return e, nil
	}
	e := &Extractor{Features: f, window: hann(f.FrameLength), bands: melBands(&f)}
	if f.Kind == MFCC {
		e.dct = dct(f.Count, f.MelBands)
	}
	e.works.New = func() any {
		return &work{fft: fourier.NewFFT(f.FFTLength), frame: make([]float64, f.FFTLength), bins: make([]complex128, f.FFTLength/2+1), values: make([]float64, f.MelBands)}
	}
	return e, nil
}

// Shape is that of the features of so many samples: [frames, values]; no frames if there are fewer than FrameLength.
func (e *Extractor) Shape(samples int) []int {
	frames := 0
	if samples >= e.FrameLength {
		frames = 1 + (samples-e.FrameLength)/e.FrameStep
	}
	if e.Kind == MFCC {
		return []int{frames, e.Count}
	}
	return []int{frames, e.MelBands}
}

// Extract writes the features of samples, of Shape(len(samples)), to out: tf.signal.stft, linear_to_mel_weight_matrix and
// mfccs_from_log_mel_spectrograms, or the micro front end's.
func (e *Extractor) Extract(samples, out []float32) {
	if e.micro != nil {
		w := e.works.Get().(*microWork)
		defer e.works.Put(w)
		e.micro.extract(w, samples, out[:e.Shape(len(samples))[0]*e.MelBands])
		return
	}
	w := e.works.Get().(*work)
	defer e.works.Put(w)
	shape := e.Shape(len(samples))
	for i := range shape[0] {
		for k, v := range samples[i*e.FrameStep:][:e.FrameLength] {
			w.frame[k] = float64(v) * e.window[k]
		}
		w.fft.Coefficients(w.bins, w.frame)
		for b, band := range e.bands {
			sum := 0.0
			for k, weight := range band.weights {
				re, im := real(w.bins[band.first+k]), imag(w.bins[band.first+k])
				power := re*re + im*im
				if e.Power == 1 {
					power = math.Sqrt(power)
				}
				sum += weight * power
			}
			w.values[b] = math.Log(sum + e.Offset)
		}
		row := out[i*shape[1]:][:shape[1]]
		if e.Kind == LogMel {
			for b, v := range w.values {
				row[b] = float32(v)
			}
			continue
		}
		for c, basis := range e.dct {
			sum := 0.0
			for b, v := range w.values {
				sum += basis[b] * v
			}
			row[c] = float32(sum)
		}
	}
}

// hann is tf.signal.hann_window: periodic where its length is even.
func hann(n int) []float64 {
	period := float64(n - n%2)
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/period)
	}
	return w
}

// mel is a frequency in HTK's mels.
func mel(hertz float64) float64 { return 1127 * math.Log1p(hertz/700) }

// melBands are the triangles of tf.signal.linear_to_mel_weight_matrix; the first bin, of no frequency, is in none.
func melBands(f *Features) []band {
	bins := f.FFTLength/2 + 1
	lower, step := mel(f.Lower), (mel(f.Upper)-mel(f.Lower))/float64(f.MelBands+1)
	bands := make([]band, f.MelBands)
	for b := range bands {
		left := lower + float64(b)*step
		for k := 1; k < bins; k++ {
			at := mel(float64(k) * float64(f.Rate) / 2 / float64(bins-1))
			weight := math.Min((at-left)/step, (left+2*step-at)/step)
			if weight <= 0 {
				continue
			}
			if bands[b].weights == nil {
				bands[b].first = k
			}
			bands[b].weights = append(bands[b].weights, weight)
		}
	}
	return bands
}

// dct is the first rows of the DCT-II that mfccs_from_log_mel_spectrograms applies: 2·cos(π·k·(2n+1)/2N)/√(2N).
func dct(count, n int) [][]float64 {
	rows := make([][]float64, count)
	for k := range rows {
		rows[k] = make([]float64, n)
		for i := range rows[k] {
			rows[k][i] = 2 * math.Cos(math.Pi*float64(k)*float64(2*i+1)/float64(2*n)) / math.Sqrt(float64(2*n))
		}
	}
	return rows
}
