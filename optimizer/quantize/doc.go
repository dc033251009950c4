// Package quantize decides how a float model becomes an int8 one by the rules of TensorFlow Lite's 8-bit quantization specification
// (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec), and turns an int8 model back into a
// float one whose activation ranges are kept. Package leaf writes the file.
//
// The steps, each usable alone:
//
//	plan, err := quantize.NewPlan(graph, options)             // pure: which tensors become int8 and which share a quantization
//	found, err := quantize.Calibrate(ctx, network, plan, calibration, feed, samples)
//	params := plan.Params(found.Ranges)                       // a scale and a zero point for every group
//	acts, err := plan.Attach(network, params)                 // for QAT: fake quantization, whose ranges training moves
//	weights, notes, err := plan.Integers(model, params, nil)  // the integers of every layer
//
// ImportInt8 goes the other way.
//
// # Arithmetic
//
// An activation is real = scale·(q − zero point) with q in [−128, 127], asymmetric, and 0 is always exactly
// representable. A weight is real = scale[channel]·q with q in [−127, 127]. A bias is int32 with scale input·weight[channel].
// Rounding is half away from zero, as in the reference kernels. Only where a bias would not fit int32 a channel's scale is
// raised, which a note says.
package quantize
