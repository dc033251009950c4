package main

// floatARM64 are the writers of the primitives on float32. Pointers to the arrays lie in R0, R1, R3, R4, the count of floats in R2;
// constants in V16 and up.
var floatARM64 = map[string]func(*file){
	"Gemm": gemmARM64, "CopyRuns": copyRunsARM64, "AddRuns": addRunsARM64, "CopyBlock": copyBlockARM64, "Transpose": transposeARM64,
	"Axpy": axpyARM64, "Scale": scaleARM64, "MulAdd": mulAddARM64, "Clamp": clampARM64, "BiasAct": biasActARM64,
	"BiasActQuant": biasActQuantARM64, "Gate": gateARM64, "GateSum": gateSumARM64, "QuantGateSum": quantGateSumARM64,
	"FakeQuant": fakeQuantARM64, "MinMax": minMaxARM64, "SumSquares": sumSquaresARM64, "Adam": adamARM64,
	"SGD": sgdARM64, "Assign": assignARM64, "Depthwise": depthwiseARM64, "DepthwiseWeights": depthwiseWeightsARM64,
	"MaxPool": maxPoolARM64, "MaxPoolBackward": maxPoolBackwardARM64, "Peak": peakARM64,
}

func axpyARM64(f *file) {
	f.arm("y", 0, "x", 1, "n", 2)
	f.broadcasts("alpha", 16, 1)
	f.passes("loop", func() {
		f.ldp(pair(0), 0, 0)
		f.ldpPost(pair(1), 1)
		f.on("fmla", pair(0), pair(1), both(16))
		f.stpPost(pair(0), 0)
	})
	f.p(" RET")
}

func scaleARM64(f *file) {
	f.arm("x", 0, "n", 2)
	f.broadcasts("alpha", 16, 1)
	f.passes("loop", func() {
		f.ldp(pair(0), 0, 0)
		f.on("fmul", pair(0), pair(0), both(16))
		f.stpPost(pair(0), 0)
	})
	f.p(" RET")
}

func mulAddARM64(f *file) {
	f.arm("y", 0, "a", 1, "b", 3, "n", 2)
	f.passes("loop", func() {
		f.ldp(pair(0), 0, 0)
		f.ldpPost(pair(1), 1)
		f.ldpPost(pair(2), 3)
		f.on("fmla", pair(0), pair(1), pair(2))
		f.stpPost(pair(0), 0)
	})
	f.p(" RET")
}

func clampARM64(f *file) {
	f.arm("y", 0, "x", 1, "n", 2)
	f.broadcasts("bounds", 16, 2)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		f.on("fmax", pair(0), pair(0), both(16))
		f.on("fmin", pair(0), pair(0), both(17))
		f.stpPost(pair(0), 0)
	})
	f.p(" RET")
}

// rowsARM writes a loop over count rows of n floats; the pointer of the row that repeats is R3.
func (f *file) rowsARM(repeats string, body func()) {
	f.take("count", 5)
	f.p("row:")
	f.take("n", 2, repeats, 3)
	f.passes("loop", body)
	f.p(" SUBS $1, R5\n BNE row")
}

func biasActARM64(f *file) {
	f.arm("y", 0)
	f.broadcasts("bounds", 16, 2)
	f.rowsARM("bias", func() {
		f.ldp(pair(0), 0, 0)
		f.ldpPost(pair(1), 3)
		f.on("fadd", pair(0), pair(0), pair(1))
		f.on("fmax", pair(0), pair(0), both(16))
		f.on("fmin", pair(0), pair(0), both(17))
		f.stpPost(pair(0), 0)
	})
	f.p(" RET")
}

// quantizeARM turns pair 0 into steps in pair 1, rounded steps (halves away from zero) in pair 2 and those held to the codes in
// pair 3. Scale, first and last step lie in V18 … V20.
func (f *file) quantizeARM() {
	f.on("fdiv", pair(1), pair(0), both(18))
	f.on("frinta", pair(2), pair(1))
	f.on("fmax", pair(3), pair(2), both(19))
	f.on("fmin", pair(3), pair(3), both(20))
}

