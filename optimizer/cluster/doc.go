// Package cluster chooses the codes of weights: at most N integers that a tensor's weights, divided by a scale per output
// channel, are snapped to.
//
// Codes are chosen for the file that ships. Plain k-means evens the clusters out, which is the opposite of what a compressor
// wants; so the cost of a cluster of n of N weights is its squared error plus λ·n·log₂(N/n), the bits an entropy coder spends on
// it (entropy-constrained scalar quantization: Chou, Lookabaugh, Gray, IEEE Trans. ASSP 37, 1989). Clusters of numbers are
// intervals, so the optimum is found exactly by dynamic programming (Solve).
//
// Apply clusters a weight.Tensor: it alternates between the codes and the scales (least squares), fixes the gauge (the largest
// code is 127; the codes of small layers are multiples of one step, so that a compressor finds the same symbols in all of them) and
// hands the tensor codebooks that keep the price of a bit while they train.
//
// Invariant: no more than N distinct values, zero of a mask included; a mask's zeros stay zero and no survivor becomes zero.
package cluster
