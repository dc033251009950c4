package main

// floatAMD64 are the writers of the primitives on float32.
var floatAMD64 = map[string]func(*file, vector){
	"Gemm": gemmAMD64, "CopyRuns": copyRunsAMD64, "AddRuns": addRunsAMD64, "CopyBlock": copyBlockAMD64, "Transpose": transposeAMD64,
	"Axpy": axpyAMD64, "Scale": scaleAMD64, "MulAdd": mulAddAMD64, "Clamp": clampAMD64,
	"BiasAct": biasActAMD64, "BiasActQuant": biasActQuantAMD64, "Gate": gateAMD64, "GateSum": gateSumAMD64,
	"QuantGateSum": quantGateSumAMD64, "FakeQuant": fakeQuantAMD64, "MinMax": minMaxAMD64,
	"SumSquares": sumSquaresAMD64, "Adam": adamAMD64, "SGD": sgdAMD64, "Assign": assignAMD64,
	"Depthwise": depthwiseAMD64, "DepthwiseWeights": depthwiseWeightsAMD64, "MaxPool": maxPoolAMD64, "MaxPoolBackward": maxPoolBackwardAMD64,
	"Peak": peakAMD64,
}

func axpyAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "x", "SI", "n", "CX")
	f.constants(v, "alpha", 8, 1)
	f.v(v, "loop:\n VMOVUPS (DI), #0\n VFMADD231PS (SI), #8, #0\n VMOVUPS #0, (DI)")
	f.next(v, "loop", "DI", "SI")
	f.end()
}

func scaleAMD64(f *file, v vector) {
	f.start(v)
	f.load("x", "DI", "n", "CX")
	f.constants(v, "alpha", 8, 1)
	f.v(v, "loop:\n VMULPS (DI), #8, #0\n VMOVUPS #0, (DI)")
	f.next(v, "loop", "DI")
	f.end()
}

func mulAddAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "a", "SI", "b", "DX", "n", "CX")
	f.v(v, "loop:\n VMOVUPS (DI), #0\n VMOVUPS (DX), #1\n VFMADD231PS (SI), #1, #0\n VMOVUPS #0, (DI)")
	f.next(v, "loop", "DI", "SI", "DX")
	f.end()
}

func clampAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "x", "SI", "n", "CX")
	f.constants(v, "bounds", 8, 2)
	f.v(v, "loop:\n VMOVUPS (SI), #0\n VMAXPS #0, #8, #0\n VMINPS #0, #9, #0\n VMOVUPS #0, (DI)")
	f.next(v, "loop", "DI", "SI")
	f.end()
}

// rows writes a loop over count rows of n floats: what comes before a row and the pointer that starts again in it.
func (f *file) rows(v vector, start, body string, pointers ...string) {
	f.p("row:\n MOVQ %s, CX\n %s", f.arg("n"), start)
	f.v(v, "loop:\n"+body)
	f.next(v, "loop", pointers...)
	f.p(" DECQ BX\n JNZ row")
}

func biasActAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "count", "BX")
	f.constants(v, "bounds", 8, 2)
	f.rows(v, "MOVQ "+f.arg("bias")+", DX", " VMOVUPS (DI), #0\n VADDPS (DX), #0, #0\n VMAXPS #0, #8, #0\n VMINPS #0, #9, #0\n VMOVUPS #0, (DI)", "DI", "DX")
	f.end()
}

// quantize turns #0 into the clamped steps #2 and leaves the steps before rounding in #1. Scale to −0 lie in #10 … #15. Halves are
// rounded away from zero: truncate, and add 1 with the sign where the rest is at least ½.
func quantize(v vector) string {
	round := " VROUNDPS $3, #1, #2\n VSUBPS #2, #1, #3\n VANDPS #15, #1, #4\n VANDNPS #3, #15, #3\n VCMPPS $13, #13, #3, #3\n VORPS #4, #14, #4\n VANDPS #3, #4, #4\n VADDPS #4, #2, #2\n"
	if v.width == 16 {
		round = " VRNDSCALEPS $3, #1, #2\n VSUBPS #2, #1, #3\n VANDPS #15, #1, #4\n VANDNPS #3, #15, #3\n VCMPPS $13, #13, #3, K1\n VORPS #4, #14, #4\n VADDPS #4, #2, K1, #2\n"
	}
	return " VDIVPS #10, #0, #1\n" + round + " VMAXPS #2, #11, #2\n VMINPS #2, #12, #2\n"
}

func biasActQuantAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "raw", "SI", "count", "BX", "limits", "R8")
	f.constants(v, "constants", 8, 8)
	f.v(v, " VMOVUPS (R8), #6")
	f.p(" VMOVUPS %d(R8), %s7", v.bytes(), v.r)
	f.rows(v, "MOVQ "+f.arg("bias")+", DX", " VMOVUPS (SI), #0\n VADDPS (DX), #0, #0\n VMAXPS #0, #8, #0\n VMINPS #0, #9, #0\n VMOVUPS #0, (SI)\n"+
		" VMINPS #6, #0, #6\n VMAXPS #7, #0, #7\n"+quantize(v)+" VMULPS #10, #2, #2\n VMOVUPS #2, (DI)", "DI", "SI", "DX")
	f.v(v, " VMOVUPS #6, (R8)")
	f.p(" VMOVUPS %s7, %d(R8)", v.r, v.bytes())
	f.end()
}

func fakeQuantAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "x", "SI", "n", "CX")
	f.constants(v, "constants", 10, 6)
	f.v(v, "loop:\n VMOVUPS (SI), #0\n"+quantize(v)+" VMULPS #10, #2, #2\n VMOVUPS #2, (DI)")
	f.next(v, "loop", "DI", "SI")
	f.end()
}

// gate keeps of #1 what belongs to values #0 inside #8 … #9: not ≤ and not ≥, true for NaN as in Go's comparisons.
func gate(v vector) string {
	if v.width == 16 {
		return " VCMPPS $6, #8, #0, K2\n VCMPPS $9, #9, #0, K3\n KANDW K2, K3, K2\n VMOVAPS.Z #1, K2, #1\n"
	}
	return " VCMPPS $6, #8, #0, #3\n VANDPS #3, #1, #1\n VCMPPS $9, #9, #0, #3\n VANDPS #3, #1, #1\n"
}

func gateAMD64(f *file, v vector) {
	f.start(v)
	f.load("dy", "DI", "y", "SI", "n", "CX")
	f.constants(v, "bounds", 8, 2)
	f.v(v, "loop:\n VMOVUPS (SI), #0\n VMOVUPS (DI), #1\n"+gate(v)+" VMOVUPS #1, (DI)")
	f.next(v, "loop", "DI", "SI")
	f.end()
}

func gateSumAMD64(f *file, v vector) {
	f.start(v)
	f.load("dy", "DI", "y", "SI", "count", "BX")
	f.constants(v, "bounds", 8, 2)
	f.rows(v, "MOVQ "+f.arg("sum")+", DX", " VMOVUPS (SI), #0\n VMOVUPS (DI), #1\n"+gate(v)+" VMOVUPS #1, (DI)\n VADDPS (DX), #1, #1\n VMOVUPS #1, (DX)", "DI", "SI", "DX")
	f.end()
}

