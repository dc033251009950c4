// Package stream is about networks that keep state from call to call: what a wake word's network remembers of the frames before.
//
// Open reads such a network as a Step, in which every state is an input and an output beside the others, whether the file keeps it in
// variables (VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE), in the memory of a float SVDF, or names pairs of inputs and outputs (tflite.SetStates). Unroll lays
// as many steps one behind the other as samples have: an ordinary network of whole sequences, that anything can train, calibrate,
// run and check, with weights that stay one tensor. Close gives a Step that became int8 its variables back.
//
// Invariant: a Step run over a sequence, state handed on, gives at the end of it what the unrolled network gives, bit for bit.
package stream
