package ir

import "math"

// Activation is a fused activation function: a clamp.
type Activation uint8

// The fused activations that are supported.
const (
	None Activation = iota
	Relu
	ReluN1To1
	Relu6
)

// Bounds returns the range a real value is clamped to, infinite where there is no bound.
func (a Activation) Bounds() (lo, hi float32) {
	inf := float32(math.Inf(1))
	switch a {
	case Relu:
		return 0, inf
	case ReluN1To1:
		return -1, 1
	case Relu6:
		return 0, 6
	default:
		return -inf, inf
	}
}

// Window is the geometry of a convolution or pool over the two middle dimensions of NHWC: output pixel (y, x) reads input pixels
// (y·StrideH − PadTop + DilationH·i, x·StrideW − PadLeft + DilationW·j) for i < KH, j < KW, those that lie inside.
type Window struct {
	KH, KW               int // kernel
	StrideH, StrideW     int
	DilationH, DilationW int
	PadTop, PadLeft      int // pixels, as TensorFlow Lite computes them: an odd one goes to the bottom and the right
	PadBottom, PadRight  int
	InH, InW             int
	OutH, OutW           int
}

// Conv is the attribute of CONV_2D (weights [out, KH, KW, in]; where in is a divisor of the input's channels, the convolution is
// grouped) and DEPTHWISE_CONV_2D (weights [1, KH, KW, in·DepthMultiplier], output channel c reads input channel c/DepthMultiplier).
// Inputs: x, weights, bias or none.
type Conv struct {
	Window
	Act             Activation
	Depthwise       bool
	DepthMultiplier int // depthwise only
	Groups          int // 1 unless grouped; not depthwise
}

// TransposeConv is the attribute of TRANSPOSE_CONV. Inputs: output shape, weights [out, KH, KW, in], x, bias or none. Window is
// as the operator sees it (In: x, Out: its output) but padded as the convolution that leads back from Out to In: input pixel
// (y, x) adds to output pixels (y·StrideH − PadTop + i, x·StrideW − PadLeft + j), those that lie inside.
type TransposeConv struct {
	Window
	Act Activation
}

// FullyConnected is the attribute of FULLY_CONNECTED. Inputs: x read as rows of In, weights [Out, In], bias or none.
type FullyConnected struct {
	Act           Activation
	KeepDims      bool
	Rows, In, Out int
}

// Pool is the attribute of AVERAGE_POOL_2D, MAX_POOL_2D and L2_POOL_2D. Padding takes no part in average or maximum.
type Pool struct {
	Window
	Act Activation
}

// Broadcast says how two operands combine element by element. Shape is the output's with neighbouring dimensions merged where
// both operands allow it; A and B are the operands' strides in elements along each, 0 where the operand repeats.
type Broadcast struct {
	Shape, A, B []int
}

// Same reports whether no operand repeats: element i of the output comes from elements i.
func (b Broadcast) Same() bool {
	return len(b.Shape) == 0 || len(b.Shape) == 1 && b.A[0] == 1 && b.B[0] == 1
}

// Binary is the attribute of ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, SQUARED_DIFFERENCE and PRELU (inputs: x, alpha).
type Binary struct {
	Broadcast
	Act Activation
	// PowersOfTwo says of an ADD or SUB of int16 that scales that are powers of two are shifts.
	PowersOfTwo bool
}

// SequenceLSTM is the attribute of UNIDIRECTIONAL_SEQUENCE_LSTM.
type SequenceLSTM struct {
	TimeMajor   bool
	CellClip    float32
	Hidden      int    // of int8: the tensor that says how what leaves the cell is quantized, −1: none
	Unsupported string // of int8: why it does not run, ""
}

// SequenceRNN is the attribute of UNIDIRECTIONAL_SEQUENCE_RNN.
type SequenceRNN struct{ TimeMajor bool }

// SVDF is the attribute of SVDF: Rank filters make a unit.
type SVDF struct {
	Rank int
	Act  Activation
}

// Concat is the attribute of CONCATENATION.
type Concat struct {
	Axis int
	Act  Activation
}

// AddN is the attribute of ADD_N.
type AddN struct{}

// Select is the attribute of SELECT and SELECT_V2: where Condition is true the element of A, else that of B. Shape is the output's;
// the others are the inputs' strides in elements along each dimension, 0 where the input repeats.
type Select struct {
	Shape, Condition, A, B []int
}

// Cumsum is the attribute of CUMSUM. Exclusive sums leave the element itself out; reverse ones begin at the end.
type Cumsum struct {
	Axis               int
	Exclusive, Reverse bool
}

// Repeat is the attribute of TILE and BROADCAST_TO: Shape and Strides are those of the output, seen as dimensions along which the
// input advances by Strides elements, 0 where it is repeated.
type Repeat struct {
	Shape, Strides []int
}

// OneHot is the attribute of ONE_HOT. Inputs: ids, depth, value where on, value where off.
type OneHot struct {
	Axis, Depth int
}

// TopK is the attribute of TOPK_V2: the K largest of every row of Size, and where they are.
type TopK struct{ Size, K int }

// GatherND is the attribute of GATHER_ND: pieces of Piece elements at places that count along Dims.
type GatherND struct {
	Dims  []int
	Piece int
}

// ScatterND is the attribute of SCATTER_ND: pieces of Piece elements added at places that count along Dims of the output.
type ScatterND struct {
	Dims  []int
	Piece int
}