// quantGateSumAMD64: #5 is dy; #6 and #7 add up the gradient of the scale and what was clipped.
func quantGateSumAMD64(f *file, v vector) {
	f.start(v)
	f.load("dy", "DI", "raw", "SI", "count", "BX", "sums", "R8")
	f.constants(v, "constants", 8, 8)
	f.v(v, " VMOVUPS (R8), #6")
	f.p(" VMOVUPS %d(R8), %s7", v.bytes(), v.r)
	// clamping changed the steps where the value was clipped; round once more to see it
	unclamped := map[int]string{
		16: " VCMPPS $0, #2, #4, K2\n VMOVUPS (DI), #5\n VMOVAPS.Z #1, K2, #1\n VSUBPS #1, #2, #1\n VFMADD231PS #5, #1, #6\n KNOTW K2, K3\n VADDPS #5, #7, K3, #7\n VMOVAPS.Z #5, K2, #1\n",
		8:  " VCMPPS $0, #2, #4, #4\n VMOVUPS (DI), #5\n VANDPS #4, #1, #1\n VSUBPS #1, #2, #1\n VFMADD231PS #5, #1, #6\n VANDNPS #5, #4, #3\n VADDPS #3, #7, #7\n VANDPS #4, #5, #1\n",
	}[v.width]
	f.rows(v, "MOVQ "+f.arg("sum")+", DX", " VMOVUPS (SI), #0\n"+quantizeKeeping(v)+unclamped+gate(v)+
		" VMOVUPS #1, (DI)\n VADDPS (DX), #1, #1\n VMOVUPS #1, (DX)", "DI", "SI", "DX")
	f.v(v, " VMOVUPS #6, (R8)")
	f.p(" VMOVUPS %s7, %d(R8)", v.r, v.bytes())
	f.end()
}

// quantizeKeeping is quantize that leaves the steps before clamping in #4.
func quantizeKeeping(v vector) string {
	text := quantize(v)
	clamp := " VMAXPS #2, #11, #2\n"
	at := len(text) - len(clamp) - len(" VMINPS #2, #12, #2\n")
	return text[:at] + " VMOVAPS #2, #4\n" + text[at:]
}

// minMaxAMD64: MINPS gives its second source, the minimum so far, where one is NaN.
func minMaxAMD64(f *file, v vector) {
	f.start(v)
	f.load("limits", "DI", "x", "SI", "n", "CX")
	f.v(v, " VMOVUPS (DI), #6")
	f.p(" VMOVUPS %d(DI), %s7", v.bytes(), v.r)
	f.v(v, "loop:\n VMOVUPS (SI), #0\n VMINPS #6, #0, #6\n VMAXPS #7, #0, #7")
	f.next(v, "loop", "SI")
	f.v(v, " VMOVUPS #6, (DI)")
	f.p(" VMOVUPS %s7, %d(DI)", v.r, v.bytes())
	f.end()
}

func sumSquaresAMD64(f *file, v vector) {
	f.start(v)
	f.load("sums", "DI", "x", "SI", "n", "CX")
	half := map[int]string{16: "Y", 8: "X"}[v.width]
	f.v(v, " VMOVUPS (DI), #0")
	f.p(" VMOVUPS %d(DI), %s1", v.bytes(), v.r)
	f.p("loop:")
	for i := range 2 {
		f.p(" VMOVUPS %d(SI), %s2\n VCVTPS2PD %s2, %s2\n VFMADD231PD %s2, %s2, %s%d", i*v.bytes()/2, half, half, v.r, v.r, v.r, v.r, i)
	}
	f.next(v, "loop", "SI")
	f.v(v, " VMOVUPS #0, (DI)")
	f.p(" VMOVUPS %s1, %d(DI)", v.r, v.bytes())
	f.end()
}

// masked writes a loop twice, for a mask in R9 and for none: K1 or #7 select where the mask is not 0.
func (f *file) masked(v vector, body func(masked bool), pointers ...string) {
	f.load("mask", "R9")
	f.p(" TESTQ R9, R9\n JNZ masked\nloop:")
	body(false)
	f.next(v, "loop", pointers...)
	f.end()
	f.p("masked:")
	if v.width == 16 {
		f.p(" VMOVDQU (R9), X7\n VPTESTMB X7, X7, K1\n ADDQ $16, R9")
	} else {
		f.p(" VPMOVZXBD (R9), Y7\n VPXOR Y6, Y6, Y6\n VPCMPGTD Y6, Y7, Y7\n ADDQ $8, R9")
	}
	body(true)
	f.next(v, "masked", pointers...)
	f.end()
}

