// Package reconstruct makes weights that are pruned, clustered or quantized give their layer's outputs as nearly as they can, without
// training and without labels: layer-wise reconstruction by second moments.
//
// For a layer with inputs x of the compressed network and outputs y of the network it was made from, both over some samples, the error
// of weights w is E[(y − w·x)²] = wᵀHw − 2gᵀw + E[y²], with the moments H = E[x xᵀ] and g = E[y x] (Observe). A constant 1 among the
// inputs makes the bias one of the weights, so that the mean error of an output always ends up in it. A Problem is that quadratic
// form; what it does with it:
//
//   - Prune chooses which weights become zero by what that costs once the others are refitted, and refits them: optimal brain
//     surgeon (Hassibi and Stork 1993; by layers, Frantar and Alistarh, arXiv 2208.11580).
//   - Assign gives every weight one of the values it may have, one after the other, each with the error of those before it in view:
//     GPTQ (arXiv 2210.17323), which is Babai's nearest plane on the factor of H; coordinate descent ends it.
//
// A layer of so many inputs that this would take too long, or too much memory, is split: each Part of its inputs then meets what it was to
// the outputs (Layer.Split).
//
// Everything is deterministic, whatever the number of processors.
package reconstruct
