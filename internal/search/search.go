package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/sensitivity"
	"espalier.dev/espalier/optimizer/weight"
)

// Input is everything a search is decided from.
type Input struct {
	Spec   *v1alpha1.OptimizationPipelineSpec
	Layers []sensitivity.Layer
	// Least is the share of the multiplications that is left with every channel out that can go; 0: not known.
	Least float64
	// Results are what came of the trials that are over, by stage.
	Results map[string]Result
}

// Result is what came of a trial.
type Result struct {
	Leaf    *v1alpha1.Leaf // nil where it failed
	Undone  bool           // its training was, since it made things worse
	Seconds float64        // it took, when it was made
}

// Plan is all that was tried and what is to be tried next.
type Plan struct {
	// Trials, in order. Those without a result are to be run.
	Trials []Trial `json:"trials"`
	// Ended says why nothing more is tried; "" while something is.
	Ended string `json:"ended,omitempty"`
	// Limit is the reason where a bound of the spec ended it: walk.EndedByTrials or walk.EndedByMinutes.
	Limit string `json:"limit,omitempty"`
}

// Trial is a stage that a search tries.
type Trial struct {
	Stage v1alpha1.Stage `json:"stage"`
	// Price of a bit, as the entropy weight of the average layer; 0: the stage does not cluster.
	Price float64 `json:"price"`
	// Channels is the share of the channels that the stage takes out; 0: none.
	Channels float64 `json:"channels,omitempty"`
	// Multiplications is the share of them that the stage leaves, by taking channels out; 0: all.
	Multiplications float64 `json:"multiplications,omitempty"`
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

const (
	untrainedStep = 3.0 // of prices
	trainedStep   = 2.0
	// codes that layers may have: a price leaves them fewer.
	codes = 32
)

// oneScale is the scope of clusters that has one scale for a tensor: a file without a scale for each channel is smaller by more than that costs.
const oneScale = string(weight.PerTensor)

// fewCodes are the numbers of codes that are trained, with the price of a bit: the others where 4 hold. 3 at a high price are mostly zeros.
var fewCodes = []struct {
	codes int
	price float64
}{{4, 1}, {2, 2}, {3, 4}}

// scale is what levels a frontier may lie at. They are tried by steps until one holds and the next does not, then halfway between those,
// until they are less than a fineness apart: of prices, factors; of shares of the channels, differences.
type scale struct {
	name, names        string
	first, least, most float64
	fineness           float64
	factors            bool
	none               float64 // the level that changes nothing
	inverse            bool    // it is said as its inverse
	at                 string  // what a trial does, with places for its level and its tilt
}

var (
	prices = scale{"price of a bit", "prices", 10, 0.3, 900, 1.2, true, 0, false, "prices a bit at %.3[1]g %[2]s, and "}
	shares = scale{"share of the channels to take out", "shares", 0.25, 0.125, 0.75, 0.125, false, 0, false, "takes out %.3[1]g of the channels %[2]s, and "}
	// coarsePrices are those that are tried before training is.
	coarsePrices = prices.atFineness(math.Inf(1))
	// kept is the share of the multiplications that is left, as how many times more there were.
	kept = scale{"share of the multiplications to leave", "shares", 2, 1.15, 16, 1.15, true, 1, true, "leaves %.3[1]g of the multiplications, and "}
)

// said is a level as people are told it.
func (s *scale) said(level float64) float64 {
	if s.inverse {
		return 1 / level
	}
	return level
}

func (s scale) atFineness(fineness float64) scale {
	s.fineness = fineness
	return s
}

func (s *scale) up(v, step float64) float64 {
	if s.factors {
		return v * step
	}
	return v + step
}

func (s *scale) down(v, step float64) float64 {
	if s.factors {
		return max(v/step, s.between(s.none, v))
	}
	return max(v-step, s.between(s.none, v))
}

func (s *scale) between(low, high float64) float64 {
	if s.factors {
		return math.Sqrt(low * high)
	}
	return (low + high) / 2
}

func (s *scale) apart(low, high float64) bool {
	if s.factors {
		return high > s.fineness*low
	}
	return high-low > s.fineness
}

// tilts are how much prices may differ by layer, in the order they are tried.
var tilts = []float64{0.5, 0, 1}

// bounds are the fields of a spec that end a search.
var bounds = map[string]string{walk.EndedByTrials: "search.maxTrials", walk.EndedByMinutes: "search.maxMinutes"}

// Next decides what is tried next.
func Next(in Input) Plan {
	s := &search{Input: in}
	s.run()
	if t := s.Spec.Training; s.plan.Limit != "" && t.Trains() && !slices.ContainsFunc(s.plan.Trials, Trial.trains) {
		s.plan.Ended += "; no trial trained"
		if t.Epochs != nil || t.Seeks() {
			s.plan.Ended += ", so that what training says of epochs was not used"
		}
		s.plan.Ended += ": a higher " + bounds[s.plan.Limit] + " lets the search train"
	}
	return s.plan
}

// narrows reports whether the stage takes channels out.
func (t *Trial) narrows() bool { return t.Channels > 0 || t.Multiplications > 0 }

// trains reports whether a trial trains, as the pipeline's training says.
func (t Trial) trains() bool { return t.Stage.Training.Epochs == nil }

// search replays all trials so far, in order, until one has no result.
type search struct {
	Input
	plan    Plan
	from    string  // what trials work on
	gone    float64 // share of the weights that went with channels, about
	seconds float64 // that the trials took
	waiting bool    // for the result of the last trial

	ids     []string          // of the trials
	made    map[string]Result // of trials that were made ahead, by ID
	assumed []tried           // of the trials that have no result, in order
}

// over reports whether no further trial may be planned now.
func (s *search) over() bool { return s.waiting || s.plan.Ended != "" }

func (s *search) run() {
	s.from = v1alpha1.FromModel
	if s.narrows() && !s.narrow() || s.over() {
		return
	}
	if len(allocation{price: 1}.shares(s.Layers)) == 0 {
		s.plan.Ended = "no layer has weights that could share codes"
		return
	}
	if s.from = s.zeros(); s.from == "" {
		if !s.waiting {
			s.plan.Ended = "the zeros that a constraint asks for could not be made"
		}
		return
	}
	trains := s.Spec.Training.Trains()
	f := frontier{scale: &coarsePrices, tilt: tilts[0], step: untrainedStep}
	if s.Spec.Search.Minimize == "" { // what is not trained is quicker
		f.scale = &prices
	}
	s.advance(&f, s.untrained)
	more, held := "", false
	if trains && f.low > 0 {
		bound := f.size
		if f.missed.size > 0 { // no price between makes smaller leaves
			bound = f.missed.size
		}
		more, held = s.few(bound)
	}
	if !held {
		f.scale = &prices
		f = s.refined(f)
		if trains && f.low > 0 {
			more += s.furtherTrained(&f)
		}
	}
	switch {
	case more != "":
		f.before = " without training"
	case trains && f.low == 0 && !s.over():
		f.high, f.step, f.before = 0, trainedStep, " without training"
		s.advance(&f, s.trained)
	}
	s.end(&f, more)
}

// refined narrows a frontier down, with one scale a tensor where that makes smaller leaves, and tries other tilts where it ends.
func (s *search) refined(f frontier) frontier {
	if s.over() || f.low == 0 {
		return s.tilted(f)
	}
	one := f
	one.scope, one.step, one.high, one.missed = oneScale, prices.fineness*prices.fineness, 0, tried{}
	t := s.untrained(&one, f.low, fmt.Sprintf("may be smaller than %.3g %s", f.low, f.kind()))
	if t.holds && t.size < f.size {
		one.size = t.size
		return s.tilted(one)
	}
	before := f.low
	if f = s.tilted(f); s.over() || t.holds || t.size >= f.size {
		return f
	}
	one.tilt, one.high, one.missed = f.tilt, before, t
	if one.low = before / one.step; one.low < one.least {
		return f
	}
	if t = s.untrained(&one, one.low, fmt.Sprintf("goes back from %.3g, which does not hold", before)); t.holds && t.size < f.size {
		one.size = t.size
		s.advance(&one, s.untrained)
		return one
	}
	return f
}

// furtherTrained trains in int8 what does not hold, at the lowest such price, and says where it then does.
func (s *search) furtherTrained(f *frontier) string {
	if s.over() || f.missed.name == "" || f.missed.far {
		return ""
	}
	if t := s.inInt8(f.missed, f.high); !t.holds {
		return ""
	}
	return fmt.Sprintf("; %.3g holds with training", f.high)
}

// tilted narrows a frontier down, and goes on with another tilt where that holds at a price that does not and makes a smaller leaf.
func (s *search) tilted(f frontier) frontier {
	s.advance(&f, s.untrained)
	for _, tilt := range tilts[1:] { // the same price takes about as many bits at any tilt
		if s.over() || f.high == 0 {
			break
		}
		other := frontier{scale: &prices, tilt: tilt, scope: f.scope, step: math.Sqrt(prices.fineness), low: f.high}
		if t := s.untrained(&other, f.high, fmt.Sprintf("may hold where %.3g %s does not", f.high, f.kind())); t.holds && (f.low == 0 || t.size < f.size) {
			other.size = t.size
			s.advance(&other, s.untrained)
			f = other
		}
	}
	return f
}

// end says what a search came to at a frontier that it goes no further from, unless its last leaf ended it.
func (s *search) end(f *frontier, more string) {
	switch {
	case s.waiting:
	case s.plan.Limit != "":
		s.plan.Ended += f.held() + more
	case s.plan.Ended != "":
	case f.scale == &coarsePrices:
		s.plan.Ended = strings.TrimPrefix(f.held(), "; ") + more
	default:
		s.plan.Ended = f.ended() + more
	}
}

// few has layers share very few codes, more where they tolerate less, and trains them, which takes networks further than training at a high price
// does: that moves weights where bits are cheap and not where answers are right. It says how that ended, and whether a leaf held that is smaller
// than a size.
func (s *search) few(size float64) (said string, smaller bool) {
	var held []string
	for _, few := range fewCodes {
		if few.codes > s.codes() {
			continue
		}
		cluster := allocation{price: few.price, codes: few.codes, most: s.codes(), scope: oneScale}.cluster(s.Layers)
		t := s.fineTune(Trial{
			Stage: v1alpha1.Stage{From: s.from, Cluster: cluster}, Price: few.price,
			Why: fmt.Sprintf("trains, with %d codes a layer, and more where layers tolerate less", few.codes),
		})
		switch {
		case t.holds && t.undone:
			return fmt.Sprintf("; %d codes a layer hold, and training does not help", few.codes), false
		case t.holds:
			held, smaller = append(held, strconv.Itoa(few.codes)), smaller || t.size < size
		case s.over():
		case few.codes == fewCodes[0].codes:
			return fmt.Sprintf("; %d codes a layer do not hold with training", few.codes), false
		}
		if t.far {
			break
		}
	}
	if held == nil {
		return "", false
	}
	return fmt.Sprintf("; %s codes a layer hold with training", strings.Join(held, " and ")), smaller
}

// tiltOf is how a price is one for all layers: prices of different tilts are no measure of each other.
func tiltOf(tilt float64) string {
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
			none := int32(0)
			stage := v1alpha1.Stage{From: s.from, Prune: &v1alpha1.Prune{Sparsity: s.sparsity(*c.Min), Reconstruct: new(true)}, Training: v1alpha1.Training{Epochs: &none}}
			return s.try(Trial{Stage: stage, Why: "makes the zeros that a constraint asks for"}).name
		}
	}
	return s.from
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
	enough := math.Ceil(places*(share+0.5*float64(layers)/((1-s.gone)*float64(weights)))) / places
	return decimalOf(min(enough, 1-1/places))
}

