//go:build !noasm

package simd

import "golang.org/x/sys/cpu"

var hasDotProduct, hasI8MM bool

// Classes lists what this processor can run, best first. Every arm64 processor has NEON; dot products and matrix products of int8
// give the same sums, so they are no classes of their own.
func Classes() []string { return []string{"neon", "portable"} }

// Use makes one of Classes the class in use, with the best of its Integers.
func Use(class string) {
	Class, Width = class, 0
	if class == "neon" {
		Width = 8
	}
	UseIntegers(Integers()[0])
}

// Integers lists what the primitives on int8 may use in this class, best first: all give the same sums.
func Integers() []string {
	list := []string{"neon"}
	if Width == 0 {
		return []string{"portable"}
	}
	if cpu.ARM64.HasASIMDDP {
		list = append([]string{"dotprod"}, list...)
		if cpu.ARM64.HasI8MM {
			list = append([]string{"i8mm"}, list...)
		}
	}
	return list
}

// UseIntegers makes one of Integers what is used.
func UseIntegers(name string) {
	IntVariant = name
	hasI8MM, hasDotProduct = name == "i8mm", name == "i8mm" || name == "dotprod"
	IntLanes, IntTaps, IntSize, IntXor, DenseTaps, IntSteps = 8, 4, 1, 0, 4, 4
	switch name {
	case "portable":
		IntLanes, IntTaps, DenseTaps, IntSteps = 0, 1, 1, 1
	case "i8mm":
		DenseTaps, IntSteps = 8, 2
	}
}

// Panel is the number of columns of B that Gemm multiplies at once.
func Panel() int { return 12 }

// MaxRows is the most rows of a tile over cols columns.
func MaxRows(int) int { return 8 }

// WholeRegisters reports whether Gemm reads whole registers of B, of four columns.
const WholeRegisters = 4

// Masks reports whether the primitives that take lanes honour them.
const Masks = false

// The class of the primitives on int8: IntLanes sums in a register, each of the products of IntTaps neighbouring inputs of IntSize
// bytes; IntXor is what inputs are xored with to be as the primitives want them. GemmInt8 takes DenseTaps inputs a step, and
// IntSteps steps or a multiple.
var IntLanes, IntTaps, IntSize, IntXor, DenseTaps, IntSteps int

// RequantRows is the number of rows of a table of Requantize, and NEON says that the table is the one of that class.
const (
	RequantRows = 5
	NEON        = true
)

// FastRequant says that there are RequantizeTall, RequantizeWide and AddCodes, HasSegments that GemmInt8 heeds Segments.
const (
	FastRequant = false
	HasSegments = false
)

// MaxIntRows is the most rows of a tile over a panel of one register of outputs, or two.
func MaxIntRows(registers int) int {
	if hasDotProduct || hasI8MM {
		return 8 / registers
	}
	return 4 / registers
}
