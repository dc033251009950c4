// Package weight holds the one parametrization of a weight tensor that every technique is a setting of:
//
//	w = mask · scale · code
//
// A trainable weight is a latent snapped to a code set (integers in [−127, 127], of int4 weights in [−7, 7]) times a scale, with an
// optional zero mask applied last. What is set decides the technique:
//
//	                      Mask        Scale                Codebooks
//	float                 –           –                    –
//	pruning               chosen      –                    –
//	QAT, PQAT             –, kept     per output channel   – (all 255 codes)
//	clustering, CQAT      –           per output channel   at most N codes
//	PCQAT                 kept        kept                 at most N codes, zero one of them
//
// A Tensor materializes effective weights for the forward pass, takes their gradient back to its trainables (straight through
// to latents, summed to the centers of codes, LSQ for scales), and after every optimizer step Project restores what must hold:
// masked weights are zero, codes are sorted, distinct after rounding and within ±127 or ±7, every weight belongs to a rounded code.
// Codes returns the very integers that go into the file, so a promise cannot be lost between training and file.
//
// Invariant (Check, CheckCodes): every masked code is 0; no survivor of a codebook is 0 where the mask holds the zeros; a
// codebook of N codes emits at most N distinct integers, zero of the mask included.
//
// A State is what a float file between two stages holds: which weights are pruned, and the scales and codes of clustered ones.
// It is exact in the metadata entry "espalier.weights" (WriteState, ReadState) and recognised in foreign files (Recognise).
package weight