// tried is what came of a trial.
type tried struct {
	name  string // "" where it is not known yet, or there was no leaf
	holds bool   // it meets what is asked of its answers
	far   bool   // from that
	small bool   // it meets what only fewer channels lower
	size  float64

	undone bool // its training was
}

// try plans a trial, and says what came of it where that is known.
func (s *search) try(trial Trial) tried {
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
		s.plan.Limit, s.plan.Ended = walk.EndedByTrials, fmt.Sprintf("all %d trials of maxTrials were made", limit)
		if limit == 1 {
			s.plan.Ended = "the one trial of maxTrials was made"
		}
		return tried{}
	case s.seconds >= 60*minutes:
		s.plan.Limit, s.plan.Ended = walk.EndedByMinutes, fmt.Sprintf("the trials took the %g minutes of maxMinutes", minutes)
		if minutes == 1 {
			s.plan.Ended = "the trials took the one minute of maxMinutes"
		}
		return tried{}
	}
	trial.Stage.Name = fmt.Sprintf("trial-%02d", len(s.plan.Trials)+1)
	s.ids = append(s.ids, s.id(&trial.Stage))
	s.plan.Trials = append(s.plan.Trials, trial)
	result, known := s.Results[trial.Stage.Name]
	if !known {
		result, known = s.made[s.ids[len(s.ids)-1]]
	}
	switch {
	case known:
	case len(s.assumed) > 0:
		t := s.assumed[0]
		s.assumed = s.assumed[1:]
		return t
	default:
		s.waiting = true
		return tried{}
	}
	s.seconds += result.Seconds
	if result.Leaf == nil {
		return tried{}
	}
	t, missed := tried{name: trial.Stage.Name, holds: true, small: true, undone: result.Undone}, walk.Judge(s.Spec.Constraints, result.Leaf)
	objective := cmp.Or(s.Spec.Search.Minimize, v1alpha1.CompressedBytes)
	value := walk.Value(result.Leaf.Metrics, objective)
	if value == "" && objective.Measured() { // its measurement found none of this leaf
		return tried{name: t.name}
	}
	if t.size, err = strconv.ParseFloat(value, 64); err != nil {
		s.plan.Ended = fmt.Sprintf("the leaf of %s has no %s to go by: %s", trial.Stage.Name, objective, err)
		return tried{}
	}
	for _, m := range missed {
		switch c := m.Constraint; {
		case s.narrowed(c.Metric):
			t.small = false
		case !s.falls(c) && !(c.Metric == v1alpha1.Sparsity && trial.narrows()): // whose zeros come later
			t.holds, t.far = false, t.far || m.Share() > farMiss
		}
	}
	if len(missed) == 0 && s.Spec.Search.Minimize == "" {
		s.plan.Ended = trial.Stage.Name + " meets every constraint"
	}
	return t
}

