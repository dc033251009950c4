package main

import "fmt"

// requantizeFastAMD64 computes codes by one float32 multiply-add, in units of 2⁻¹⁶: see RequantFastArgs. Four registers of sums are
// packed into one of codes: four rows of a block of columns (tall), or four blocks of columns of a row (wide).
func requantizeFastAMD64(f *file, v vector, wide bool) {
	f.start(v)
	f.load("p", "AX")
	f.p(` MOVQ RequantFastArgs_Dst(AX), DI
 MOVQ RequantFastArgs_Acc(AX), SI
 MOVQ RequantFastArgs_Table(AX), DX
 MOVQ RequantFastArgs_AccStep(AX), R8
 MOVQ RequantFastArgs_DstStep(AX), R9
 MOVQ RequantFastArgs_Cols(AX), R10
 MOVQ RequantFastArgs_Doubts(AX), R15
 MOVQ RequantFastArgs_Pack(AX), BX
 LEAQ (R8)(R8*2), R13
 LEAQ (R9)(R9*2), R14`)
	r := requantFast{f, v, wide}
	if v.width == 16 {
		f.p(" VPBROADCASTQ RequantFastArgs_Min(AX), Z14\n VPBROADCASTQ RequantFastArgs_Max(AX), Z15\n VMOVDQU64 (BX), Z21\n VMOVDQU64 64(BX), Z22")
		f.p(" MOVL $0xFFF0, BX\n VPBROADCASTD BX, Z20")
	} else {
		f.p(" VPBROADCASTQ RequantFastArgs_Min(AX), Y14\n VPBROADCASTQ RequantFastArgs_Max(AX), Y15\n VMOVDQU (BX), Y12")
		f.p(" MOVL $0xFFF0, BX\n VMOVD BX, X10\n VPBROADCASTD X10, Y10\n VPXOR Y11, Y11, Y11")
	}
	f.p("block:\n MOVQ SI, R11\n MOVQ DI, R12\n MOVQ RequantFastArgs_Rows(AX), CX")
	if wide {
		r.rowsWide()
	} else {
		r.rowsTall()
	}
	f.p(` ADDQ $%d, SI
 ADDQ $%d, DI
 ADDQ $%d, DX
 SUBQ $%d, R10
 JGT block
 MOVQ R15, RequantFastArgs_Doubts(AX)`, r.blocks()*v.bytes(), r.blocks()*v.width, r.blocks()*4*v.bytes(), r.blocks()*v.width)
	f.end()
	f.p("doubt:\n MOVL CX, (R15)\n MOVL R10, 4(R15)")
	for i := range 4 {
		if v.width == 16 {
			f.p(" KMOVW K%d, BX\n MOVW BX, %d(R15)", 2+i, 8+2*i)
		} else {
			f.p(" VPAND Y10, Y%d, Y4\n VPCMPEQD Y11, Y4, Y4\n VMOVMSKPS Y4, BX\n MOVW BX, %d(R15)", i, 8+2*i)
		}
	}
	f.p(" ADDQ $16, R15\n JMP certain")
	if v.width == 16 && !wide {
		f.p("part:")
		for i, to := range []string{"(R12)", "(R12)(R9*1)", "(R12)(R9*2)", "(R12)(R14*1)"} {
			f.p(" VEXTRACTI32X4 $%d, Z0, X1\n VMOVDQU8 X1, K1, %s", i, to)
		}
		f.p(" JMP next")
	}
}

// requantFast writes the parts of requantizeFastAMD64.
type requantFast struct {
	f    *file
	v    vector
	wide bool
}

// blocks is the number of blocks of columns that are computed at once.
func (r requantFast) blocks() int {
	if r.wide {
		return 4
	}
	return 1
}

