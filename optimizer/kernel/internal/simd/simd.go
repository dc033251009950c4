// Package simd is the assembly under package kernel: primitives on whole registers, for every class the processor may have, and
// the choice between them. Sizes are not checked here, pointers must reach as far as the sizes say, and a call runs to its end
// before the goroutine can be preempted: callers cut work into pieces of some ten microseconds.
package simd

//go:generate go run ../gen

import "unsafe"

// Width is the number of floats in a register of the class in use; 0 where there is none: then nothing here may be called.
var Width int

// Class names the class in use: portable, avx2, avx512 or neon.
var Class = "portable"

// IntVariant names what the primitives on int8 use, one of Integers.
var IntVariant = "portable"

const none = "package simd was called on a processor it has no assembly for"

// GemmArgs describe C (+)= A·B for Tiles blocks of Rows rows (at most MaxRows(Cols)) and one panel of Cols columns (at most
// Panel). A may be strided both ways; rows of B and C are contiguous. Strides are in bytes. K is at least 1. Tiles is counted down.
type GemmArgs struct {
	A, B, C     *float32
	RSA, CSA    int
	RSB, LDC    int
	K, Cols     int
	Rows, Tiles int
	Add         int // 0: C is overwritten
}

// RunsArgs describe Rows rows of Count runs of N bytes, N of any size, that are copied with Xor, eight equal bytes, exclusive-ored in.
// Steps are the bytes between runs, and between rows. Earlier runs are written first.
type RunsArgs struct {
	Dst, Src         unsafe.Pointer
	N, Count, Rows   int
	DstStep, SrcStep int
	DstRow, SrcRow   int
	Xor              uint64
}

// DepthwiseArgs describe a depthwise convolution of one block of Width channels; all offsets are in bytes. Pixels holds for every
// output pixel a pair: the offset of its first tap in X, and its own in Y.
//
// Depthwise computes Count groups of eight pixels, Y = Bias + Σ W·X or, with Add, Y += Σ W·X. Taps holds for each of TapCount taps
// a pair: its offset in X from a pixel's first, and in W. A pixel may be repeated within a group. Count is counted down.
//
// DepthwiseWeights adds Σ X·Y over Count pixels to W [9, Width]; Taps holds nine offsets in X.
type DepthwiseArgs struct {
	Y, X, W, Bias *float32
	Pixels, Taps  *int
	Count         int
	TapCount      int
	Add           int
}

// PoolArgs describe a run of Count output pixels of a pooling, Width channels (with AVX-512 only the first Lanes of them), windows
// of KH × KW taps inside the image. Steps in bytes: XStep between windows, YStep between output pixels, TapStep and RowStep
// between the taps of a window. DX is laid out as X, DY as Y.
type PoolArgs struct {
	Y, X, DY, DX     *float32
	Count            int
	XStep, YStep     int
	KH, KW           int
	TapStep, RowStep int
	Lanes            int
}

// Int8Args describe sums C = A·B for Tiles blocks of Rows rows (at most MaxIntRows) and one panel of Registers·IntLanes outputs, 1
// or 2 registers. A are inputs as the class wants them, LDA bytes a row; B weights [Steps, Registers·IntLanes, IntTaps] of IntSize
// bytes; C sums LDC bytes a row. Tiles is counted down. With HasSegments, A may lie in Segments pieces of Steps steps, Skip bytes from
// the end of one to the next; B goes on from one to the next.
type Int8Args struct {
	A, B        unsafe.Pointer
	C           *int32
	LDA, LDC    int
	Steps       int
	Rows, Tiles int
	Registers   int
	Segments    int
	Skip        int
	left        int // segments of a tile, counted down
}

// InterleaveArgs describe a dense image of Rows × Cols pixels, IntLanes groups a pixel: the group of a channel holds IntTaps inputs
// of IntSize bytes, of the pixel and those to its right. SrcCol and SrcRow are the bytes between pixels and rows of the int8 image
// Src, which can be read IntTaps pixels and 16 bytes beyond the last pixel.
type InterleaveArgs struct {
	Dst            unsafe.Pointer
	Src            *int8
	Cols, Rows     int
	SrcCol, SrcRow int
}

// DepthwiseInt8Args are DepthwiseArgs for groups of inputs: Y = Σ W·X, Count groups of eight pixels. Pixels holds pairs of offsets
// in X and Y, Taps offsets in X; W follows the taps, a register each.
type DepthwiseInt8Args struct {
	Y            *int32
	X, W         unsafe.Pointer
	Pixels, Taps *int
	Count        int
	TapCount     int
}

// RequantArgs describe Rows × Cols sums Acc, AccStep bytes a row (a multiple of IntLanes of them can be read), that become codes
// Dst, DstStep bytes a row. Table holds rows of IntLanes int32 for every IntLanes columns: RequantRows of them (see package kernel),
// for RequantizeReal four: bias, zero point, and multipliers in float64. Min and Max are repeated in every byte.
type RequantArgs struct {
	Dst      *int8
	Acc      *int32
	Table    *int32
	Rows     int
	Cols     int
	AccStep  int
	DstStep  int
	Min, Max uint64
}

// RequantFastArgs are RequantArgs for sums that become codes by one multiply-add in float32, in units of 2⁻¹⁶: four rows of a table,
// bias, multiplier, and what is added to sums from 0 on and to those below, with half a unit of the code and eight. Where what comes
// out has all of the bits 4 to 15 clear, rounding may have taken it across the border between two codes: RequantizeTall and
// RequantizeWide write a Doubt, and advance Doubts. Pack are the permutations by which four registers of integers become one of bytes.
type RequantFastArgs struct {
	Dst      *int8
	Acc      *int32
	Table    *int32
	Rows     int
	Cols     int
	AccStep  int
	DstStep  int
	Min, Max uint64
	Doubts   *Doubt
	Pack     unsafe.Pointer
}

// Doubt says which codes of four registers are in doubt, a bit each: of four rows (RequantizeTall), or four blocks of columns of a
// row. Rows and Cols are what was left.
type Doubt struct {
	Rows, Cols int32
	Masks      [4]uint16
}
