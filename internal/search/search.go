package search

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// Input is everything a search is decided from.
type Input struct {
	Spec   *v1alpha1.OptimizationPipelineSpec
	Layers []sensitivity.Layer
	// Results are what came of the trials that are over, by stage.
	Results map[string]Result
}

// Result is what came of a trial.
type Result struct {
	Leaf    *v1alpha1.Leaf // nil where it failed
	Seconds float64        // it took, when it was made
}

// Plan is all that was tried and what is to be tried next.
type Plan struct {
	// Trials, in order. Those without a result are to be run.
	Trials []Trial `json:"trials"`
	// Ended says why nothing more is tried; "" while something is.
	Ended string `json:"ended,omitempty"`
}

// Trial is a stage that a search tries.
type Trial struct {
	Stage v1alpha1.Stage `json:"stage"`
	// Price of a bit, as the entropy weight of the average layer.
	Price float64 `json:"price"`
	// Why it is tried, as the end of a sentence that begins with its name.
	Why string `json:"why"`
}

// Stages are those of all trials.
func (p *Plan) Stages() []v1alpha1.Stage {
	out := make([]v1alpha1.Stage, len(p.Trials))
	for i := range p.Trials {
		out[i] = p.Trials[i].Stage
	}
	return out
}

// Tries reports whether a stage is one of the trials.
func (p *Plan) Tries(stage string) bool {
	return slices.ContainsFunc(p.Trials, func(t Trial) bool { return t.Stage.Name == stage })
}

// Prices are tried by steps until one holds and the next does not, then halfway between those (of their logarithms), until they are less
// than a fineness apart.
const (
	firstPrice            = 10.0
	untrainedStep         = 3.0
	trainedStep           = 2.0
	leastPrice, mostPrice = 0.3, 900.0
	fineness              = 1.2
	// codes that layers may have: a price leaves them fewer.
	codes = 32
)

// tilts are how much prices may differ by layer, in the order they are tried.
var tilts = []float64{0.5, 0, 1}

// Next decides what is tried next.
func Next(in Input) Plan {
	s := &search{Input: in}
	if len(allocation{price: 1}.entropies(s.Layers)) == 0 {
		s.plan.Ended = "no layer has weights that could share codes"
		return s.plan
	}
	s.run()
	if t := s.Spec.Training; s.plan.Ended != "" && t.Trains() && !slices.ContainsFunc(s.plan.Trials, Trial.trains) {
		s.plan.Ended += "; no trial trained"
		if t.Epochs != nil || t.Seeks() {
			s.plan.Ended += ", so that what training says of epochs was not used"
		}
	}
	return s.plan
}

// trains reports whether a trial trains, as the pipeline's training says.
func (t Trial) trains() bool { return t.Stage.Training.Epochs == nil }

// search replays all trials so far, in order, until one has no result.
type search struct {
	Input
	plan    Plan
	from    string  // what trials work on
	seconds float64 // that the trials took
	waiting bool    // for the result of the last trial
}

// over reports whether no further trial may be planned now.
func (s *search) over() bool { return s.waiting || s.plan.Ended != "" }

func (s *search) run() {
	if s.from = s.zeros(); s.from == "" {
		if !s.waiting {
			s.plan.Ended = "the zeros that a constraint asks for could not be made"
		}
		return
	}
	f := frontier{tilt: tilts[0], step: untrainedStep}
	s.advance(&f, s.untrained)
	for _, tilt := range tilts[1:] { // the same price takes about as many bits at any tilt
		if s.over() || f.high == 0 {
			break
		}
		other := frontier{tilt: tilt, step: math.Sqrt(fineness), low: f.high}
		if t := s.untrained(&other, f.high, fmt.Sprintf("may hold where %.3g %s does not", f.high, tilted(f.tilt))); t.holds && (f.low == 0 || t.bytes < f.bytes) {
			other.bytes = t.bytes
			s.advance(&other, s.untrained)
			f = other
		}
	}
	if s.Spec.Training.Trains() {
		f.high, f.step, f.before = 0, trainedStep, " without training"
		s.advance(&f, s.trained)
	}
	if !s.over() {
		s.plan.Ended = f.ended()
	}
}

