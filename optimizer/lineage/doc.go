// Package lineage is how a network becomes another, step by step, with no step undoing the step before.
//
// A Network is a value that never changes: a float model with what its weights are held to (zeros, clusters), and, where the
// pipeline's own network was int8, its integers, activation ranges and the operators it computes in float. Read makes the first one,
// the original; a Technique makes a Network of a Network. Tensors of a lineage are linked by ID, whatever their index in a file.
//
// A Run holds what techniques work with: samples, how to train, how leaves are made. Its Apply applies a technique and makes the leaf,
// checked against what was promised; its Baseline makes the leaf of a network as it is.
//
// A technique is registered by its Kind, over which stages, reports and benchmarks go: Kinds lists them.
package lineage
