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

// narrows reports whether channels are to be taken out: for what is minimized, or for a constraint that the baseline misses.
func (s *search) narrows() bool {
	if m := s.Spec.Search.Minimize; s.narrowed(m) || m.Measured() {
		return true
	}
	baseline := s.Results[walk.Baseline].Leaf
	return baseline != nil && slices.ContainsFunc(walk.Judge(s.Spec.Constraints, baseline), func(m walk.Shortfall) bool { return s.narrowed(m.Constraint.Metric) })
}

// narrow finds the share of the channels that may be taken out, and has what follows work on the leaf of what was tried that has least of what
// is minimized; where codes lower that, on the one that lost least. It returns false where nothing is to follow.
func (s *search) narrow() bool {
	follows := s.priced(s.Spec.Search.Minimize) || slices.ContainsFunc(s.Spec.Constraints, func(c v1alpha1.Constraint) bool {
		return s.falls(c) || c.Metric == v1alpha1.Sparsity
	})
	optional := s.Spec.Search.Minimize.Measured() // which codes may lower too
	if !slices.ContainsFunc(s.Layers, func(l sensitivity.Layer) bool { return l.Channels != nil }) {
		if !optional {
			s.plan.Ended = "no channels can be taken out of this network, and nothing else takes less"
		}
		return optional
	}
	var best tried
	lost := 0.0 // channels, of best
	try := func(trains bool) func(f *frontier, share float64, why string) tried {
		return func(f *frontier, share float64, why string) tried {
			trial := Trial{Stage: v1alpha1.Stage{From: v1alpha1.FromModel, Prune: s.cut(f, share)}, Channels: share, Why: f.trial(share) + why}
			if f.inverse {
				trial.Channels, trial.Multiplications = 0, f.said(share)
			}
			if none := int32(0); trains {
				trial.Why = "trains, " + trial.Why
			} else {
				trial.Stage.Training.Epochs = &none
			}
			t := s.try(trial)
			if trains && !follows && !t.holds && t.name != "" { // nothing may follow what is trained in int8
				next := Trial{Stage: v1alpha1.Stage{From: t.name, Quantize: &v1alpha1.Quantize{}}, Channels: trial.Channels, Multiplications: trial.Multiplications, Why: "trains " + t.name + " in int8, since it does not hold"}
				t = s.try(next)
			}
			if better := share < lost || !s.priced(s.Spec.Search.Minimize) && t.size < best.size; t.holds && t.small && (best.name == "" || better) {
				best, lost = t, share
			}
			return t
		}
	}
	f := s.narrowing()
	if f.inverse && (f.first < f.least || f.first > f.most) {
		s.plan.Ended = fmt.Sprintf("with every channel out that can go, %.3g of the multiplications are left", s.Least)
		return false
	}
	lower := func(f *frontier) {
		s.advance(f, try(false))
		if other := (frontier{scale: f.scale, tilt: tilts[0], step: shares.fineness, low: f.high}); !s.over() && f.high > 0 && !f.inverse && len(s.cut(&other, f.high).Rules) > 0 {
			if t := try(false)(&other, f.high, fmt.Sprintf("may hold where %.3g %s does not", f.high, tiltOf(f.tilt))); t.holds {
				other.size = t.size
				s.advance(&other, try(false))
				*f = other
			}
		}
		if enough := s.priced(s.Spec.Search.Minimize) && best.name != ""; s.Spec.Training.Trains() && !enough {
			f.high, f.before = 0, " without training"
			s.advance(f, try(true))
		}
	}
	lower(&f)
	before := ""
	if even := s.even(&f, best); even.scale != nil && !s.over() {
		before, f = f.ended()+"; ", even
		lower(&f)
	}
	switch {
	case s.over():
		s.end(&f, "")
		return false
	case follows && best.name != "":
		if s.from, s.gone = best.name, 1-(1-lost)*(1-lost); f.inverse {
			s.gone = 1 - f.said(lost)
		}
	case !follows || !optional:
		s.plan.Ended = before + f.ended()
		if f.low > 0 && follows {
			s.plan.Ended += ", and what holds does not meet the constraints on size"
		}
		return false
	}
	return true
}

// even is where shares of every layer's channels may do better than what was found by multiplications, which counts what goes before training and
// not after it; none where they cannot.
func (s *search) even(f *frontier, best tried) frontier {
	of, left := shares, 1.0
	bounded := f.least == f.most
	switch baseline := s.Results[walk.Baseline].Leaf; {
	case !f.inverse || bounded && best.name != "":
		return frontier{}
	case bounded:
		left = f.said(f.first)
	case best.name != "" && baseline != nil:
		if now, err := strconv.ParseFloat(walk.Value(baseline.Metrics, v1alpha1.Multiplications), 64); err == nil && now > 0 {
			left = best.size / now
		}
	}
	if left < 1 { // about the square of the share of the channels that stay
		of.first = of.fineness * math.Ceil((1-math.Sqrt(left))/of.fineness)
		of.least = of.first
	}
	if bounded {
		of.most = of.first
	}
	if of.first > shares.most {
		return frontier{}
	}
	return frontier{scale: &of, step: shares.first}
}

// narrowing is where to begin: by multiplications where these are what channels are taken out for, which says itself what each layer loses,
// else by a share of the channels of every layer. Where a bound on multiplications is all that asks for it, as many go as that takes.
func (s *search) narrowing() frontier {
	minimize := s.Spec.Search.Minimize
	other := minimize.Measured() || s.narrowed(minimize) && minimize != v1alpha1.Multiplications
	of := kept
	if s.Least > 0 {
		of.most = min(of.most, 1/s.Least)
	}
	of.first = min(of.first, of.most)
	if baseline := s.Results[walk.Baseline].Leaf; baseline != nil {
		for _, missed := range walk.Judge(s.Spec.Constraints, baseline) {
			c := missed.Constraint
			switch {
			case c.Metric != v1alpha1.Multiplications:
				other = other || s.narrowed(c.Metric)
			case minimize != v1alpha1.Multiplications && c.Max != nil:
				most, err := c.Max.Float(0)
				now, errNow := strconv.ParseFloat(missed.Value, 64)
				if left := math.Floor(1000*most/now) / 1000; err == nil && errNow == nil && left > 0 {
					of.first, of.least, of.most = 1/left, 1/left, min(1/left, of.most)
				}
			}
		}
	}
	if other {
		return frontier{scale: &shares, step: shares.first}
	}
	return frontier{scale: &of, step: 2}
}

// cut takes a share of the channels out of every layer, or as much in all by what layers tolerate.
func (s *search) cut(f *frontier, share float64) *v1alpha1.Prune {
	base := decimalOf(share)
	out := &v1alpha1.Prune{Structure: v1alpha1.PruneChannels, Channels: &base, Reconstruct: new(true)}
	if f.inverse {
		left := number(f.said(share))
		out.Channels, out.Multiplications = nil, &left
		return out
	}
	if f.tilt == 0 {
		return out
	}
	plan, err := sensitivity.Allocate(s.Layers, "channels", share)
	if err != nil { // the share is none that was looked at
		return out
	}
	base = decimalOf(plan.Base)
	for _, r := range plan.Rules {
		channels := decimalOf(r.Level)
		out.Rules = append(out.Rules, v1alpha1.PruneRule{Layers: r.Layer, Channels: &channels})
	}
	return out
}

func decimalOf(v float64) v1alpha1.Decimal {
	return v1alpha1.Decimal(strconv.FormatFloat(v, 'f', -1, 64))
}
