// Package search decides what a search tries next: pure, from the spec, what each layer tolerates and what every trial gave. A trial is an
// ordinary stage with rules by layer, so that the walk, the runner, the store and the status need not know of searches. The same input
// gives the same trials, and every plan begins with the one before it.
//
// One price of a bit, in error of the network's outputs, holds for all layers (Shoham and Gersho, Efficient bit allocation for an arbitrary
// set of quantizers, 1988): it comes as the entropy weight of each layer's codes, which brings about their zeros too. The search is for the
// highest price whose leaf meets what is asked of its answers. Training then is of very few codes: at a high price it moves weights where bits
// are cheap and not where answers are right. Where what is asked for falls only with fewer channels, it is before that for
// the largest share of these that can be taken out.
package search