func biasActQuantARM64(f *file) {
	f.arm("y", 0, "raw", 1, "limits", 4)
	f.broadcasts("constants", 16, 5)
	f.ldp(pair(6), 4, 0)
	f.ldp(pair(7), 4, 32)
	f.rowsARM("bias", func() {
		f.ldp(pair(0), 1, 0)
		f.ldpPost(pair(1), 3)
		f.on("fadd", pair(0), pair(0), pair(1))
		f.on("fmax", pair(0), pair(0), both(16))
		f.on("fmin", pair(0), pair(0), both(17))
		f.stpPost(pair(0), 1)
		f.on("fminnm", pair(6), pair(6), pair(0))
		f.on("fmaxnm", pair(7), pair(7), pair(0))
		f.quantizeARM()
		f.on("fmul", pair(3), pair(3), both(18))
		f.stpPost(pair(3), 0)
	})
	f.stp(pair(6), 4, 0)
	f.stp(pair(7), 4, 32)
	f.p(" RET")
}

func fakeQuantARM64(f *file) {
	f.arm("y", 0, "x", 1, "n", 2)
	f.broadcasts("constants", 18, 3)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		f.quantizeARM()
		f.on("fmul", pair(3), pair(3), both(18))
		f.stpPost(pair(3), 0)
	})
	f.p(" RET")
}

// gateARM clears of pair 4 what belongs to values of pair 0 at or outside V16 … V17.
func (f *file) gateARM() {
	f.on("fcmge", pair(5), both(16), pair(0))
	f.on("bic", pair(4), pair(4), pair(5))
	f.on("fcmge", pair(5), pair(0), both(17))
	f.on("bic", pair(4), pair(4), pair(5))
}

func gateARM64(f *file) {
	f.arm("dy", 0, "y", 1, "n", 2)
	f.broadcasts("bounds", 16, 2)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		f.ldp(pair(4), 0, 0)
		f.gateARM()
		f.stpPost(pair(4), 0)
	})
	f.p(" RET")
}

// addToSum adds pair 4 to the row of sums.
func (f *file) addToSum() {
	f.ldp(pair(5), 3, 0)
	f.on("fadd", pair(5), pair(5), pair(4))
	f.stpPost(pair(5), 3)
}

func gateSumARM64(f *file) {
	f.arm("dy", 0, "y", 1)
	f.broadcasts("bounds", 16, 2)
	f.rowsARM("sum", func() {
		f.ldpPost(pair(0), 1)
		f.ldp(pair(4), 0, 0)
		f.gateARM()
		f.stpPost(pair(4), 0)
		f.addToSum()
	})
	f.p(" RET")
}

func quantGateSumARM64(f *file) {
	f.arm("dy", 0, "raw", 1, "sums", 4)
	f.broadcasts("constants", 16, 5)
	f.ldp(pair(6), 4, 0)
	f.ldp(pair(7), 4, 32)
	f.rowsARM("sum", func() {
		f.ldpPost(pair(0), 1)
		f.ldp(pair(4), 0, 0)
		f.quantizeARM()
		f.on("fcmeq", pair(2), pair(2), pair(3)) // not clipped
		f.on("and", pair(1), pair(1), pair(2))
		f.on("fsub", pair(3), pair(3), pair(1))
		f.on("fmla", pair(6), pair(3), pair(4))
		f.on("bic", pair(1), pair(4), pair(2))
		f.on("fadd", pair(7), pair(7), pair(1))
		f.on("and", pair(4), pair(4), pair(2))
		f.gateARM()
		f.stpPost(pair(4), 0)
		f.addToSum()
	})
	f.stp(pair(6), 4, 0)
	f.stp(pair(7), 4, 32)
	f.p(" RET")
}

func minMaxARM64(f *file) {
	f.arm("limits", 0, "x", 1, "n", 2)
	f.ldp(pair(6), 0, 0)
	f.ldp(pair(7), 0, 32)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		f.on("fminnm", pair(6), pair(6), pair(0))
		f.on("fmaxnm", pair(7), pair(7), pair(0))
	})
	f.stp(pair(6), 0, 0)
	f.stp(pair(7), 0, 32)
	f.p(" RET")
}

func sumSquaresARM64(f *file) {
	f.arm("sums", 0, "x", 1, "n", 2)
	f.ldp(pair(6), 0, 0)
	f.ldp(pair(7), 0, 32)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		for half := range 2 {
			f.op("fcvtl", 2, half)
			f.op("fcvtl2", 3, half)
			f.op("fmlad", 12+2*half, 2, 2)
			f.op("fmlad", 13+2*half, 3, 3)
		}
	})
	f.stp(pair(6), 0, 0)
	f.stp(pair(7), 0, 32)
	f.p(" RET")
}

