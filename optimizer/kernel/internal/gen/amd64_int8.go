package main

import "fmt"

// int8AMD64 are the writers of the primitives on int8; the wide vector has VNNI.
var int8AMD64 = map[string]func(*file, vector){
	"GemmInt8": gemmInt8AMD64, "Widen": widenAMD64, "Interleave": interleaveAMD64, "DepthwiseInt8": depthwiseInt8AMD64,
	"Requantize": requantizeAMD64, "RequantizeReal": requantizeRealAMD64, "PeakInt8": peakInt8AMD64,
	"AddCodes":       addCodesAMD64,
	"RequantizeTall": func(f *file, v vector) { requantizeFastAMD64(f, v, false) },
	"RequantizeWide": func(f *file, v vector) { requantizeFastAMD64(f, v, true) },
}

// multiplyAdd adds to the sums the products of inputs x and weights w. Without VNNI, tmp is used up.
func (v vector) multiplyAdd(x, w, sum, tmp string) string {
	if v.width == 16 { // the first source is unsigned
		return fmt.Sprintf(" VPDPBUSD %s, %s, %s", w, x, sum)
	}
	return fmt.Sprintf(" VPMADDWD %s, %s, %s\n VPADDD %s, %s, %s", w, x, tmp, tmp, sum, sum)
}

func gemmInt8AMD64(f *file, v vector) {
	f.start(v)
	f.load("p", "AX")
	f.p(` MOVQ Int8Args_A(AX), R15
 MOVQ Int8Args_C(AX), DI
 MOVQ Int8Args_LDA(AX), R9
 LEAQ (R9)(R9*2), R12
 MOVQ Int8Args_Rows(AX), DX
 CMPQ Int8Args_Registers(AX), $1
 JEQ narrow`)
	most := v.width * 3 / 2
	g := gemm{f, v}
	for _, part := range []struct {
		name      string
		registers int
	}{{"wide", 2}, {"narrow", 1}} {
		if part.registers == 1 {
			f.p("narrow:")
		}
		for rows := most / part.registers / 2 * 2; rows > 1; rows-- {
			f.p(" CMPQ DX, $%d\n JEQ %s%d", rows, part.name, rows)
		}
		for rows := 1; rows <= most/part.registers; rows++ {
			int8Tile{tile{g, fmt.Sprintf("%s%d", part.name, rows), rows, part.registers, false}}.write()
		}
	}
}

// int8Tile is a tile of sums.
type int8Tile struct{ tile }

// sets is how many sets of sums a low tile has: steps follow each other in different sets, so that they need not wait.
func (t int8Tile) sets() int {
	switch n := t.rows * t.registers; {
	case n <= 2:
		return 4
	case n <= 4:
		return 2
	default:
		return 1
	}
}

func (t int8Tile) sumOf(set, row, part int) string {
	return fmt.Sprintf("%s%d", t.v.r, (set*t.rows+row)*t.registers+part)
}

// step multiplies one step of all rows.
func (t int8Tile) step(set int) {
	f, r := t.f, t.v.r
	last := map[int]int{16: 31, 8: 15}[t.v.width]
	for part := range t.registers {
		f.p(" VMOVDQU%s %d(BX), %s%d", map[int]string{16: "64", 8: ""}[t.v.width], part*t.v.bytes(), r, last-3+part)
	}
	f.p(" ADDQ $%d, BX", t.registers*t.v.bytes())
	for row := range t.rows {
		f.p(" VPBROADCASTD %s, %s%d", t.row(row), r, last-1)
		for part := range t.registers {
			f.p("%s", t.v.multiplyAdd(fmt.Sprint(r, last-1), fmt.Sprint(r, last-3+part), t.sumOf(set, row, part), fmt.Sprint(r, last)))
		}
	}
	for _, base := range gemmBases[:(t.rows+3)/4] {
		f.p(" ADDQ $4, %s", base)
	}
}