// rowsTall computes four rows at a time; fewer at the end make the last four overlap those before.
func (r requantFast) rowsTall() {
	f, v := r.f, r.v
	first := map[int]int{16: 16, 8: 6}[v.width]
	for i := range 4 {
		f.p(" VMOVUPS %d(DX), %s%d", i*v.bytes(), v.r, first+i)
	}
	if v.width == 16 {
		f.p(" MOVQ $16, CX\n CMPQ R10, CX\n CMOVQLT R10, CX\n MOVL $1, BX\n SHLQ CX, BX\n DECQ BX\n KMOVW BX, K1\n MOVQ RequantFastArgs_Rows(AX), CX")
	}
	f.p(`rows:
 CMPQ CX, $4
 JGE four
 LEAQ -4(CX), BX
 MOVQ BX, CX
 IMULQ R8, BX
 ADDQ BX, R11
 IMULQ R9, CX
 ADDQ CX, R12
 MOVQ $4, CX
four:`)
	sums := []string{"(R11)", "(R11)(R8*1)", "(R11)(R8*2)", "(R11)(R13*1)"}
	to := []string{"(R12)", "(R12)(R9*1)", "(R12)(R9*2)", "(R12)(R14*1)"}
	for i, sum := range sums {
		f.p(" VPADDD %s, %s%d, %s%d", sum, v.r, first, v.r, i)
		if v.width == 16 {
			f.p(" VPMOVD2M Z%d, K%d\n VCVTDQ2PS Z%d, Z%d\n VBLENDMPS Z19, Z18, K%d, Z%d\n VFMADD231PS Z17, Z%d, Z%d", i, 2+i, i, i, 2+i, 4+i, i, 4+i)
		} else {
			f.p(" VCVTDQ2PS Y%d, Y%d\n VBLENDVPS Y%d, Y9, Y8, Y4\n VFMADD231PS Y7, Y%d, Y4", i, i, i, i)
		}
		r.round(i)
	}
	r.pack()
	if v.width == 16 {
		f.p(" CMPQ R10, $16\n JLT part\n VMOVDQU X0, %s", to[0])
		for i := 1; i < 4; i++ {
			f.p(" VEXTRACTI32X4 $%d, Z0, %s", i, to[i])
		}
	} else {
		f.p(" VMOVQ X0, %s\n VMOVHPS X0, %s\n VEXTRACTI128 $1, Y0, X1\n VMOVQ X1, %s\n VMOVHPS X1, %s", to[0], to[1], to[2], to[3])
	}
	f.p("next:\n LEAQ (R11)(R8*4), R11\n LEAQ (R12)(R9*4), R12\n SUBQ $4, CX\n JNZ rows")
}

// rowsWide computes four blocks of columns of a row at a time.
func (r requantFast) rowsWide() {
	f, v := r.f, r.v
	f.p("rows:")
	for i := range 4 {
		at := 4 * i * v.bytes()
		table := func(row int) string { return fmt.Sprintf("%d(DX)", at+row*v.bytes()) }
		f.p(" VMOVUPS %s, %s%d\n VPADDD %d(R11), %s%d, %s%d", table(0), v.r, i, i*v.bytes(), v.r, i, v.r, i)
		if v.width == 16 {
			f.p(" VPMOVD2M Z%d, K%d\n VCVTDQ2PS Z%d, Z%d\n VMOVUPS %s, Z%d\n VMOVUPS %s, K%d, Z%d\n VFMADD231PS %s, Z%d, Z%d",
				i, 2+i, i, i, table(2), 4+i, table(3), 2+i, 4+i, table(1), i, 4+i)
		} else {
			f.p(" VCVTDQ2PS Y%d, Y%d\n VMOVUPS %s, Y4\n VBLENDVPS Y%d, %s, Y4, Y4\n VFMADD231PS %s, Y%d, Y4", i, i, table(2), i, table(3), table(1), i)
		}
		r.round(i)
	}
	r.pack()
	if v.width == 16 {
		f.p(" VMOVDQU64 Z0, (R12)")
	} else {
		f.p(" VMOVDQU Y0, (R12)")
	}
	f.p(" ADDQ R8, R11\n ADDQ R9, R12\n DECQ CX\n JNZ rows")
}

// round converts the products of register i to integers and notes which are in doubt.
func (r requantFast) round(i int) {
	if r.v.width == 16 {
		r.f.p(" VCVTPS2DQ Z%d, Z%d\n VPTESTNMD Z20, Z%d, K%d", 4+i, i, i, 2+i)
		return
	}
	to := 4
	if i == 0 {
		to = 5
	}
	r.f.p(" VCVTPS2DQ Y4, Y%d\n VPAND Y10, Y%d, Y%d\n VPCMPEQD Y11, Y%d, Y%d", i, i, to, to, to)
	if i > 0 {
		r.f.p(" VPOR Y4, Y5, Y5")
	}
}

// pack branches if a code is in doubt and makes the four registers one of clamped codes.
func (r requantFast) pack() {
	if r.v.width == 16 {
		r.f.p(` KORW K3, K2, K6
 KORW K5, K4, K7
 KORTESTW K6, K7
 JNZ doubt
certain:
 VPERMT2W Z1, Z21, Z0
 VPERMT2W Z3, Z21, Z2
 VPACKSSWB Z2, Z0, Z0
 VPERMQ Z0, Z22, Z0
 VPMAXSB Z14, Z0, Z0
 VPMINSB Z15, Z0, Z0`)
		return
	}
	r.f.p(` VPTEST Y5, Y5
 JNZ doubt
certain:
 VPSRAD $16, Y0, Y0
 VPSRAD $16, Y1, Y1
 VPSRAD $16, Y2, Y2
 VPSRAD $16, Y3, Y3
 VPACKSSDW Y1, Y0, Y0
 VPACKSSDW Y3, Y2, Y2
 VPACKSSWB Y2, Y0, Y0
 VPERMD Y0, Y12, Y0
 VPMAXSB Y14, Y0, Y0
 VPMINSB Y15, Y0, Y0`)
}
