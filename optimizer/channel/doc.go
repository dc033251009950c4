// Package channel cuts whole channels out of a network.
//
// A channel goes from the filter that makes it through pools, activations and additions to all that read it, so that channels hang
// together: those of two branches that are added, those a depthwise convolution reads and makes, the same place of every group of a grouped
// convolution, a channel and the rows of a dense layer behind a flatten. Couple finds what hangs together, by going through the operators
// once with a unit for every channel: operators unite units, and fix those that cannot go, such as the network's outputs. A Group is the units
// that the same weights make. Cut takes units out of all tensors and parameters at once.
//
// The invariant: a network that is cut computes what it computed before with the removed channels left out of every sum, and its inputs and
// outputs are as they were.
package channel