// falls reports whether a higher price brings the metric nearer to its bound. What a measurement gives and max bounds, such as bytes or
// cycles, is taken for something that it does.
func (s *search) falls(c v1alpha1.Constraint) bool {
	return s.priced(c.Metric) && (!c.Metric.Measured() || c.Max != nil)
}

// priced reports whether a price lowers a metric.
func (s *search) priced(m v1alpha1.Metric) bool {
	file := m == v1alpha1.FlashBytes || m == v1alpha1.FileBytes
	return m == v1alpha1.CompressedBytes || m == v1alpha1.Clusters || m.Measured() || file && s.Spec.EffectiveLeaf(nil).Encoded()
}

// narrowed reports whether only fewer channels lower a metric.
func (s *search) narrowed(m v1alpha1.Metric) bool {
	switch m {
	case v1alpha1.ArenaBytes, v1alpha1.Multiplications, v1alpha1.LatencyMicros:
		return true
	case v1alpha1.FileBytes, v1alpha1.FlashBytes:
		return !s.priced(m)
	}
	return false
}

// frontier is where levels whose leaves hold end.
type frontier struct {
	*scale
	tilt, step float64
	scope      string  // of clusters; "": the default
	low, high  float64 // the highest level that holds and the lowest that does not; 0: none yet
	size       float64 // of the smallest leaf that holds
	missed     tried   // what came of high
	before     string  // how low holds, where trials now are made otherwise
}

