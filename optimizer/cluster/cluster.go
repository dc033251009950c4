package cluster

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/weight"
)

// Options say how a tensor is clustered.
type Options struct {
	// Clusters is the most distinct values, zero included: of the tensor, or with scope Channel of each output channel.
	Clusters int
	// Scope says what shares codes and scales; empty means Shared.
	Scope weight.Scope
	// Scales is how many a tensor has with scope Shared, as weight.ScaleIndex has them; 0: one per output channel.
	Scales int
	// Entropy is how dear bits are: 0 ignores them, 1 asks that a bit saved be worth the error a good quantizer trades for it.
	// See Lambda.
	Entropy float64
	// Sensitivity, optional, is by weight the mean squared gradient of the loss (the diagonal of the Fisher information): errors
	// count in proportion to it. nil: errors count relative to the energy of their output channel.
	Sensitivity []float32
}

// DefaultEntropy is the Entropy of a pipeline that does not say otherwise.
const DefaultEntropy = 1

// Lambda converts Options.Entropy into the price of one bit, given the squared error per weight that the codes leave without
// prices. One bit more divides the error of a good quantizer by 4, so at that point the error's derivative by bits is 2·ln 2 times
// the error: entropy 1 goes on saving bits as long as that costs no more.
func Lambda(entropy, squares float64) float64 { return entropy * 2 * math.Ln2 * squares }

// Result is what clustering did to a tensor.
type Result struct {
	Codes int     // that weights may have, zero of the mask included; with scope Channel the most of any channel
	SNR   float64 // of the clustered weights against the given ones, in dB
	Bits  float64 // entropy of a weight's code, in bits, zeros of the mask included
}

// Apply clusters a float tensor in place, its mask kept: it chooses codes and scales and hands them to the tensor, whose weights
// take the codes they belong to.
func Apply(t *weight.Tensor, o Options) (Result, error) {
	if o.Scope == "" {
		o.Scope = weight.Shared
	}
	p, err := newProblem(t, o)
	if err != nil {
		return Result{}, fmt.Errorf("clustering weights %q: %w", t.Name, err)
	}
	before := t.Values()
	if err := p.solve(); err != nil {
		return Result{}, fmt.Errorf("clustering weights %q: %w", t.Name, err)
	}
	scale, books, err := p.codebooks()
	if err != nil {
		return Result{}, fmt.Errorf("clustering weights %q: %w", t.Name, err)
	}
	if err := t.SetCodebooks(scale, books); err != nil {
		return Result{}, fmt.Errorf("clustering: %w", err)
	}
	return ResultOf(t, before), nil
}

// check reports options that do not fit the tensor.
func (o Options) check(t *weight.Tensor) error {
	least := 1
	if t.Mask != nil {
		least = 2 // zero and one more
	}
	switch {
	case t.Scale != nil:
		return fmt.Errorf("already quantized or clustered")
	case o.Clusters < least || o.Clusters > 2*weight.MaxCode+1:
		return fmt.Errorf("%d clusters; possible are %d to %d", o.Clusters, least, 2*weight.MaxCode+1)
	case o.Scope != weight.Shared && o.Scope != weight.PerTensor && o.Scope != weight.PerChannel:
		return fmt.Errorf("scope %q is none of %s, %s, %s", o.Scope, weight.Shared, weight.PerTensor, weight.PerChannel)
	case o.Scales < 0 || o.Scales > 0 && t.Shape[t.Axis]%o.Scales != 0:
		return fmt.Errorf("%d scales for %d output channels", o.Scales, t.Shape[t.Axis])
	case !(o.Entropy >= 0) || math.IsInf(o.Entropy, 0):
		return fmt.Errorf("entropy %v is negative or not finite", o.Entropy)
	case o.Sensitivity != nil && len(o.Sensitivity) != t.Len():
		return fmt.Errorf("%d sensitivities for %d weights", len(o.Sensitivity), t.Len())
	}
	for i, s := range o.Sensitivity {
		if !(s >= 0) || math.IsInf(float64(s), 0) {
			return fmt.Errorf("sensitivity %d is %v, negative or not finite", i, s)
		}
	}
	return nil
}

// ResultOf measures a clustered tensor against the weights it had.
func ResultOf(t *weight.Tensor, before []float32) Result {
	r := Result{Codes: t.State().Clusters, SNR: weight.SNR(before, t.Values())}
	codes := make([]int8, t.Len())
	if t.Codes(codes) != nil { // cannot be: it was just clustered
		return r
	}
	sets := len(t.Codebooks)
	count := make([][256]int, sets)
	total := make([]int, sets)
	inner := 1
	for _, d := range t.Shape[t.Axis+1:] {
		inner *= d
	}
	for i, q := range codes {
		set := min(i/inner%t.Shape[t.Axis], sets-1)
		count[set][uint8(q)]++
		total[set]++
	}
	for set := range count {
		for _, n := range count[set] {
			if n > 0 {
				r.Bits += float64(n) * math.Log2(float64(total[set])/float64(n))
			}
		}
	}
	r.Bits /= float64(len(codes))
	return r
}
