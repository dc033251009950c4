package audio

import (
	"fmt"
	"math"
	"math/bits"
)

// What the micro front end of TensorFlow Lite keeps fixed wherever it is used, micro_speech and microWakeWord among them.
const (
	windowBits = 12 // of the fraction of the window's coefficients
	bandBits   = 12 // of the weights of bands

	// The noise of a band is a running mean of it, of bands of even and odd number; noiseBits are of the fractions below.
	noiseBits   = 14
	meanBits    = 10  // of the fraction of the mean
	evenShare   = 409 // 0.025: the newest frame's
	oddShare    = 983 // 0.06
	signalShare = 819 // 0.05: what of a band stays at least

	// A band is divided by (noise + gainOffset)^gainPower.
	gainBits   = 21
	gainPower  = float32(0.95)
	gainOffset = float32(80)
	ratioBits  = 12 // of the fraction of signal to noise
	outputBits = 6  // of the fraction of what is left of it

	logBits     = 16    // of the fraction of a logarithm to the base 2
	logSegments = 7     // bits: straight pieces between two powers of two
	ln2         = 45426 // with logBits
	logShift    = 6     // bits of the fraction of the logarithms that come out

	// microScale is what its integers are multiplied by for training: 10/256, by micro_speech and microWakeWord alike.
	microScale = 10.0 / 256
)

// micro is the audio front end of TensorFlow Lite Micro (tensorflow/lite/experimental/microfrontend) in integers, as firmware runs it: a
// window, an FFT of 16 bits, the square roots of mel bands, noise taken away, per-channel amplitude normalization (PCAN, Wang et al. 2017,
// "Trainable frontend for robust and far-field keyword spotting"), logarithms.
type micro struct {
	*Features
	window []int32
	fft    *fixedFFT
	bands  []microBand // one more than there are channels: each takes its rising side from the one before
	gains  []gainPiece // by the bits of the noise; nil: without gain control
	first  [3]int32    // gains of a noise of 0, 1 and 2
	shift  int         // what the transform's size adds to a logarithm, in bits
}

// microBand is the falling sides of one triangle, and the rising sides of the next, from a bin on.
type microBand struct {
	bin           int
	weights, next []int32
}

// gainPiece is a parabola between two powers of two.
type gainPiece struct{ start, linear, square int32 }

// newMicro computes the tables; settings are checked already.
func newMicro(f *Features) (*micro, error) {
	if least := 1 << bits.Len(uint(f.FrameLength-1)); f.FrameLength < 32 || f.FrameLength > 1<<15 || f.FFTLength != least {
		return nil, fmt.Errorf("frameLength %d and fftLength %d: MicroFrontend takes frames of 32 to %d samples and the least power of two that holds them", f.FrameLength, f.FFTLength, 1<<15)
	}
	m := &micro{Features: f, fft: newFixedFFT(f.FFTLength), shift: bits.Len(uint(f.FFTLength)) - 1 - bandBits/2}
	step := float32(float32(math.Pi)*2) / float32(f.FrameLength)
	for i := range f.FrameLength {
		half := float32(0.5 * float32(math.Cos(float64(step*(float32(i)+0.5)))))
		m.window = append(m.window, rounded(0.5-half, windowBits))
	}
	if err := m.makeBands(); err != nil {
		return nil, err
	}
	if f.GainControl {
		m.makeGains()
	}
	return m, nil
}

// mel32 is mel in floats of 32 bits.
func mel32(hertz float32) float32 { return 1127 * log1p32(hertz/700) }

// rounded is a number with so many bits of a fraction; halves go up.
func rounded(v float32, bits int) int32 {
	scaled := float32(v * float32(int32(1)<<bits))
	return int32(math.Floor(float64(scaled + 0.5)))
}

// makeBands gives each bin its share of the band that it falls to, the rest being the next band's.
func (m *micro) makeBands() error {
	bins := m.FFTLength/2 + 1
	hertz := 0.5 * float32(m.Rate) / (float32(bins) - 1) // of a bin
	lower, upper := mel32(float32(m.Lower)), mel32(float32(m.Upper))
	span := (upper - lower) / float32(m.MelBands+1)
	bin := int(1.5 + float32(m.Lower)/hertz) // never the first, of no frequency
	before := lower
	for b := range m.MelBands + 1 {
		centre := lower + float32(span*float32(b+1))
		band := microBand{bin: bin}
		for ; bin < bins && mel32(float32(bin)*hertz) <= centre; bin++ {
			share := (centre - mel32(float32(bin)*hertz)) / (centre - before)
			band.weights = append(band.weights, rounded(share, bandBits))
			band.next = append(band.next, rounded(1-share, bandBits))
		}
		m.bands = append(m.bands, band)
		before = centre
	}
	if bin >= bins {
		return fmt.Errorf("upperHertz %g: MicroFrontend wants it a bin (%g Hz) below half of the sample rate, %d", m.Upper, hertz, m.Rate/2)
	}
	return nil
}

// makeGains tabulates the gain over the noise, a parabola for each power of two of it.
func (m *micro) makeGains() {
	unit := float32(math.Ldexp(1, meanBits-m.shift))
	gain := func(noise uint32) int32 {
		base := float32(noise)/unit + gainOffset
		v := (1 << gainBits) * float32(math.Pow(float64(base), float64(-gainPower)))
		return int32(min(v+0.5, math.MaxInt16))
	}
	m.first = [3]int32{gain(0), gain(1), gain(2)}
	m.gains = make([]gainPiece, 33)
	for n := 2; n <= 32; n++ {
		from := uint32(1) << (n - 1)
		to := from + min(from, math.MaxUint32-from)
		start := gain(from)
		middle, end := gain(from+from/2)-start, gain(to)-start
		linear := 4*middle - end
		m.gains[n] = gainPiece{start, int32(int16(linear)), int32(int16(end - linear))}
	}
}