func (t int8Tile) write() {
	f, r := t.f, t.v.r
	bases := gemmBases[:(t.rows+3)/4]
	f.p("%s:\n MOVQ p+0(FP), AX\n MOVQ Int8Args_Segments(AX), CX\n MOVQ CX, Int8Args_left(AX)\n MOVQ Int8Args_B(AX), BX\n MOVQ Int8Args_Steps(AX), CX\n MOVQ R15, SI", t.label)
	for i := 1; i < len(bases); i++ {
		f.p(" LEAQ (%s)(R9*4), %s", bases[i-1], bases[i])
	}
	for i := range t.rows * t.registers * t.sets() {
		f.p(" VXORPS %s%d, %s%d, %s%d", r, i, r, i, r, i)
	}
	f.p("%ssegment:", t.label)
	next := func() { // the bases are behind the segment
		f.p(" MOVQ p+0(FP), CX\n DECQ Int8Args_left(CX)\n JZ %send", t.label)
		for _, base := range bases {
			f.p(" ADDQ Int8Args_Skip(CX), %s", base)
		}
		f.p(" MOVQ Int8Args_Steps(CX), CX\n JMP %ssegment\n%send:", t.label, t.label)
	}
	if n := t.sets(); n > 1 {
		f.p(" SUBQ $%d, CX\n JLT %srest\n%sk:", n, t.label, t.label)
		for set := range n {
			t.step(set)
		}
		f.p(" SUBQ $%d, CX\n JGE %sk\n%srest:\n ADDQ $%d, CX\n JZ %ssum\n%sone:", n, t.label, t.label, n, t.label, t.label)
		t.step(0)
		f.p(" DECQ CX\n JNZ %sone\n%ssum:", t.label, t.label)
		next()
		for i := t.rows * t.registers; i < t.rows*t.registers*n; i++ {
			f.p(" VPADDD %s%d, %s%d, %s%d", r, i, r, i%(t.rows*t.registers), r, i%(t.rows*t.registers))
		}
	} else {
		f.p("%sk:", t.label)
		t.step(0)
		f.p(" DECQ CX\n JNZ %sk", t.label)
		next()
	}
	f.p(" MOVQ p+0(FP), AX\n MOVQ Int8Args_LDC(AX), CX")
	for row := range t.rows {
		for part := range t.registers {
			f.p(" VMOVUPS %s, %d(DI)", t.sumOf(0, row, part), part*t.v.bytes())
		}
		f.p(" ADDQ CX, DI")
	}
	f.p(" MOVQ $%d, CX\n IMULQ R9, CX\n ADDQ CX, R15\n DECQ Int8Args_Tiles(AX)\n JNZ %s", t.rows, t.label)
	f.end()
}

// widenAMD64 works in registers of 16 integers in both classes.
func widenAMD64(f *file, v vector) {
	f.start(v)
	f.load("dst", "DI", "src", "SI", "count", "CX", "dstStep", "R9", "srcStep", "R10")
	f.p("run:\n MOVQ %s, DX\n MOVQ SI, AX\n MOVQ DI, BX", f.arg("n"))
	f.p("loop:\n VPMOVSXBW (AX), Y0\n VMOVDQU Y0, (BX)\n ADDQ $16, AX\n ADDQ $32, BX\n SUBQ $16, DX\n JGT loop")
	f.p(" ADDQ R10, SI\n ADDQ R9, DI\n DECQ CX\n JNZ run")
	f.end()
}

// interleaveAMD64 shifts the group of the pixel before and puts the new pixel on top.
func interleaveAMD64(f *file, v vector) {
	f.start(v)
	f.load("p", "AX")
	f.p(` MOVQ InterleaveArgs_Dst(AX), DI
 MOVQ InterleaveArgs_Src(AX), SI
 MOVQ InterleaveArgs_Rows(AX), DX
 MOVQ InterleaveArgs_SrcCol(AX), R8
 row:
 MOVQ SI, BX
 MOVQ InterleaveArgs_Cols(AX), CX`)
	next := " VPMOVSXBD (BX), Y1\n VPSRLD $16, Y0, Y0\n VPSLLD $16, Y1, Y1\n VPOR Y1, Y0, Y0\n ADDQ R8, BX"
	before := 1
	if v.width == 16 {
		next, before = " VPMOVZXBD (BX), Z1\n VPSRLD $8, Z0, Z0\n VPSLLD $24, Z1, Z1\n VPORD Z1, Z0, Z0\n ADDQ R8, BX", 3
	}
	for range before {
		f.p("%s", next)
	}
	f.p("pixel:\n%s", next)
	f.v(v, " VMOVUPS #0, (DI)")
	f.p(" ADDQ $%d, DI\n DECQ CX\n JNZ pixel\n ADDQ InterleaveArgs_SrcRow(AX), SI\n DECQ DX\n JNZ row", v.bytes())
	f.end()
}

