package kernel

import "espalier.dev/espalier/optimizer/kernel/internal/simd"

// Int8Sum is ADD or SUB of int8 codes in float32: clamp(zero + round(a·A + b·B + C)). It stands for the fixed-point arithmetic of
// TensorFlow Lite's reference kernel only where it was found to give the same code for every pair of codes. It is immutable.
type Int8Sum struct {
	constants [3]float32
	codes     [3]int32
}

// NewInt8Sum looks for constants with which y = zero + (a − zeroA)·scaleA + (b − zeroB)·scaleB, clamped to [lo, hi], is what exact
// gives for all 65,536 pairs; nil if there are none, or no assembly. Exact writes y[i] from a and b[i].
func NewInt8Sum(scaleA, scaleB float64, zeroA, zeroB, zero, lo, hi int32, exact func(y []int8, a int8, b []int8)) *Int8Sum {
	if !simd.FastRequant || simd.IntLanes == 0 {
		return nil
	}
	var want [1 << 16]int8
	var a, b, got [256]int8
	for i := range b {
		b[i] = int8(uint8(i))
	}
	for i, code := range b {
		exact(want[i<<8:i<<8+256], code, b[:])
	}
	// halves are rounded away from zero: numbers a little larger are on the right side of them
	for _, stretch := range []float64{1, 1 + 0x1p-22, 1 + 0x1p-20, 1 - 0x1p-22, 1 + 0x1p-18, 1 - 0x1p-20} {
		s := &Int8Sum{codes: [3]int32{zero, lo, hi}}
		s.constants = [3]float32{
			float32(scaleA * stretch), float32(scaleB * stretch), float32(-(scaleA*float64(zeroA) + scaleB*float64(zeroB)) * stretch),
		}
		same := true
		for i := 0; i < len(b) && same; i++ {
			for k := range a {
				a[k] = b[i]
			}
			s.Run(got[:], a[:], b[:])
			same = got == [256]int8(want[i<<8:])
		}
		if same {
			return s
		}
	}
	return nil
}

// Run computes len(y) codes.
func (s *Int8Sum) Run(y, a, b []int8) {
	a, b = a[:len(y)], b[:len(y)]
	for at := 0; at+16 <= len(y); {
		n := min(strip, (len(y)-at)&^15)
		simd.AddCodes(&y[at], &a[at], &b[at], n, &s.constants, &s.codes)
		at += n
	}
	if rest := len(y) &^ 15; rest < len(y) {
		var block [3][16]int8
		copy(block[1][:], a[rest:])
		copy(block[2][:], b[rest:])
		simd.AddCodes(&block[0][0], &block[1][0], &block[2][0], 16, &s.constants, &s.codes)
		copy(y[rest:], block[0][:])
	}
}
