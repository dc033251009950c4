package leaf

import (
	"context"
	"fmt"

	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// Checks configure Verify.
type Checks struct {
	// Promises are, by tensor index of the leaf, what stages promised of its weights: zeros and clusters.
	Promises map[int]weight.State
	// Shapes are, by tensor index of the leaf, what is left of weights after channels were cut, and what inputs and outputs always are.
	Shapes map[int][]int
	// Feed and Samples are inputs to run the leaf and its simulation on; without samples only the promises are checked.
	Feed    quantize.Feed
	Samples int
	// Classifier asks that the class, the largest element of the first output, agree end to end.
	Classifier bool
	// Simulation is the network that the leaf was emitted from, with the arithmetic it should compute with (Plan.Simulate): the leaf
	// has to agree with it end to end. Place says where in the leaf its tensors are, None for those that are not. Without a
	// Simulation it is made from the leaf itself, which shows no more than that the leaf's operators agree with each other.
	Simulation *float.Network
	Place      []int
	// Float is the network without quantization. How far the Simulation is from it says how much of a rounding error the network itself
	// makes: a leaf may be as far from the simulation. Without it every network is held to the same bound.
	Float *float.Network
}

// The invariants of an emitted file.
const (
	// minEqual is the least share of an operator's values that are the simulation's; the others are off by one code.
	minEqual = 0.999
	// minTopOne is the least share of samples in which the leaf chooses the simulation's class; of a few samples one may differ.
	minTopOne = 0.995
	// tie is how many codes below the simulation's best score a class may be and still count as its choice: what the kernels'
	// double rounding of all layers together moves a score by. Published int8 models differ from a simulation that rounds once
	// in up to 1 % of their decisions, all of them ties. Where that noise is larger, as in deep networks, so are ties: two scores
	// are told apart if they differ by tieNoise times it, but by maxTie codes, a thirtieth of the range, in any case.
	tie, tieNoise, maxTie = 2, 4, 8
	// maxNoise is the most that an output, or the class scores, may be from the simulation's on average, in codes. In deep networks one
	// code of rounding in an early layer may be many at the end; there it is maxShare times what quantization itself makes of the
	// result, the distance between simulation and float network.
	maxNoise, maxShare = 4, 2
	// sampling is how much less often than simulation and float network leaf and simulation may agree in so few samples.
	sampling = 0.05
)

// Verification says how far an emitted leaf and its float simulation agree.
type Verification struct {
	Operators []Agreement
	// TopOne is the share of samples in which the leaf's class is the simulation's or within a tie of it, Strict that in which it
	// is the very same; both 1 if not asked for.
	TopOne, Strict float64
	// Noise is the largest root mean square difference between an output of the leaf, or its class scores, and the simulation's, in
	// codes; NoiseOf names it.
	Noise   float64
	NoiseOf string
	// Quantization is that result's root mean square difference between the simulation and the float network, in codes; 0 if not known.
	Quantization float64
	// FloatTopOne is the share of samples in which the simulation's class is the float network's; 1 if not known.
	FloatTopOne float64
	// Samples is how many were compared.
	Samples int
}

// Agreement compares one operator's int8 result with the simulation's, both computed from the integers before it.
type Agreement struct {
	Node   int
	Name   string // the output tensor's
	Op     string
	Values int64
	// Differ counts values that differ from the simulation's rounded to the nearest code. The reference kernels round twice, to a
	// binary fraction of a code and then to a code, so some do in every layer.
	Differ int64
	// Off counts values that no rounding of the simulation's gives: those further from it than half a code plus half of the
	// fraction the kernel rounds to first (see slack).
	Off   int64
	Worst int // largest difference in codes
}

// Verify checks the invariants of an emitted leaf: masked codes are 0 and distinct codes within what was promised; every int8
// operator, fed what the integer executor computed before it, gives the float simulation's result, rounded, in 99.9 % of its
// values and within one code in all; end to end its outputs are within four codes of the simulation's on average, or twice as far as those
// are from the float network's, and it chooses the simulation's class, ties apart, in 99.5 % of the samples, or as often as that chooses
// the float network's. A broken invariant is an error that names the layer; the measured agreement is returned with it.
func Verify(ctx context.Context, leaf *tflite.Model, checks Checks) (*Verification, error) {
	if err := checkPromises(leaf, checks.Promises); err != nil {
		return nil, err
	}
	if err := checkShapes(leaf, checks.Shapes); err != nil {
		return nil, err
	}
	v := &Verification{TopOne: 1, Strict: 1, FloatTopOne: 1}
	if checks.Samples == 0 {
		return v, nil
	}
	c, err := newComparison(leaf, checks)
	if err != nil {
		return nil, fmt.Errorf("verification: %w", err)
	}
	for i := range checks.Samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.sample(i); err != nil {
			return nil, fmt.Errorf("verification: sample %d: %w", i, err)
		}
	}
	for i, s := range c.steps {
		if s != nil {
			v.Operators = append(v.Operators, s.Agreement)
		}
		if s := c.layers[i]; s != nil {
			v.Operators = append(v.Operators, s.Agreement)
		}
	}
	v.Samples = checks.Samples
	v.Noise, v.NoiseOf, v.Quantization = c.ends.noise()
	if checks.Classifier {
		v.TopOne, v.Strict = c.ends.agreement()
		if c.float != nil {
			v.FloatTopOne = float64(c.ends.kept) / float64(checks.Samples)
		}
	}
	return v, v.check()
}

// check reports the first broken invariant.
func (v *Verification) check() error {
	for _, a := range v.Operators {
		switch equal := 1 - float64(a.Off)/float64(max(a.Values, 1)); {
		case a.Worst > 1:
			return fmt.Errorf("layer %q (%s): the result is %d codes from the simulation's, more than rounding explains", a.Name, a.Op, a.Worst)
		case equal < minEqual:
			return fmt.Errorf("layer %q (%s): %.2f %% of the results are the simulation's, %.1f %% are required", a.Name, a.Op, 100*equal, 100*minEqual)
		}
	}
	if allowed := max(maxNoise, maxShare*v.Quantization); v.Noise > allowed {
		return fmt.Errorf("the leaf's %q is %.1f codes from the simulation's on average, at most %.4g are allowed", v.NoiseOf, v.Noise, allowed)
	}
	required := minTopOne
	if v.Quantization > maxNoise/maxShare {
		required = min(required, v.FloatTopOne-sampling)
	}
	if v.TopOne < min(required, 1-1.001/float64(max(v.Samples, 1))) {
		return fmt.Errorf("the leaf and its simulation choose the same class for %.2f %% of the samples, %.1f %% are required", 100*v.TopOne, 100*required)
	}
	return nil
}