// ended says what a frontier came to where it has no next level.
func (f *frontier) ended() string {
	further, back, least := "more", "less", "down"
	if f.inverse {
		further, back, least = back, further, "up"
	}
	switch {
	case f.low == 0:
		return fmt.Sprintf("no %s holds, %s to %.3g, and %s than %.3g is not tried", f.name, least, f.said(f.high), back, f.said(f.least))
	case f.high == 0:
		return fmt.Sprintf("%s %.3g holds%s, and %s than %.3g is not tried", f.name, f.said(f.low), f.before, further, f.said(f.most))
	}
	return fmt.Sprintf("%s %.3g holds%s and %.3g does not, which is as near as %s are tried", f.name, f.said(f.low), f.before, f.said(f.high), f.names)
}

// held says what is known of a frontier, "" where that is nothing.
func (f *frontier) held() string {
	switch {
	case f.low == 0 && f.high == 0:
		return ""
	case f.low == 0:
		return fmt.Sprintf("; %s %.3g does not hold", f.name, f.said(f.high))
	case f.high == 0:
		return fmt.Sprintf("; %s %.3g holds%s", f.name, f.said(f.low), f.before)
	}
	return fmt.Sprintf("; %s %.3g holds%s and %.3g does not", f.name, f.said(f.low), f.before, f.said(f.high))
}

