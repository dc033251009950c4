package search

import (
	"fmt"
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
			trial := Trial{Stage: v1alpha1.Stage{From: v1alpha1.FromModel, Prune: s.cut(f, share)}, Channels: share, Why: f.at(share) + why}
			if none := int32(0); trains {
				trial.Why = "trains, " + trial.Why
			} else {
				trial.Stage.Training.Epochs = &none
			}
			t := s.try(trial)
			if trains && !follows && !t.holds && t.name != "" { // nothing may follow what is trained in int8
				next := Trial{Stage: v1alpha1.Stage{From: t.name, Quantize: &v1alpha1.Quantize{}}, Channels: share, Why: "trains " + t.name + " in int8, since it does not hold"}
				return s.try(next)
			}
			if better := share < lost || !s.priced(s.Spec.Search.Minimize) && t.size < best.size; t.holds && t.small && (best.name == "" || better) {
				best, lost = t, share
			}
			return t
		}
	}
	f := frontier{scale: &shares, step: shares.first}
	s.advance(&f, try(false))
	if other := (frontier{scale: &shares, tilt: tilts[0], step: shares.fineness, low: f.high}); !s.over() && f.high > 0 && len(s.cut(&other, f.high).Rules) > 0 {
		if t := try(false)(&other, f.high, fmt.Sprintf("may hold where %.3g %s does not", f.high, tilted(f.tilt))); t.holds {
			other.size = t.size
			s.advance(&other, try(false))
			f = other
		}
	}
	if enough := s.priced(s.Spec.Search.Minimize) && best.name != ""; s.Spec.Training.Trains() && !enough {
		f.high, f.before = 0, " without training"
		s.advance(&f, try(true))
	}
	switch {
	case s.over():
		s.end(&f, "")
		return false
	case follows && best.name != "":
		s.from, s.gone = best.name, 1-(1-lost)*(1-lost)
	case !follows || !optional:
		s.plan.Ended = f.ended()
		if f.low > 0 && follows {
			s.plan.Ended += ", and what holds does not meet the constraints on size"
		}
		return false
	}
	return true
}

// cut takes a share of the channels out of every layer, or as much in all by what layers tolerate.
func (s *search) cut(f *frontier, share float64) *v1alpha1.Prune {
	base := decimalOf(share)
	out := &v1alpha1.Prune{Structure: v1alpha1.PruneChannels, Channels: &base, Reconstruct: new(true)}
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