// tilted is how a price is one for all layers: prices of different tilts are no measure of each other.
func tilted(tilt float64) string {
	switch tilt {
	case 0:
		return "for every layer alike"
	case 1:
		return "in error of the outputs alike"
	}
	return "by what layers tolerate"
}

// zeros makes the stage that the others work on where a constraint asks for zeros, and returns what they work on.
func (s *search) zeros() string {
	for _, c := range s.Spec.Constraints {
		if c.Metric == v1alpha1.Sparsity && c.Min != nil {
			stage := v1alpha1.Stage{From: v1alpha1.FromModel, Prune: &v1alpha1.Prune{Sparsity: s.sparsity(*c.Min), Reconstruct: true}}
			return s.try(stage, 0, "makes the zeros that a constraint asks for").name
		}
	}
	return v1alpha1.FromModel
}

// sparsity is what a stage has to say for a leaf to have at least so many zeros: every layer has a whole number of them, the nearest to its
// share, so that half a weight a layer is missing at most.
func (s *search) sparsity(least v1alpha1.Decimal) v1alpha1.Decimal {
	share, err := least.Float(0)
	layers, weights := 0, 0
	for _, l := range s.Layers {
		if !l.Kept {
			layers, weights = layers+1, weights+l.Weights
		}
	}
	if err != nil || share == 0 || weights == 0 {
		return least
	}
	const places = 1e6
	enough := math.Ceil(places*(share+0.5*float64(layers)/float64(weights))) / places
	return v1alpha1.Decimal(strconv.FormatFloat(min(enough, 1-1/places), 'f', -1, 64))
}

// tried is what came of a trial.
type tried struct {
	name  string // "" where it is not known yet, or there was no leaf
	holds bool   // it meets what is asked of its answers
	bytes float64
}

// try plans a trial, and says what came of it where that is known.
func (s *search) try(stage v1alpha1.Stage, price float64, why string) tried {
	if s.over() {
		return tried{}
	}
	limit := int(v1alpha1.Or(s.Spec.Search.MaxTrials, v1alpha1.DefaultTrials))
	minutes, err := s.Spec.Search.MaxMinutes.Float(v1alpha1.DefaultSearchMinutes)
	switch {
	case err != nil:
		s.plan.Ended = err.Error()
		return tried{}
	case len(s.plan.Trials) >= limit:
		s.plan.Ended = fmt.Sprintf("all %d trials of maxTrials were made", limit)
		if limit == 1 {
			s.plan.Ended = "the one trial of maxTrials was made"
		}
		return tried{}
	case s.seconds >= 60*minutes:
		s.plan.Ended = fmt.Sprintf("the trials took the %g minutes of maxMinutes", minutes)
		return tried{}
	}
	stage.Name = fmt.Sprintf("trial-%02d", len(s.plan.Trials)+1)
	s.plan.Trials = append(s.plan.Trials, Trial{Stage: stage, Price: price, Why: why})
	result, known := s.Results[stage.Name]
	if !known {
		s.waiting = true
		return tried{}
	}
	s.seconds += result.Seconds
	if result.Leaf == nil {
		return tried{}
	}
	t, missed := tried{name: stage.Name, holds: true}, walk.Judge(s.Spec.Constraints, result.Leaf)
	if t.bytes, err = strconv.ParseFloat(walk.Value(result.Leaf.Metrics, v1alpha1.CompressedBytes), 64); err != nil {
		s.plan.Ended = fmt.Sprintf("the leaf of %s has no size to go by: %s", stage.Name, err)
		return tried{}
	}
	for _, m := range missed {
		t.holds = t.holds && falls(m.Constraint)
	}
	if len(missed) == 0 && s.Spec.Search.Minimize == "" {
		s.plan.Ended = stage.Name + " meets every constraint"
	}
	return t
}