func adamAMD64(f *file, v vector) {
	f.start(v)
	f.load("value", "DI", "grad", "SI", "m", "DX", "v", "BX", "n", "CX")
	f.constants(v, "constants", 8, 8)
	keep := func(register string) {
		if v.width == 16 {
			f.p(" VMOVAPS.Z %s, K1, %s", register, register)
		} else {
			f.p(" VANDPS Y7, %s, %s", register, register)
		}
	}
	f.masked(v, func(masked bool) {
		f.v(v, " VMOVUPS (SI), #0\n VMULPS (DX), #8, #1\n VFMADD231PS #0, #9, #1\n VMULPS #0, #11, #2\n VMULPS #0, #2, #2\n VFMADD231PS (BX), #10, #2")
		if masked {
			keep(v.r + "1")
			keep(v.r + "2")
		}
		f.v(v, " VMOVUPS #1, (DX)\n VMOVUPS #2, (BX)\n VSQRTPS #2, #2\n VFMADD213PS #14, #13, #2\n VMULPS #12, #1, #1\n VDIVPS #2, #1, #1")
		f.v(v, " VMOVUPS (DI), #3\n VFMADD231PS #3, #15, #1")
		if masked {
			keep(v.r + "1")
		}
		f.v(v, " VSUBPS #1, #3, #3\n VMOVUPS #3, (DI)")
	}, "DI", "SI", "DX", "BX")
}

func sgdAMD64(f *file, v vector) {
	f.start(v)
	f.load("value", "DI", "grad", "SI", "velocity", "DX", "n", "CX")
	f.constants(v, "constants", 8, 5)
	f.masked(v, func(masked bool) {
		f.v(v, " VMOVUPS (SI), #0\n VMOVUPS (DX), #4\n VMOVAPS #0, #1\n VFMADD231PS #4, #8, #1\n VMULPS #0, #9, #2\n VFMADD231PS #1, #10, #2\n VMULPS #11, #2, #2\n VMOVUPS (DI), #3\n VFMADD231PS #3, #12, #2")
		switch {
		case masked && v.width == 16:
			f.p(" VMOVAPS Z1, K1, Z4\n VMOVAPS.Z Z2, K1, Z2")
		case masked:
			f.p(" VBLENDVPS Y7, Y1, Y4, Y4\n VANDPS Y7, Y2, Y2")
		default:
			f.v(v, " VMOVAPS #1, #4")
		}
		f.v(v, " VMOVUPS #4, (DX)\n VSUBPS #2, #3, #3\n VMOVUPS #3, (DI)")
	}, "DI", "SI", "DX")
}

// assignAMD64 counts, register by register, the boundaries at or below.
func assignAMD64(f *file, v vector) {
	f.start(v)
	f.load("dst", "DI", "x", "SI", "n", "CX", "boundaries", "BX", "count", "R8")
	if v.width == 16 {
		f.p(" MOVL $1, AX\n VPBROADCASTD AX, Z3")
	}
	f.v(v, "loop:\n VMOVUPS (SI), #0\n VXORPS #1, #1, #1\n MOVQ BX, DX\n MOVQ R8, R9\ninner:\n VBROADCASTSS (DX), #2\n ADDQ $4, DX")
	if v.width == 16 {
		f.p(" VCMPPS $2, Z0, Z2, K1\n VPADDD Z3, Z1, K1, Z1\n DECQ R9\n JNZ inner\n VPMOVDB Z1, (DI)")
	} else {
		f.p(" VCMPPS $2, Y0, Y2, Y2\n VPSUBD Y2, Y1, Y1\n DECQ R9\n JNZ inner")
		f.p(" VEXTRACTI128 $1, Y1, X2\n VPACKUSDW X2, X1, X1\n VPACKUSWB X1, X1, X1\n MOVQ X1, (DI)")
	}
	f.p(" ADDQ $%d, DI", v.width)
	f.next(v, "loop", "SI")
	f.end()
}

func peakAMD64(f *file, v vector) {
	f.start(v)
	f.load("n", "CX")
	for i := range 10 {
		f.p(" VXORPS %s%d, %s%d, %s%d", v.r, i, v.r, i, v.r, i)
	}
	f.p("loop:")
	for i := range 8 {
		f.p(" VFMADD231PS %s8, %s9, %s%d", v.r, v.r, v.r, i)
	}
	f.p(" DECQ CX\n JNZ loop")
	f.end()
}
