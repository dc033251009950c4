package audio

import "math"

// complex16 is a complex number of 16-bit fractions.
type complex16 struct{ re, im int16 }

// fixedFFT is a transform of real fractions of 15 bits, rounded as KISS FFT does, which the micro front end is built with: each stage
// halves or quarters its inputs, so that nothing overflows, and the result is 1/size of the sum.
type fixedFFT struct {
	turns []complex16 // exp(−2πi·k/n) of half as many complex numbers
	halfs []complex16 // exp(−πi·((k+1)/n + 1/2)): what takes the two halves apart
}

// fixedWork is what one transform reads and writes.
type fixedWork struct {
	in     []int16     // the samples
	packed []complex16 // their transform as complex numbers
	pairs  []complex16 // even samples as real parts, odd ones as imaginary
	out    []complex16 // bins 0 … size/2
}

// newFixedFFT makes a transform of size samples, a power of two from 4.
func newFixedFFT(size int) *fixedFFT {
	n := size / 2
	f := &fixedFFT{}
	for k := range n {
		f.turns = append(f.turns, turn(-2*math.Pi*float64(k)/float64(n)))
	}
	for k := range n / 2 {
		f.halfs = append(f.halfs, turn(-math.Pi*(float64(k+1)/float64(n)+0.5)))
	}
	return f
}

func turn(phase float64) complex16 {
	part := func(v float64) int16 { return int16(math.Floor(0.5 + float64(math.MaxInt16*v))) }
	return complex16{part(math.Cos(phase)), part(math.Sin(phase))}
}

func (f *fixedFFT) newWork() fixedWork {
	n := len(f.turns)
	return fixedWork{in: make([]int16, 2*n), packed: make([]complex16, n), pairs: make([]complex16, n), out: make([]complex16, n+1)}
}

// fraction rounds a product of two fractions.
func fraction(product int32) int16 { return int16((product + 1<<14) >> 15) }

func (a complex16) times(b complex16) complex16 {
	return complex16{fraction(int32(a.re)*int32(b.re) - int32(a.im)*int32(b.im)), fraction(int32(a.re)*int32(b.im) + int32(a.im)*int32(b.re))}
}

func (a complex16) plus(b complex16) complex16  { return complex16{a.re + b.re, a.im + b.im} }
func (a complex16) minus(b complex16) complex16 { return complex16{a.re - b.re, a.im - b.im} }

// over divides by a small number, as a product with its inverse.
func (a complex16) over(n int32) complex16 {
	inverse := math.MaxInt16 / n
	return complex16{fraction(int32(a.re) * inverse), fraction(int32(a.im) * inverse)}
}

// transform returns the bins of w.in.
func (f *fixedFFT) transform(w *fixedWork) []complex16 {
	n := len(f.turns)
	for k := range w.pairs {
		w.pairs[k] = complex16{w.in[2*k], w.in[2*k+1]}
	}
	f.stage(w.packed, w.pairs, 1)
	first := w.packed[0].over(2)
	w.out[0], w.out[n] = complex16{re: first.re + first.im}, complex16{re: first.re - first.im}
	for k := 1; k <= n/2; k++ {
		a, b := w.packed[k].over(2), complex16{w.packed[n-k].re, -w.packed[n-k].im}.over(2)
		even, odd := a.plus(b), a.minus(b).times(f.halfs[k-1])
		half := func(v int32) int16 { return int16(v >> 1) }
		w.out[k] = complex16{half(int32(even.re) + int32(odd.re)), half(int32(even.im) + int32(odd.im))}
		w.out[n-k] = complex16{half(int32(even.re) - int32(odd.re)), half(int32(odd.im) - int32(even.im))}
	}
	return w.out
}

// stage transforms every stride-th number of in to out: in four parts, or in two where no four are left.
func (f *fixedFFT) stage(out, in []complex16, stride int) {
	radix := 4
	if len(out)%4 != 0 {
		radix = 2
	}
	m := len(out) / radix
	for r := range radix {
		if m == 1 {
			out[r] = in[r*stride]
		} else {
			f.stage(out[r*m:][:m], in[r*stride:], stride*radix)
		}
	}
	for k := range m {
		if radix == 2 {
			a, b := out[k].over(2), out[k+m].over(2).times(f.turns[k*stride])
			out[k], out[k+m] = a.plus(b), a.minus(b)
			continue
		}
		a, b := out[k].over(4), out[k+m].over(4).times(f.turns[k*stride])
		c, d := out[k+2*m].over(4).times(f.turns[2*k*stride]), out[k+3*m].over(4).times(f.turns[3*k*stride])
		outer, inner := a.plus(c), a.minus(c)
		sum, difference := b.plus(d), b.minus(d)
		quarter := complex16{difference.im, -difference.re} // times −i
		out[k], out[k+m], out[k+2*m], out[k+3*m] = outer.plus(sum), inner.plus(quarter), outer.minus(sum), inner.minus(quarter)
	}
}