// depthwiseInt8AMD64 is depthwiseAMD64 for sums of products of groups.
func depthwiseInt8AMD64(f *file, v vector) {
	f.start(v)
	f.load("p", "DI")
	f.p(" MOVQ DepthwiseInt8Args_Pixels(DI), SI\ngroup:")
	for i, r := range pixelRegisters {
		f.p(" MOVQ %d(SI), %s\n ADDQ DepthwiseInt8Args_X(DI), %s\n VXORPS %s%d, %s%d, %s%d", 16*i, r, r, v.r, i, v.r, i, v.r, i)
	}
	f.p(" MOVQ DepthwiseInt8Args_Taps(DI), DX\n MOVQ DepthwiseInt8Args_W(DI), BX\n MOVQ DepthwiseInt8Args_TapCount(DI), CX\ntap:")
	f.v(v, " MOVQ (DX), AX\n VMOVUPS (BX), #8")
	for i, r := range pixelRegisters {
		f.v(v, fmt.Sprintf(" VMOVUPS (%s)(AX*1), #9\n", r)+v.multiplyAdd("#9", "#8", fmt.Sprint("#", i), "#9"))
	}
	f.p(" ADDQ $8, DX\n ADDQ $%d, BX\n DECQ CX\n JNZ tap\n MOVQ DepthwiseInt8Args_Y(DI), BX", v.bytes())
	for i := range 8 {
		f.p(" MOVQ %d(SI), AX\n VMOVUPS %s%d, (BX)(AX*1)", 16*i+8, v.r, i)
	}
	f.p(" ADDQ $128, SI\n DECQ DepthwiseInt8Args_Count(DI)\n JNZ group")
	f.end()
}

// requantizeAMD64 rounds both times at once, in 64 bits, even and odd columns apart: (x·m + 2³⁰ + 2³⁰⁺ᵉ − 2³¹·[x < 0]) >> (31 + e)
// is the division by 2ᵉ, halves away from zero, of the high half of 2·x·m, halves up. The table has eleven rows: bias, multipliers,
// those of the odd columns in even places, left shifts, what is added (even and odd columns, 64 bits; 2⁶³ included, so that the
// shift may be logical), what is added where x < 0 (even, odd), right shifts (even, odd), and what is added to the result.
func requantizeAMD64(f *file, v vector) {
	f.start(v)
	f.load("p", "AX")
	f.requantProlog(v)
	row := func(i int) string { return fmt.Sprintf("%d(DX)", i*v.bytes()) }
	if v.width == 16 {
		f.p(" MOVL $0xAAAA, BX\n KMOVW BX, K4\nblock:")
		for i := range 11 {
			f.p(" VMOVDQU64 %s, Z%d", row(i), 16+i)
		}
		f.requantRows(v)
		f.p(` VPADDD (R11), Z16, Z0
 VPSLLVD Z19, Z0, Z0
 VPSRLQ $32, Z0, Z1
 VPMULDQ Z17, Z0, Z2
 VPMULDQ Z18, Z1, Z3
 VPMOVQ2M Z2, K2
 VPMOVQ2M Z3, K3
 VPADDQ Z20, Z2, Z2
 VPADDQ Z21, Z3, Z3
 VPADDQ Z22, Z2, K2, Z2
 VPADDQ Z23, Z3, K3, Z3
 VPSRLVQ Z24, Z2, Z2
 VPSRLVQ Z25, Z3, Z3
 VPSLLQ $32, Z3, Z3
 VMOVDQA32 Z3, K4, Z2
 VPADDD Z26, Z2, Z2`)
		f.storeCodes(v, 11)
		return
	}
	f.p(" VPXOR Y13, Y13, Y13\nblock:")
	for i, register := range []int{4, 5, 6, 7, 8, 9, 10, 11, 12} { // the first and the last stay in memory
		f.p(" VMOVDQU %s, Y%d", row(i+1), register)
	}
	f.requantRows(v)
	f.p(` VMOVDQU (R11), Y0
 VPADDD (DX), Y0, Y0
 VPSLLVD Y6, Y0, Y0
 VPSRLQ $32, Y0, Y1
 VPMULDQ Y4, Y0, Y2
 VPMULDQ Y5, Y1, Y3
 VPCMPGTQ Y2, Y13, Y0
 VPCMPGTQ Y3, Y13, Y1
 VPAND Y9, Y0, Y0
 VPAND Y10, Y1, Y1
 VPADDQ Y7, Y2, Y2
 VPADDQ Y8, Y3, Y3
 VPADDQ Y0, Y2, Y2
 VPADDQ Y1, Y3, Y3
 VPSRLVQ Y11, Y2, Y2
 VPSRLVQ Y12, Y3, Y3
 VPSLLQ $32, Y3, Y3
 VPBLENDD $0xAA, Y3, Y2, Y2
 VPADDD 320(DX), Y2, Y2`)
	f.storeCodes(v, 11)
}