// maskedARM writes a loop twice, for a mask in R6 and for none; pair 7 is all ones where the mask is 0.
func (f *file) maskedARM(body func(masked bool)) {
	f.take("mask", 6, "n", 2)
	f.p(" CBNZ R6, masked")
	f.passes("loop", func() { body(false) })
	f.p(" RET")
	f.passes("masked", func() {
		f.mem("ldrd", 14, 6, 0)
		f.p(" ADD $8, R6")
		f.op("ushllh", 14, 14)
		f.op("ushlls2", 15, 14)
		f.op("ushlls", 14, 14)
		f.on("cmeq0", pair(7), pair(7))
		body(true)
	})
	f.p(" RET")
}

func adamARM64(f *file) {
	f.arm("value", 0, "grad", 1, "m", 3, "v", 4)
	f.broadcasts("constants", 16, 8)
	f.maskedARM(func(masked bool) {
		f.ldpPost(pair(0), 1)
		f.ldp(pair(1), 3, 0)
		f.on("fmul", pair(1), pair(1), both(16))
		f.on("fmla", pair(1), pair(0), both(17))
		f.on("fmul", pair(2), pair(0), both(19))
		f.on("fmul", pair(2), pair(2), pair(0))
		f.ldp(pair(3), 4, 0)
		f.on("fmla", pair(2), pair(3), both(18))
		if masked {
			f.on("bic", pair(1), pair(1), pair(7))
			f.on("bic", pair(2), pair(2), pair(7))
		}
		f.stpPost(pair(1), 3)
		f.stpPost(pair(2), 4)
		f.on("fsqrt", pair(2), pair(2))
		f.on("fmul", pair(2), pair(2), both(21))
		f.on("fadd", pair(2), pair(2), both(22))
		f.on("fmul", pair(1), pair(1), both(20))
		f.on("fdiv", pair(1), pair(1), pair(2))
		f.ldp(pair(3), 0, 0)
		f.on("fmla", pair(1), pair(3), both(23))
		if masked {
			f.on("bic", pair(1), pair(1), pair(7))
		}
		f.on("fsub", pair(3), pair(3), pair(1))
		f.stpPost(pair(3), 0)
	})
}

func sgdARM64(f *file) {
	f.arm("value", 0, "grad", 1, "velocity", 3)
	f.broadcasts("constants", 16, 5)
	f.maskedARM(func(masked bool) {
		f.ldpPost(pair(0), 1)
		f.ldp(pair(4), 3, 0)
		f.on("fmul", pair(1), pair(4), both(16))
		f.on("fadd", pair(1), pair(1), pair(0))
		f.on("fmul", pair(2), pair(0), both(17))
		f.on("fmla", pair(2), pair(1), both(18))
		f.on("fmul", pair(2), pair(2), both(19))
		f.ldp(pair(3), 0, 0)
		f.on("fmla", pair(2), pair(3), both(20))
		if masked {
			f.on("bic", pair(2), pair(2), pair(7))
			f.on("bsl", pair(7), pair(4), pair(1))
			f.stpPost(pair(7), 3)
		} else {
			f.stpPost(pair(1), 3)
		}
		f.on("fsub", pair(3), pair(3), pair(2))
		f.stpPost(pair(3), 0)
	})
}

func assignARM64(f *file) {
	f.arm("dst", 0, "x", 1, "n", 2)
	f.passes("loop", func() {
		f.ldpPost(pair(0), 1)
		f.zero(2)
		f.zero(3)
		f.take("boundaries", 3, "count", 4)
		f.p("inner:")
		f.broadcast(16, 3)
		f.p(" ADD $4, R3")
		f.on("fcmge", pair(2), pair(0), both(16))
		f.on("sub", pair(1), pair(1), pair(2))
		f.p(" SUBS $1, R4\n BNE inner")
		f.op("xtnh", 2, 2)
		f.op("xtnh2", 2, 3)
		f.op("xtnb", 2, 2)
		f.mem("strd", 2, 0, 0)
		f.p(" ADD $8, R0")
	})
	f.p(" RET")
}

func peakARM64(f *file) {
	f.arm("n", 2)
	for v := range 18 {
		f.zero(v)
	}
	f.p("loop:")
	for v := range 16 {
		f.op("fmla", v, 16, 17)
	}
	f.p(" SUBS $1, R2\n BNE loop\n RET")
}
