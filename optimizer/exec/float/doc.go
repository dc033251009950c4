// Package float makes a float TensorFlow Lite model executable: forward, and backward for training.
//
// Compile parses a model into a Network: the operators, the Params that may be trained and, after quantization has been
// planned, the fake quantization of every activation (Network.Act). An Exec is what one worker needs to run it: all memory is
// planned by NewExec, and no step allocates afterwards.
//
//	net, err := graph.Compile(model, 0)       // 0: a micro-batch that stays in the L2 cache
//	e, err := net.NewExec(true)
//	g := net.NewGrads()
//	for each step {
//		net.Refresh()                         // Param.Value changed: derive what depends on it, once
//		for each micro-batch {
//			e.SetBatch(k); e.SetInput(0, x)   // k ≤ net.MicroBatch samples
//			e.Forward()
//			fill(e.LossGrad(net.LossTensor(0)), e.Tensor(net.LossTensor(0)))
//			e.Backward(g)                     // adds to g
//		}
//	}
//
// A Network is shared by all workers and read-only while they run; an Exec belongs to one goroutine at a time.
//
// Values are float32, rows of channels in NHWC order as in the file. Convolutions are matrix products: 1×1 kernels directly on
// the activations, larger ones on strips of im2col that fit the cache. Weights are kept as the file has them, [outputs, taps],
// which is what the gradient of the input wants, and transposed, which is what the forward pass wants.
//
// Fake quantization follows TensorFlow Lite's integer kernels: the value an operator computes, after its activation, becomes
// Scale·(round(x/Scale)+ZeroPoint clamped to the codes − ZeroPoint), halves away from zero. Operators that only move values
// pass them on when input and output share one ActQuant. Operators whose integer kernel rounds differently (average pooling,
// bilinear resizing: the mean of the codes themselves; hard-swish: 16-bit fixed point) do as it does.
//
// The gradient passes the rounding straight through and stops where a value was clipped. Gradients with respect to scale and
// zero point are those of LSQ+ (Bhalgat et al., arXiv 2004.09576).
package float
