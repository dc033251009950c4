// Package integer runs emitted models: int8 inference bit for bit as TensorFlow Lite's reference kernels compute it, on files that
// may also hold float operators (QUANTIZE and DEQUANTIZE at the ends, operators kept in float, whole float models).
//
//	e, err := integer.Compile(model, 8)
//	e.SetInput(0, samples)                   // float, quantized as QUANTIZE does
//	err = e.Run()
//	logits := e.Output(0)                    // dequantized
//
// Compile resolves everything that does not depend on the input: multipliers, tables of the operators that map one code to
// another, sums of weights, and where each activation lies in memory. Run allocates nothing. An Executor belongs to one goroutine
// at a time; Clone makes another on the same constants.
//
// # Arithmetic
//
// Quantization is the specification's: activations int8 per tensor, weights int8 per output channel or per tensor, biases int32.
// A file with uint8 activations is converted first (tflite.Normalise), which changes no value. Accumulators are 32 bits wide and
// wrap. Every rescaling is a 31-bit multiplier with double rounding (type multiplier), which is what the reference kernels do when
// not built for single rounding; XNNPACK differs from them by one unit in the last place now and then. Scale arithmetic at compile
// time is in the width the kernels use, float32 or float64, every intermediate result rounded explicitly so that no compiler
// may fuse it.
//
// Each operator is in a file of its own, with its arithmetic in one readable loop. CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED
// also have a fast path by package kernel, which gives the same codes. Option Reference keeps to the loops, which are its oracle.
//
// FULLY_CONNECTED alone rescales by a float64 product rounded once: so does its reference kernel in LiteRT 2. TensorFlow Lite Micro's
// does not: option TFLM computes as that does.
//
// Activations may be int16 too, symmetric, with int8 weights and biases of 64 or 32 bits (16×8). Sums are then 64 bits wide and rescaled
// by a 15-bit multiplier rounded once; functions are tables of straight pieces. These kernels have no fast path.
//
// # Memory
//
// Activations share one arena, planned as LiteRT's arena planner does: largest first, each at the best fitting gap between those
// alive at the same time, aligned to 16 bytes; inputs and outputs live throughout. ArenaBytes is its size for one sample: what a
// device needs for activations, without the interpreter's own structures and without the working memory of the fast paths, which
// is of this machine, not of the device.
package integer