// trial says which level a trial has, before why.
func (f *frontier) trial(level float64) string {
	return fmt.Sprintf(f.at, f.said(level), f.kind())
}

// kind is what sets the levels of a frontier apart from others'.
func (f *frontier) kind() string {
	if f.scope == oneScale {
		return tiltOf(f.tilt) + " with one scale a tensor"
	}
	return tiltOf(f.tilt)
}

// next is the level to try next, 0 where none is left.
func (f *frontier) next() (level float64, why string) {
	switch {
	case f.low == 0 && f.high == 0:
		return f.first, "is the first of these"
	case f.high == 0 && f.up(f.low, f.step) <= f.most:
		return f.up(f.low, f.step), fmt.Sprintf("goes on from %.3g, which holds%s", f.said(f.low), f.before)
	case f.low == 0 && f.down(f.high, f.step) >= f.least:
		return f.down(f.high, f.step), fmt.Sprintf("goes back from %.3g, which does not hold", f.said(f.high))
	case f.low > 0 && f.apart(f.low, f.high):
		return f.between(f.low, f.high), fmt.Sprintf("lies between %.3g, which holds%s, and %.3g, which does not", f.said(f.low), f.before, f.said(f.high))
	}
	return 0, ""
}

// advance moves a frontier as far as trials carry it.
func (s *search) advance(f *frontier, try func(f *frontier, level float64, why string) tried) {
	for !s.over() {
		level, why := f.next()
		if level == 0 {
			return
		}
		t := try(f, level, why)
		switch {
		case s.over():
		case t.holds:
			if f.low == 0 || t.size < f.size {
				f.size = t.size
			}
			f.low, f.before = level, ""
		default:
			f.high, f.missed = level, t
		}
	}
}

// untrained tries a price without training.
func (s *search) untrained(f *frontier, price float64, why string) tried {
	none := int32(0)
	return s.try(Trial{Stage: v1alpha1.Stage{From: s.from, Cluster: s.cluster(f, price), Training: v1alpha1.Training{Epochs: &none}}, Price: price, Why: f.trial(price) + why})
}

// trained tries a price with training.
func (s *search) trained(f *frontier, price float64, why string) tried {
	return s.fineTune(Trial{Stage: v1alpha1.Stage{From: s.from, Cluster: s.cluster(f, price)}, Price: price, Why: "trains, " + f.trial(price) + why})
}

// farMiss is by what share of the answers a leaf misses its bound that training in int8 does not bring there, which makes up for rounding.
const farMiss = 0.1

// fineTune tries a trial that trains, and where that is nearly enough, goes on in int8.
func (s *search) fineTune(trial Trial) tried {
	t := s.try(trial)
	if t.holds || t.far || t.name == "" {
		return t
	}
	return s.inInt8(t, trial.Price)
}

// inInt8 trains in int8 what a trial came to.
func (s *search) inInt8(t tried, price float64) tried {
	return s.try(Trial{Stage: v1alpha1.Stage{From: t.name, Quantize: &v1alpha1.Quantize{}}, Price: price, Why: "trains " + t.name + " in int8, since it does not hold"})
}

func (s *search) cluster(f *frontier, price float64) *v1alpha1.Cluster {
	c := allocation{price: price, tilt: f.tilt, codes: s.codes(), scope: f.scope}.cluster(s.Layers)
	c.Reconstruct = new(true)
	return c
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