// gain of a noise, of 15 bits.
func (m *micro) gain(noise uint32) uint32 {
	if noise <= 2 {
		return uint32(m.first[noise])
	}
	n := bits.Len32(noise)
	p := m.gains[n]
	at := int32(noise << max(0, 11-n) >> max(0, n-11) & 0x3ff) // where between the powers, in 1024ths
	v := (p.square*at>>5 + p.linear<<5) * at
	return uint32(int32(int16((v+1<<14)>>15 + p.start)))
}

// microWork is what one extraction writes to.
type microWork struct {
	samples []int16
	fft     fixedWork
	noise   []uint32
	sums    []uint64
}

func (m *micro) newWork() *microWork {
	return &microWork{fft: m.fft.newWork(), noise: make([]uint32, m.MelBands), sums: make([]uint64, m.MelBands+1)}
}

// extract writes the features of a clip, a row a frame; what was heard before it is silence.
func (m *micro) extract(w *microWork, samples, out []float32) {
	w.samples = w.samples[:0]
	for _, v := range samples {
		w.samples = append(w.samples, int16(max(math.MinInt16, min(math.MaxInt16, math.RoundToEven(float64(v)*(1<<15))))))
	}
	clear(w.noise)
	for i := range len(out) / m.MelBands {
		m.frame(w, w.samples[i*m.FrameStep:][:m.FrameLength], out[i*m.MelBands:][:m.MelBands])
	}
}

// frame computes the features of one frame.
func (m *micro) frame(w *microWork, samples []int16, out []float32) {
	in := w.fft.in
	loudest := int16(0)
	for k, v := range samples {
		in[k] = int16(int32(v) * m.window[k] >> windowBits)
		loudest = max(loudest, in[k], -in[k])
	}
	clear(in[len(samples):])
	up := 15 - bits.Len32(uint32(loudest)) // all bits of the transform are used
	for k := range samples {
		in[k] <<= up
	}
	m.sum(w.sums, m.fft.transform(&w.fft))
	for b, sum := range w.sums[1:] {
		signal := m.clean(&w.noise[b], b, root(sum)>>up)
		if m.gains != nil {
			signal = shrink(uint32(uint64(signal) * uint64(m.gain(w.noise[b])) >> (gainBits - m.shift - ratioBits)))
		}
		if m.shift < 0 {
			signal >>= -m.shift
		} else {
			signal <<= m.shift
		}
		out[b] = float32(min(logarithm(signal), math.MaxUint16)) * microScale
	}
}

// sum adds up the energies of the bins of each band. The first sum is of no channel.
func (m *micro) sum(sums []uint64, bins []complex16) {
	next := uint64(0)
	for b, band := range m.bands {
		sums[b] = next
		next = 0
		for k, weight := range band.weights {
			c := bins[band.bin+k]
			energy := uint64(int64(int32(c.re)*int32(c.re) + int32(c.im)*int32(c.im)))
			sums[b] += uint64(weight) * energy
			next += uint64(band.next[k]) * energy
		}
	}
}

// clean updates the noise of band b and takes it from its signal.
func (m *micro) clean(noise *uint32, b int, signal uint32) uint32 {
	share := uint64(evenShare)
	if b%2 == 1 {
		share = oddShare
	}
	scaled := signal << meanBits
	*noise = uint32((uint64(scaled)*share + uint64(*noise)*(1<<noiseBits-share)) >> noiseBits)
	return max((scaled-min(*noise, scaled))>>meanBits, uint32(uint64(signal)*signalShare>>noiseBits))
}

// shrink takes a ratio of signal to noise: its square up to 2, from there on straight.
func shrink(ratio uint32) uint32 {
	if ratio < 2<<ratioBits {
		return ratio * ratio >> (2 + 2*ratioBits - outputBits)
	}
	return ratio>>(ratioBits-outputBits) - 1<<outputBits
}

// root is a square root, rounded; of one that has fewer than 33 bits it is at most 65535.
func root(v uint64) uint32 {
	r := uint64(math.Sqrt(float64(v)))
	for r > 0 && (r > math.MaxUint32 || r*r > v) {
		r--
	}
	for r < math.MaxUint32 && (r+1)*(r+1) <= v {
		r++
	}
	most := uint64(math.MaxUint32)
	if v>>32 == 0 {
		most = math.MaxUint16
	}
	if v-r*r > r && r < most {
		r++
	}
	return uint32(r)
}

// logTable is what a logarithm to the base 2 is above its chord, from one power of two to the next.
var logTable = func() (table [1<<logSegments + 1]int32) {
	for i := range table {
		x := float64(i) / (1 << logSegments)
		table[i] = int32(math.RoundToEven((math.Log2(1+x) - x) * (1 << logBits)))
	}
	return table
}()

// logarithm to the base e, with logShift bits of a fraction; 0 of 0.
func logarithm(v uint32) uint32 {
	if v <= 1 {
		return 0
	}
	whole := bits.Len32(v) - 1
	part := int32(v - 1<<whole)
	if whole < logBits {
		part <<= logBits - whole
	} else {
		part >>= whole - logBits
	}
	const segment = logBits - logSegments
	from := part >> segment
	slope := logTable[from+1] - logTable[from]
	part += logTable[from] + slope*(part-from<<segment)>>logBits
	const half = 1 << (logBits - 1)
	natural := uint32((ln2*(uint64(whole)<<logBits+uint64(part)) + half) >> logBits)
	return (natural<<logShift + half) >> logBits
}
