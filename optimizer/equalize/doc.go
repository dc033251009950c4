// Package equalize scales channels of a float network so that quantization has less to lose, and leaves what the network computes as it
// was: cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721) for kernels that have a scale per output channel.
//
// A channel that is multiplied by s where it is made, in weights and biases, and divided by s where it is read, is the same channel as long
// as everything in between is positively homogeneous, f(s·x) = s·f(x), as RELU, pools, additions and concatenations are. Find goes through
// the operators once and gives every channel a unit; operators pass units on, unite them, as an addition does, or fix them, as a LOGISTIC
// and the network's inputs and outputs do. RELU6 is homogeneous up to its bound alone: channels that reach 6 stay, others are made no
// larger than it (Bounds).
//
// With a scale per output channel the weights that make a channel never lose by its size; what does is the activation, of which all channels
// share one scale, and the weights that read it, of which all inputs share one. Factors trade one against the other; a depthwise
// convolution reads every channel with a scale of its own, so that its input is free to have all channels of one size.
//
// Everything is deterministic. A network's operators and shapes stay; only constants change.
package equalize
