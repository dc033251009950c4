// Package kernel is the arithmetic under training and inference: portable Go, which is also the oracle, and SIMD assembly behind
// the same functions. Which of them runs is decided once, when the program starts, by what the processor can do (Class); building
// with the tag noasm leaves the assembly out.
//
// What there is:
//
//   - Gemm, Transpose; Im2col and Col2im of convolutions; DepthwiseForward, DepthwiseBackwardInput, DepthwiseBackwardWeights of any
//     stride, padding, dilation and multiplier; MaxPool, MaxPoolBackward.
//   - Passes over activations: BiasAct and, with int8 fake quantization and its observed range, BiasActQuant; their backward
//     BiasActBackward and BiasActQuantBackward; their parts FakeQuant, Clamp, ClampBackward, MinMax.
//   - AdamStep, SGDStep with a mask; AssignCodes; Axpy, MulAdd, Scale, SumSquares.
//   - int8, equal bit for bit to TensorFlow Lite's reference kernels: Int8Dense, Int8Conv, Int8Depthwise, packed once and run often;
//     Requantize and MultiplyByQuantized.
//
// Conventions. Values are float32 unless a name says otherwise. Images are [height, width, channels], row-major, one at a time;
// a micro-batch is images one after the other. Matrices are given by their strides in elements. Sizes are the caller's to get
// right: a slice too short panics. Functions allocate nothing once their Scratch has grown, and start no goroutines, so for one
// Class the result depends on the arguments alone.
//
// Classes differ in rounding (fused multiply-add, order of summation): floats agree to a relative error of about √k·2⁻²³ for sums
// of k products. Fake quantization, clamping and integer kernels agree exactly.
package kernel
