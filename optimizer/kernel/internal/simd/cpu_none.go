//go:build noasm || !(amd64 || arm64)

package simd

// The class of the primitives on int8: none.
var IntLanes, IntTaps, IntSize, IntXor, DenseTaps = 0, 1, 1, 0, 1

// What the class of the primitives on int8 is like: there is none.
const (
	IntSteps    = 1
	RequantRows = 11
	NEON        = false
)

// FastRequant says that there are RequantizeTall, RequantizeWide and AddCodes, HasSegments that GemmInt8 heeds Segments.
const (
	FastRequant = false
	HasSegments = false
)

// MaxIntRows is the most rows of a tile over a panel of one register of outputs, or two.
func MaxIntRows(int) int { panic(none) }

// Classes lists what this processor can run.
func Classes() []string { return []string{"portable"} }

// Use makes one of Classes the class in use.
func Use(string) {}

// Integers lists what the primitives on int8 may use.
func Integers() []string { return []string{"portable"} }

// UseIntegers makes one of Integers what is used.
func UseIntegers(string) {}

// Panel is the number of columns of B that Gemm multiplies at once.
func Panel() int { panic(none) }

// MaxRows is the most rows of a tile over cols columns.
func MaxRows(int) int { panic(none) }

// WholeRegisters is the number of columns of B that Gemm reads at once.
const WholeRegisters = 1

// Masks reports whether the primitives that take lanes honour them.
const Masks = false