// requantProlog loads the arguments.
func (f *file) requantProlog(v vector) {
	f.p(` MOVQ RequantArgs_Dst(AX), DI
 MOVQ RequantArgs_Acc(AX), SI
 MOVQ RequantArgs_Table(AX), DX
 MOVQ RequantArgs_AccStep(AX), R8
 MOVQ RequantArgs_DstStep(AX), R9
 MOVQ RequantArgs_Cols(AX), R10
 VPBROADCASTQ RequantArgs_Min(AX), X14
 VPBROADCASTQ RequantArgs_Max(AX), X15`)
}

// requantRows begins the loop over the rows of a block of columns: K1 selects them.
func (f *file) requantRows(v vector) {
	if v.width == 16 {
		f.p(" MOVQ $16, CX\n CMPQ R10, CX\n CMOVQLT R10, CX\n MOVQ CX, R13\n MOVL $1, BX\n SHLQ CX, BX\n DECQ BX\n KMOVW BX, K1")
	}
	f.p(" MOVQ SI, R11\n MOVQ DI, R12\n MOVQ RequantArgs_Rows(AX), CX\nrow:")
}

// storeCodes clamps the integers in #2, stores them as bytes and ends the loops over rows and blocks of columns.
func (f *file) storeCodes(v vector, rows int) {
	next := fmt.Sprintf(" ADDQ R8, R11\n ADDQ R9, R12\n DECQ CX\n JNZ row\n ADDQ $%d, SI\n ADDQ $%d, DI\n ADDQ $%d, DX\n SUBQ $%d, R10\n JGT block", v.bytes(), v.width, rows*v.bytes(), v.width)
	if v.width == 16 {
		f.p(" VPMOVSDB Z2, X2\n VPMAXSB X14, X2, X2\n VPMINSB X15, X2, X2\n CMPQ R13, $16\n JNE part\n VMOVDQU X2, (R12)\nnext:\n%s", next)
		f.end()
		f.p("part:\n VMOVDQU8 X2, K1, (R12)\n JMP next")
		return
	}
	f.p(" VEXTRACTI128 $1, Y2, X1\n VPACKSSDW X1, X2, X2\n VPACKSSWB X2, X2, X2\n VPMAXSB X14, X2, X2\n VPMINSB X15, X2, X2\n CMPQ R10, $8\n JLT part\n VMOVQ X2, (R12)\nnext:\n%s", next)
	f.end()
	f.p(`part:
 VMOVQ X2, BX
 MOVQ R12, R13
 TESTQ $4, R10
 JZ part2
 MOVL BX, (R13)
 SHRQ $32, BX
 ADDQ $4, R13
 part2:
 TESTQ $2, R10
 JZ part1
 MOVW BX, (R13)
 SHRQ $16, BX
 ADDQ $2, R13
 part1:
 TESTQ $1, R10
 JZ next
 MOVB BX, (R13)
 JMP next`)
}