// falls reports whether a higher price brings the metric nearer to its bound. What a measurement gives and max bounds, such as bytes or
// cycles, is taken for something that it does.
func falls(c v1alpha1.Constraint) bool {
	return c.Metric == v1alpha1.CompressedBytes || c.Metric == v1alpha1.Clusters || c.Metric.Measured() && c.Max != nil
}

// frontier is where prices whose leaves hold end.
type frontier struct {
	tilt, step float64
	low, high  float64 // the highest price that holds and the lowest that does not; 0: none yet
	bytes      float64 // of the smallest leaf that holds
	before     string  // how low holds, where trials now are made otherwise
}

// ended says what a frontier came to where it has no next price.
func (f *frontier) ended() string {
	switch {
	case f.low == 0:
		return fmt.Sprintf("no price holds, down to %.3g, and less than %g is not tried", f.high, leastPrice)
	case f.high == 0:
		return fmt.Sprintf("price %.3g holds%s, and more than %g is not tried", f.low, f.before, mostPrice)
	}
	return fmt.Sprintf("price %.3g holds%s and %.3g does not, which is as near as prices are tried", f.low, f.before, f.high)
}

// at says which price a trial has, before why.
func (f *frontier) at(price float64) string {
	return fmt.Sprintf("has price %.3g %s, and ", price, tilted(f.tilt))
}

// next is the price to try next, 0 where none is left.
func (f *frontier) next() (price float64, why string) {
	switch {
	case f.low == 0 && f.high == 0:
		return firstPrice, "is the first"
	case f.high == 0 && f.low*f.step <= mostPrice:
		return f.low * f.step, fmt.Sprintf("goes on from %.3g, which holds%s", f.low, f.before)
	case f.low == 0 && f.high/f.step >= leastPrice:
		return f.high / f.step, fmt.Sprintf("goes back from %.3g, which does not hold", f.high)
	case f.low > 0 && f.high > fineness*f.low:
		return math.Sqrt(f.low * f.high), fmt.Sprintf("lies between %.3g, which holds%s, and %.3g, which does not", f.low, f.before, f.high)
	}
	return 0, ""
}

// advance moves a frontier as far as trials carry it.
func (s *search) advance(f *frontier, try func(f *frontier, price float64, why string) tried) {
	for !s.over() {
		price, why := f.next()
		if price == 0 {
			return
		}
		t := try(f, price, why)
		switch {
		case s.over():
		case t.holds:
			if f.low == 0 || t.bytes < f.bytes {
				f.bytes = t.bytes
			}
			f.low, f.before = price, ""
		default:
			f.high = price
		}
	}
}

// untrained tries a price without training.
func (s *search) untrained(f *frontier, price float64, why string) tried {
	none := int32(0)
	return s.try(v1alpha1.Stage{From: s.from, Cluster: s.cluster(f, price), Training: v1alpha1.Training{Epochs: &none}}, price, f.at(price)+why)
}

// trained tries a price with training, and where that is not enough, with training in int8 too.
func (s *search) trained(f *frontier, price float64, why string) tried {
	t := s.try(v1alpha1.Stage{From: s.from, Cluster: s.cluster(f, price)}, price, "trains, "+f.at(price)+why)
	if t.holds || t.name == "" {
		return t
	}
	return s.try(v1alpha1.Stage{From: t.name, Quantize: &v1alpha1.Quantize{}}, price, "trains "+t.name+" in int8, since it does not hold")
}

func (s *search) cluster(f *frontier, price float64) *v1alpha1.Cluster {
	return allocation{price, f.tilt, s.codes()}.cluster(s.Layers)
}

// codes is how many a layer may have.
func (s *search) codes() int {
	most := codes
	for _, c := range s.Spec.Constraints {
		if c.Metric == v1alpha1.Clusters && c.Max != nil {
			if v, err := c.Max.Float(codes); err == nil {
				most = max(2, min(most, int(v)))
			}
		}
	}
	return most
}
