// Package ir is the parsed view of a model's primary subgraph: what package float trains, package quantize plans and package
// integer runs.
//
// Parse turns the generated object tree into a Graph: tensors with their shapes, constants and quantization, and nodes in
// execution order whose Attr holds the operator's attributes with everything resolved that can be: padding in pixels, axes
// counted from the front, slices as begin, stride and count, broadcasting as strides. An operator this package does not know is a
// Node with a nil Attr; its outputs have the shapes the file says.
//
// # Batch
//
// A graph is parsed for a batch size, usually not the file's. A tensor is batched if its memory is that of the samples one
// after the other: its leading dimension is a multiple of the batch and no operator before it mixed samples. Parse proves this
// operator by operator, starting from the model's inputs; where it cannot, it returns a BatchError that names the operator, and
// callers use the file's batch (0). Reshapes whose constant target has the file's batch in it, and shapes computed by
// SHAPE → STRIDED_SLICE → PACK as Keras emits them, are followed: integer arithmetic on shapes is folded into constants.
//
// Invariants of a Graph that Parse returned: every node reads only inputs, constants and outputs of earlier nodes; every shape
// has at most 8 dimensions and fewer than 2³¹ elements; a constant's data has the length its type and shape say.
package ir