// requantizeRealAMD64 rounds products in float64, halves away from zero: it adds the number below ½ with the sign of the product and
// truncates. Beyond ±2²⁴ products stay there.
func requantizeRealAMD64(f *file, v vector) {
	f.start(v)
	f.load("p", "AX")
	f.requantProlog(v)
	for i, c := range []string{"3FDFFFFFFFFFFFFF", "8000000000000000", "4170000000000000", "C170000000000000"} {
		f.p(" MOVQ $0x%s, BX\n VMOVQ BX, X%d\n VBROADCASTSD X%d, %s%d", c, 10+i, 10+i, v.r, 10+i)
	}
	f.p("block:")
	f.requantRows(v)
	half := map[int]string{16: "Y", 8: "X"}[v.width]
	for i := range 2 {
		r := v.r
		f.p(" VMOVDQU %d(R11), %s0\n VPADDD %d(DX), %s0, %s0\n VCVTDQ2PD %s0, %s1", i*v.bytes()/2, half, i*v.bytes()/2, half, half, half, r)
		f.p(" VMULPD %d(DX), %s1, %s1\n VANDPD %s11, %s1, %s3\n VORPD %s10, %s3, %s3\n VADDPD %s3, %s1, %s1\n VMINPD %s12, %s1, %s1\n VMAXPD %s13, %s1, %s1",
			(2+i)*v.bytes(), r, r, r, r, r, r, r, r, r, r, r, r, r, r, r, r, r)
		to := map[int]string{16: "Y", 8: "X"}[v.width]
		if v.width == 16 {
			f.p(" VCVTTPD2DQ Z1, %s%d", to, 4+i)
		} else {
			f.p(" VCVTTPD2DQY Y1, X%d", 4+i)
		}
	}
	if v.width == 16 {
		f.p(" VINSERTI64X4 $1, Y5, Z4, Z2\n VPADDD 64(DX), Z2, Z2")
	} else {
		f.p(" VINSERTI128 $1, X5, Y4, Y2\n VPADDD 32(DX), Y2, Y2")
	}
	f.storeCodes(v, 4)
}

// addCodesAMD64 computes 16 codes a round in float32, in one register or two.
func addCodesAMD64(f *file, v vector) {
	f.start(v)
	f.load("y", "DI", "a", "SI", "b", "BX", "n", "CX")
	f.constants(v, "constants", 8, 3)
	f.load("codes", "AX")
	for i := range 3 {
		f.p(" VPBROADCASTD %d(AX), %s%d", 4*i, v.r, 11+i)
	}
	f.p("loop:")
	parts := 16 / v.width
	for i := range parts {
		f.v(v, fmt.Sprintf(" VPMOVSXBD %d(BX), #2\n VCVTDQ2PS #2, #2\n VMOVAPS #10, #%d\n VFMADD231PS #9, #2, #%d", i*v.width, i, i))
		f.v(v, fmt.Sprintf(" VPMOVSXBD %d(SI), #3\n VCVTDQ2PS #3, #3\n VFMADD231PS #8, #3, #%d\n VCVTPS2DQ #%d, #%d\n VPADDD #11, #%d, #%d\n VPMAXSD #12, #%d, #%d\n VPMINSD #13, #%d, #%d",
			i*v.width, i, i, i, i, i, i, i, i, i))
	}
	if v.width == 16 {
		f.p(" VPMOVDB Z0, (DI)")
	} else {
		f.p(" VPACKSSDW Y1, Y0, Y0\n VPERMQ $0xD8, Y0, Y0\n VEXTRACTI128 $1, Y0, X1\n VPACKSSWB X1, X0, X0\n VMOVDQU X0, (DI)")
	}
	f.p(" ADDQ $16, SI\n ADDQ $16, BX\n ADDQ $16, DI\n SUBQ $16, CX\n JNZ loop")
	f.end()
}

func peakInt8AMD64(f *file, v vector) {
	f.start(v)
	f.load("n", "CX")
	for i := range 11 {
		f.p(" VXORPS %s%d, %s%d, %s%d", v.r, i, v.r, i, v.r, i)
	}
	f.p("loop:")
	for i := range 8 {
		f.v(v, v.multiplyAdd("#8", "#9", fmt.Sprint("#", i), "#10"))
	}
	f.p(" DECQ CX\n JNZ loop")
	f.end()
}
