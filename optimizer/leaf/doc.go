// Package leaf makes the file that is deployed, and checks it. Emit writes the int8 form of a float model as package quantize planned it;
// Verify holds that file, run by the integer executor, against the network it was made from.
//
//	emitted, err := leaf.Emit(model, plan, params, weights)
//	agreement, err := leaf.Verify(ctx, emitted.Model, checks)                     // the invariants, on what was emitted
//	layers, err := leaf.SNR(ctx, model, plan, emitted, feed, samples)             // how well each tensor stands for the float one
//
// Integers and scales of a weight that a stage chose (clusters, zeros) are copied into the file, never derived again.
//
// # What agrees with what
//
// The float network with fake quantization attached rounds each result once; the reference kernels round twice (see slack), so
// that the two differ by one code here and there. Verify allows exactly that, operator by operator, and ties end to end.
package leaf
