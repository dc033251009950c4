//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

// hasVNNI reports whether VPDPBUSD may be used.
var hasVNNI bool

// Classes lists what this processor can run, best first.
func Classes() []string {
	x := &cpu.X86
	list := []string{"portable"}
	if x.HasAVX2 && x.HasFMA {
		list = append([]string{"avx2"}, list...)
		if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL {
			list = append([]string{"avx512"}, list...)
		}
	}
	return list
}

// Use makes one of Classes the class in use, with the best of its Integers.
func Use(class string) {
	Class, Width = class, map[string]int{"avx2": 8, "avx512": 16}[class]
	Masks = Width == 16
	UseIntegers(Integers()[0])
}

// Integers lists what the primitives on int8 may use in this class, best first: all give the same sums.
func Integers() []string {
	switch {
	case Width == 0:
		return []string{"portable"}
	case Width == 16 && cpu.X86.HasAVX512VNNI:
		return []string{"vnni", "avx2"}
	default:
		return []string{"avx2"}
	}
}

// UseIntegers makes one of Integers what is used.
func UseIntegers(name string) {
	IntVariant = name
	hasVNNI = name == "vnni"
	switch name {
	case "vnni":
		IntLanes, IntTaps, IntSize, IntXor = 16, 4, 1, 0x80
	case "avx2":
		IntLanes, IntTaps, IntSize, IntXor = 8, 2, 2, 0
	default:
		IntLanes, IntTaps, IntSize, IntXor = 0, 1, 1, 0
	}
	DenseTaps = IntTaps
}

// Panel is the number of columns of B that Gemm multiplies at once.
func Panel() int { return 2 * Width }

// MaxRows is the most rows of a tile over cols columns.
func MaxRows(cols int) int {
	switch {
	case Width == 16 && cols <= 16:
		return 24
	case Width == 8 && cols > 8:
		return 6
	default:
		return 12
	}
}

// The class of the primitives on int8: IntLanes sums in a register, each of the products of IntTaps neighbouring inputs of IntSize
// bytes; IntXor is what inputs are xored with to be as the primitives want them (unsigned for VNNI). GemmInt8 takes DenseTaps inputs
// a step.
var IntLanes, IntTaps, IntSize, IntXor, DenseTaps int

// IntSteps is the number of steps that Int8Args.Steps is a multiple of, RequantRows that of rows of a table of Requantize, and NEON
// says that the table is the one of that class.
const (
	IntSteps    = 1
	RequantRows = 11
	NEON        = false
)

// FastRequant says that there are RequantizeTall, RequantizeWide and AddCodes, HasSegments that GemmInt8 heeds Segments.
const (
	FastRequant = true
	HasSegments = true
)

// MaxIntRows is the most rows of a tile over a panel of one register of outputs, or two.
func MaxIntRows(registers int) int { return IntLanes * 3 / 2 / registers }

// WholeRegisters is the number of columns of B that Gemm reads at once, 1: no more than there are.
const WholeRegisters = 1

// Masks reports whether the primitives that take lanes honour them.
var Masks bool