// SegmentSum is the attribute of SEGMENT_SUM: piece i of Piece elements is added to that of IDs[i] of the output.
type SegmentSum struct {
	IDs   []int
	Piece int
}

// CallOnce is the attribute of CALL_ONCE: what variables hold before the first call, by name.
type CallOnce struct{ Values map[string][]byte }

// VarHandle is the attribute of VAR_HANDLE, which stands for a variable.
type VarHandle struct{ Name string }

// Variable is the attribute of READ_VARIABLE and ASSIGN_VARIABLE.
type Variable struct{ Name string }

// RFFT2D is the attribute of RFFT2D: planes of InH rows of InW numbers, cut or filled with zeros to H rows of W, both powers of two,
// become H rows of W/2+1 complex numbers.
type RFFT2D struct{ InH, InW, H, W int }

// Conv3D is the attribute of CONV_3D: x [batch, depth, height, width, channels], weights [KD, KH, KW, in, out]. Output (z, y, x) reads
// input (z·Stride[0] − Pad[0] + Dilation[0]·i, …).
type Conv3D struct {
	In, Out, Kernel, Stride, Dilation, Pad [3]int
	Channels, Outputs                      int
	Act                                    Activation
}

// Reduce is the attribute of MEAN, SUM and REDUCE_MAX, _MIN, _PROD, _ANY and _ALL. Axes are sorted and distinct.
type Reduce struct {
	Axes     []int
	KeepDims bool
}

// Pad is the attribute of PAD and PADV2: elements added before and after each dimension, of value zero (quantized: the zero
// point) or that of tensor Value.
type Pad struct {
	Before, After []int
	Value         int // tensor index, -1 for zero
}

// MirrorPad is the attribute of MIRROR_PAD. Symmetric repeats the border element, otherwise it is the mirror (reflect).
type MirrorPad struct {
	Before, After []int
	Symmetric     bool
}

// StridedSlice is the attribute of STRIDED_SLICE and SLICE: along each input dimension, Count elements from Begin in steps of
// Stride (which may be negative). Shrink marks dimensions (of one element) that the output does not have.
type StridedSlice struct {
	Begin, Stride, Count []int
	Shrink               []bool
}

// Softmax is the attribute of SOFTMAX (over the last dimension) and of LOG_SOFTMAX, where Beta is 1.
type Softmax struct{ Beta float32 }

// LeakyRelu is the attribute of LEAKY_RELU.
type LeakyRelu struct{ Alpha float32 }

// Gelu is the attribute of GELU. Approximate is the formula with tanh.
type Gelu struct{ Approximate bool }

// Transpose is the attribute of TRANSPOSE: output dimension i is input dimension Perm[i].
type Transpose struct{ Perm []int }

// Reverse is the attribute of REVERSE_V2. Axes are sorted and distinct.
type Reverse struct{ Axes []int }

// Resize is the attribute of RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR over the two middle dimensions of NHWC.
type Resize struct{ AlignCorners, HalfPixel bool }

// Split is the attribute of SPLIT (inputs: axis, x) and SPLIT_V (inputs: x, sizes, axis).
type Split struct {
	Axis, Num int
	Sizes     []int // extent of each output along Axis
	Data      int   // which input is x
}

// Pack is the attribute of PACK: inputs of one shape stacked along a new dimension Axis.
type Pack struct{ Axis int }

// Unpack is the attribute of UNPACK, the inverse of PACK.
type Unpack struct{ Axis, Num int }

// Gather is the attribute of GATHER. Inputs: x, indices.
type Gather struct{ Axis, BatchDims int }

// BatchMatMul is the attribute of BATCH_MATMUL: over the last two dimensions, [M, K]·[K, N]; Adj operands are transposed.
// Leading dimensions broadcast.
type BatchMatMul struct {
	AdjX, AdjY bool
	M, K, N    int
	Broadcast  // of the leading dimensions; strides in matrices
}

// BlockSize is the attribute of DEPTH_TO_SPACE and SPACE_TO_DEPTH.
type BlockSize int

// ArgReduce is the attribute of ARG_MAX and ARG_MIN.
type ArgReduce struct{ Axis int }

// Reshape is the attribute of RESHAPE, SQUEEZE and EXPAND_DIMS: data as it is under another shape.
type Reshape struct{}

// ShapeOf is the attribute of SHAPE and RANK, which Parse always folds.
type ShapeOf struct{}

// L2Norm is the attribute of L2_NORMALIZATION, over the last dimension.
type L2Norm struct{ Act Activation }

// Unary is the attribute of operators that treat every element alike and have no parameters: RELU, RELU6, RELU_N1_TO_1,
// RELU_0_TO_1, LOGISTIC, TANH, HARD_SWISH, ELU, ABS, NEG, SQRT, RSQRT, EXP, LOG, SQUARE, SIN, COS, FLOOR, CEIL, ROUND, SIGN,
// LOGICAL_NOT, COMPLEX_ABS, REAL, IMAG, QUANTIZE, DEQUANTIZE.
type Unary struct{}

// Multiplier is an attribute of an operator that multiplies by weights or matrices.
type Multiplier interface {
	// Multiplications of a node of g, at the graph's batch; biases aside.
	Multiplications(g *Graph, n *Node) int64
}
