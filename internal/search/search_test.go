package search

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/sensitivity"
)

func layer(name string, weights int, error float64) sensitivity.Layer {
	return sensitivity.Layer{Name: name, Weights: weights, Cluster: []sensitivity.Level{{Level: level, Error: error}}}
}

var layers = []sensitivity.Layer{layer("stem", 100, 1e-2), layer("middle", 10000, 1e-2), {Name: "clustered", Weights: 5}, layer("head", 1000, 1e-3)}

func decimal(text string) *v1alpha1.Decimal {
	d := v1alpha1.Decimal(text)
	return &d
}

func number32(v int32) *int32 { return &v }

// goal is a spec with a search.
func goal(change func(*v1alpha1.OptimizationPipelineSpec)) *v1alpha1.OptimizationPipelineSpec {
	s := &v1alpha1.OptimizationPipelineSpec{
		Search:      &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes},
		Constraints: []v1alpha1.Constraint{{Metric: v1alpha1.AccuracyDrop, Max: decimal("0.01")}},
	}
	if change != nil {
		change(s)
	}
	return s
}

// device gives the leaf of a trial from what it was made by.
type device func(t Trial) *v1alpha1.Leaf

// codesOf is a device whose leaves answer well without training up to a price, and with training where they have at least so many codes: in
// int8, or before too.
func codesOf(untrained float64, float, int8 int32) device {
	fewest := int32(0)
	return func(t Trial) *v1alpha1.Leaf {
		drop, size := "0", 1e6/max(t.Price, 1)
		switch {
		case t.Stage.Cluster == nil:
			size = float64(1000 * fewest)
			if fewest < int8 {
				drop = "0.05"
			}
		case v1alpha1.Or(t.Stage.Training.Epochs, 1) == 0:
			if t.Price > untrained {
				drop = "0.5"
			}
		default:
			fewest = t.Stage.Cluster.Clusters
			size = float64(1000 * fewest)
			if fewest < float {
				drop = "0.05"
			}
		}
		return leaf(drop, fmt.Sprint(int(size)), strconv.Itoa(codes))
	}
}

// breaks is a device whose leaves answer well up to a price, and up to another where something is trained.
func breaks(untrained, trained float64) device {
	return func(t Trial) *v1alpha1.Leaf {
		drop := "0"
		switch none := v1alpha1.Or(t.Stage.Training.Epochs, 1) == 0; {
		case none && t.Price > untrained:
			drop = "0.5"
		case !none && t.Price > trained:
			drop = "0.05"
		}
		return leaf(drop, fmt.Sprint(int(1e6/max(t.Price, 1))), strconv.Itoa(codes))
	}
}

func leaf(drop, bytes, clusters string) *v1alpha1.Leaf {
	return &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{{Name: "AccuracyDrop", Value: drop}, {Name: "CompressedBytes", Value: bytes}, {Name: "Clusters", Value: clusters}}}
}

// played runs a search to its end, and checks that every plan begins with the one before it.
func played(t *testing.T, spec *v1alpha1.OptimizationPipelineSpec, of device, seconds float64) Plan {
	t.Helper()
	return playedOn(t, Input{Spec: spec, Layers: layers, Results: map[string]Result{}}, of, seconds)
}

// playedOn is played with other layers, and with results that are there already.
func playedOn(t *testing.T, in Input, of device, seconds float64) Plan {
	t.Helper()
	before := Plan{}
	for range 100 {
		plan := Next(in)
		if n := len(before.Trials); len(plan.Trials) < n || n > 0 && cmp.Diff(before.Trials, plan.Trials[:n]) != "" {
			t.Fatalf("a plan does not begin with the one before it:\n%s", cmp.Diff(before.Trials, plan.Trials))
		}
		if plan.Ended != "" {
			return plan
		}
		if len(plan.Trials) == len(before.Trials) {
			t.Fatal("nothing is tried, and nothing said")
		}
		for _, trial := range plan.Trials[len(before.Trials):] {
			in.Results[trial.Stage.Name] = Result{Leaf: of(trial), Seconds: seconds}
		}
		before = plan
	}
	t.Fatal("it does not end")
	return Plan{}
}

func course(p Plan) string {
	var out []string
	for _, t := range p.Trials {
		text := strconv.FormatFloat(t.Price, 'g', 3, 64)
		if t.Channels > 0 {
			text = strconv.FormatFloat(t.Channels, 'g', 3, 64) + "c"
		}
		if t.Multiplications > 0 {
			text = strconv.FormatFloat(t.Multiplications, 'g', 3, 64) + "m"
		}
		switch {
		case t.Stage.Quantize != nil:
			text += "q"
		case t.Stage.Prune != nil && !t.narrows():
			text += "p"
		case t.Stage.Training.Epochs == nil && t.Stage.Cluster != nil && t.Stage.Cluster.Reconstruct == nil:
			text = fmt.Sprintf("%dc", t.Stage.Cluster.Clusters)
		case t.Stage.Training.Epochs == nil:
			text += "t"
		case t.Stage.Cluster != nil && t.Stage.Cluster.Scope == oneScale:
			text += "s"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestASearchGoesToTheHighestPriceThatHolds(t *testing.T) {
	untrained := func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }
	tests := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		of     device
		want   string // prices, t with training, q in int8
		ended  string
	}{
		"without training":   {untrained, breaks(40, 0), "10 30 90 30s 52 39.5 45.3 45.3 45.3", "price of a bit 39.5 holds and 45.3 does not, which is as near as prices are tried"},
		"it begins too high": {untrained, breaks(2, 0), "10 3.33 1.11 1.11s 1.92 2.53 2.21 2.21 2.21", "price of a bit 1.92 holds and 2.21 does not, which is as near as prices are tried"},
		"nothing holds":      {untrained, breaks(0, 0), "10 3.33 1.11 0.37 0.37 0.37", "no price of a bit holds, down to 0.37, and less than 0.3 is not tried"},
		"everything holds":   {untrained, breaks(1e9, 0), "10 30 90 270 810 810s", "price of a bit 810 holds, and more than 900 is not tried"},
		"two codes trained":  {nil, codesOf(40, 2, 2), "10 30 90 4c 2c 3c", "price of a bit 30 holds without training and 90 does not; 4 and 2 and 3 codes a layer hold with training"},
		"two codes in int8":  {nil, codesOf(40, 5, 2), "10 30 90 4c 1q 2c 2q 3c 4q", "price of a bit 30 holds without training and 90 does not; 4 and 2 and 3 codes a layer hold with training"},
		"three codes":        {nil, codesOf(40, 3, 3), "10 30 90 4c 2c 2q 3c", "price of a bit 30 holds without training and 90 does not; 4 and 3 codes a layer hold with training"},
		"four codes":         {nil, codesOf(40, 4, 4), "10 30 90 4c 2c 2q 3c 4q", "price of a bit 30 holds without training and 90 does not; 4 codes a layer hold with training"},
		"not even four":      {nil, codesOf(40, 9, 9), "10 30 90 4c 1q 30s 52 39.5 45.3 45.3 45.3", "price of a bit 39.5 holds without training and 45.3 does not, which is as near as prices are tried; 4 codes a layer do not hold with training"},
		"three at most": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.Clusters, Max: decimal("3")})
		}, codesOf(40, 3, 3), "10 30 90 2c 2q 3c", "price of a bit 30 holds without training and 90 does not; 3 codes a layer hold with training"},
		"held by training alone": {nil, breaks(0.2, 15), "10 3.33 1.11 0.37 0.37 0.37 10t 20t 20q 14.1t 16.8t 16.8q", "price of a bit 14.1 holds and 16.8 does not, which is as near as prices are tried"},
		"trials run out": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.MaxTrials = number32(3) }, breaks(40, 0), "10 30 90",
			"all 3 trials of maxTrials were made; price of a bit 30 holds and 90 does not; no trial trained: a higher search.maxTrials lets the search train"},
		"trials run out at the first": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.MaxTrials = number32(1) }, breaks(1, 0), "10",
			"the one trial of maxTrials was made; price of a bit 10 does not hold; no trial trained: a higher search.maxTrials lets the search train"},
		"trials run out between four codes and two": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.MaxTrials = number32(4) }, codesOf(40, 2, 2), "10 30 90 4c",
			"all 4 trials of maxTrials were made; price of a bit 30 holds without training and 90 does not; 4 codes a layer hold with training"},
		"trials run out before int8": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.MaxTrials = number32(5) }, codesOf(40, 4, 2), "10 30 90 4c 2c",
			"all 5 trials of maxTrials were made; price of a bit 30 holds without training and 90 does not; 4 codes a layer hold with training"},
		"a minute runs out": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.MaxMinutes = decimal("1")
		}, breaks(40, 0), "10", "the trials took the one minute of maxMinutes; price of a bit 10 holds; no trial trained: a higher search.maxMinutes lets the search train"},
		"minutes run out": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.MaxMinutes, s.Training.Epochs = decimal("2.5"), number32(3)
		}, breaks(40, 0), "10 30 90",
			"the trials took the 2.5 minutes of maxMinutes; price of a bit 30 holds and 90 does not; no trial trained, so that what training says of epochs was not used: a higher search.maxMinutes lets the search train"},
		"the first that meets everything": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.Minimize = ""
			s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.CompressedBytes, Max: decimal("20000")})
		}, breaks(60, 0), "10 30 90 52", "trial-04 meets every constraint"},
		"a constraint asks for zeros": {func(s *v1alpha1.OptimizationPipelineSpec) {
			untrained(s)
			s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.Sparsity, Min: decimal("0.5")})
		}, func(Trial) *v1alpha1.Leaf {
			l := leaf("0.5", "1", "32")
			l.Metrics = append(l.Metrics, v1alpha1.MetricValue{Name: "Sparsity", Value: "0.5"})
			return l
		}, "0p 10 3.33 1.11 0.37 0.37 0.37", "no price of a bit holds, down to 0.37, and less than 0.3 is not tried"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan := played(t, goal(tt.change), tt.of, 60)
			if got := course(plan); got != tt.want || plan.Ended != tt.ended {
				t.Errorf("prices %s, want %s; ended: %s, want %s", got, tt.want, plan.Ended, tt.ended)
			}
		})
	}
}

// Training that is undone takes fewer codes no further, and training in int8 makes up for rounding only.
func TestWhatTrainingCannotBringIsNotTried(t *testing.T) {
	for name, tt := range map[string]struct {
		drop   string // of 4 and of fewer codes, trained
		few    string
		undone bool
		size   string
		want   string
		ended  string
	}{
		"training helps":        {"0.001", "0.05", false, "20000", "10 30 90 4c 2c 2q 3c 4q 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer hold with training"},
		"as small as at 90":     {"0.001", "0.05", false, "11111", "10 30 90 4c 2c 2q 3c 4q 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer hold with training"},
		"smaller than at 90":    {"0.001", "0.05", false, "11110", "10 30 90 4c 2c 2q 3c 4q", "; 4 codes a layer hold with training"},
		"it is undone":          {"0.001", "0.05", true, "20000", "10 30 90 4c 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer hold, and training does not help"},
		"fewer codes are far":   {"0.001", "0.12", false, "20000", "10 30 90 4c 2c 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer hold with training"},
		"four are far":          {"0.12", "0.12", false, "20000", "10 30 90 4c 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer do not hold with training"},
		"just as far as may be": {"0.11", "0.12", false, "20000", "10 30 90 4c 1q 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer do not hold with training"},
	} {
		t.Run(name, func(t *testing.T) {
			untrained := breaks(40, 0)
			results := map[string]Result{}
			in := Input{Spec: goal(nil), Layers: layers, Results: results}
			var plan Plan
			for range 30 {
				if plan = Next(in); plan.Ended != "" {
					break
				}
				trial := plan.Trials[len(plan.Trials)-1]
				result := Result{Leaf: untrained(trial), Seconds: 1}
				if trial.trains() {
					drop := tt.few
					if trial.Stage.Cluster != nil && trial.Stage.Cluster.Clusters == 4 {
						drop = tt.drop
					}
					result.Leaf, result.Undone = leaf(drop, tt.size, strconv.Itoa(codes)), tt.undone
				}
				results[trial.Stage.Name] = result
			}
			if got := course(plan); got != tt.want || !strings.HasSuffix(plan.Ended, tt.ended) {
				t.Errorf("prices %s, want %s; ended: %s, want %s", got, tt.want, plan.Ended, tt.ended)
			}
		})
	}
}

func TestWhatNearlyHoldsIsTrained(t *testing.T) {
	for name, tt := range map[string]struct{ untrained, trained, want, ended string }{
		"and holds":         {"0.05", "0.001", "10 30 90 4c 1q 30s 52 39.5 45.3 45.3 45.3 45.3q", "; 4 codes a layer do not hold with training; 45.3 holds with training"},
		"and does not hold": {"0.05", "0.02", "10 30 90 4c 1q 30s 52 39.5 45.3 45.3 45.3 45.3q", "; 4 codes a layer do not hold with training"},
		"not what is far":   {"0.2", "0.001", "10 30 90 4c 1q 30s 52 39.5 45.3 45.3 45.3", "; 4 codes a layer do not hold with training"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := played(t, goal(nil), func(trial Trial) *v1alpha1.Leaf {
				drop := "0"
				switch {
				case trial.trains() && trial.Price < 10: // few codes
					drop = "0.05"
				case trial.trains():
					drop = tt.trained
				case trial.Price > 40:
					drop = tt.untrained
				}
				return leaf(drop, fmt.Sprint(int(1e6/max(trial.Price, 1))), strconv.Itoa(codes))
			}, 1)
			if got := course(plan); got != tt.want || !strings.HasSuffix(plan.Ended, tt.ended) {
				t.Errorf("prices %s, want %s; ended: %s, want %s", got, tt.want, plan.Ended, tt.ended)
			}
		})
	}
}

func TestWhatWasTriedIsSummedUp(t *testing.T) {
	untrained := func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }
	zeros := func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Search.MaxTrials = number32(2)
		s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.Sparsity, Min: decimal("0.5")})
	}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		of     device
		want   string
	}{
		"prices and codes": {nil, codesOf(40, 3, 3), "3 by the price of a bit, 10, 30 and 90, without training; 3 with 4, 2 and 3 codes a layer, with training; 1 trained on in int8"},
		"prices":           {untrained, breaks(1e9, 0), "6 by the price of a bit, 10 to 810, without training"},
		"zeros":            {zeros, breaks(1, 0), "1 for the zeros that a constraint asks for; 1 by the price of a bit, 10, without training"},
		"channels":         {func(s *v1alpha1.OptimizationPipelineSpec) { untrained(s); s.Search.Minimize = v1alpha1.Multiplications }, narrow(0, 0, 1), "3 with at most 0.5, 0.707 and 0.841 of the multiplications, without training; 3 without 0.25, 0.125 and 0.125 of the channels, without training"},
		"shares":           {func(s *v1alpha1.OptimizationPipelineSpec) { untrained(s); s.Search.Minimize = v1alpha1.ArenaBytes }, narrow(0, 0, 1), "3 without 0.25, 0.125 and 0.125 of the channels, without training"},
	} {
		results := map[string]Result{walk.Baseline: {Leaf: leaf("0", "1000", "32")}}
		plan := playedOn(t, Input{Spec: goal(tt.change), Layers: wide(), Results: results}, tt.of, 1)
		if got := plan.Tried(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := (&Plan{}).Tried(); got != "" {
		t.Errorf("nothing: %s", got)
	}
}

// Prices of different tilts, or with and without training, are no measure of each other: a trial says which its own is.
func TestATrialSaysWhichPriceItHas(t *testing.T) {
	plan := played(t, goal(nil), breaks(40, 100), 1)
	for i, want := range map[int]string{
		0:  "prices a bit at 10 by what layers tolerate, and is the first of these",
		1:  "prices a bit at 30 by what layers tolerate, and goes on from 10, which holds",
		3:  "trains, with 4 codes a layer, and more where layers tolerate less",
		4:  "trains, with 2 codes a layer, and more where layers tolerate less",
		6:  "prices a bit at 30 by what layers tolerate with one scale a tensor, and may be smaller than 30 by what layers tolerate",
		7:  "prices a bit at 52 by what layers tolerate, and lies between 30, which holds, and 90, which does not",
		10: "prices a bit at 45.3 for every layer alike, and may hold where 45.3 by what layers tolerate does not",
		11: "prices a bit at 45.3 in error of the outputs alike, and may hold where 45.3 by what layers tolerate does not",
	} {
		if got := plan.Trials[i].Why; got != want {
			t.Errorf("%s %s, want %s", plan.Trials[i].Stage.Name, got, want)
		}
	}
	if got, want := played(t, goal(nil), breaks(0.2, 15), 1).Trials[7].Why, "trains, prices a bit at 20 by what layers tolerate, and goes on from 10, which holds"; got != want {
		t.Errorf("trial-08 %s, want %s", got, want)
	}
}

func TestAnotherTiltIsTakenWhereItsLeafIsSmallerAndHolds(t *testing.T) {
	flat := func(t Trial) bool {
		return len(t.Stage.Cluster.Rules) == 0
	}
	for name, tt := range map[string]struct {
		size float64 // of leaves with one price for all layers, as a share of others'
		want string
	}{
		"smaller": {0.9, "10 30 10s 17.3 13.2 11.5 11.5 12.6 13.8 15.1 16.5 18.1 19.8 21.7 21.7"},
		"larger":  {9, "10 30 10s 17.3 13.2 11.5 11.5 11.5"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := played(t, goal(func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }), func(t Trial) *v1alpha1.Leaf {
				drop, size := "0", 1e6/t.Price
				if limit := 10.0; t.Price > limit && !flat(t) || t.Price > 2*limit {
					drop = "0.5"
				}
				if flat(t) {
					size *= tt.size
				}
				return leaf(drop, fmt.Sprint(int(size)), "32")
			}, 1)
			if got := course(plan); got != tt.want {
				t.Errorf("prices %s, want %s", got, tt.want)
			}
		})
	}
}

func TestOneScaleATensorIsTakenWhereItsLeafIsSmallerAndHolds(t *testing.T) {
	one := func(t Trial) bool { return t.Stage.Cluster.Scope == oneScale }
	for name, tt := range map[string]struct {
		size, limit float64 // of leaves with one scale a tensor, size as a share of others'
		want        string
		ended       string
	}{
		"at the same price, and on from there": {0.9, 30, "10 30 10s 14.4s 20.7s 29.9s 43s 35.8s 35.8s 35.8s", "price of a bit 29.9 holds and 35.8 does not"},
		"a step below":                         {0.6, 9, "10 30 10s 17.3 13.2 11.5 11.5 11.5 6.94s 8.33s", "price of a bit 8.33 holds and 10 does not"},
		"two steps below is too little":        {0.6, 6, "10 30 10s 17.3 13.2 11.5 11.5 11.5 6.94s", "price of a bit 10 holds and 11.5 does not"},
		"larger":                               {1.1, 30, "10 30 10s 17.3 13.2 11.5 11.5 11.5", "price of a bit 10 holds and 11.5 does not"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := played(t, goal(func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }), func(t Trial) *v1alpha1.Leaf {
				drop, size, limit := "0", 1e6/t.Price, 10.0
				if one(t) {
					size, limit = size*tt.size, tt.limit
				}
				if t.Price > limit {
					drop = "0.5"
				}
				return leaf(drop, fmt.Sprint(int(size)), "32")
			}, 1)
			if got := course(plan); got != tt.want || !strings.HasPrefix(plan.Ended, tt.ended) {
				t.Errorf("prices %s, want %s; ended: %s, want %s", got, tt.want, plan.Ended, tt.ended)
			}
		})
	}
}

func TestFewCodesAreMoreWhereLayersTolerateLess(t *testing.T) {
	depthwise := layer("depthwise", 100, 4e-5)
	depthwise.Kept = true
	of := []sensitivity.Layer{layer("stem", 100, 1e-2), layer("middle", 10000, 1e-2), layer("head", 1000, 1e-3), depthwise}
	tests := map[string]struct {
		codes, most int
		want        string
	}{
		"two, and the stem 2·√96":         {2, 32, "stem 20 codes, depthwise at 1"},
		"no more than there may be":       {4, 16, "stem 16 codes, depthwise at 1"},
		"none where as many are the most": {4, 4, "depthwise at 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := allocation{price: 1, codes: tt.codes, most: tt.most, scope: oneScale}.cluster(of)
			var got []string
			for _, r := range c.Rules {
				text := r.Layers
				if r.Clusters != nil {
					text += fmt.Sprintf(" %d codes", *r.Clusters)
				}
				if r.Entropy != nil {
					text += " at " + string(*r.Entropy)
				}
				got = append(got, text)
			}
			if text := strings.Join(got, ", "); text != tt.want || c.Clusters != int32(tt.codes) || c.Scope != oneScale || c.Reconstruct != nil {
				t.Errorf("%s, want %s; %+v", text, tt.want, c)
			}
		})
	}
}

func TestAFailedTrialHoldsNothing(t *testing.T) {
	plan := played(t, goal(func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }), func(t Trial) *v1alpha1.Leaf {
		if t.Price > 10 {
			return nil
		}
		return leaf("0", "100", "32")
	}, 1)
	if got, want := course(plan), "10 30 10s 17.3 13.2 11.5 11.5 11.5"; got != want {
		t.Errorf("prices %s, want %s", got, want)
	}
}

func TestALeafWithoutASizeEndsTheSearch(t *testing.T) {
	plan := played(t, goal(nil), func(Trial) *v1alpha1.Leaf { return leaf("0", "many", "32") }, 1)
	if len(plan.Trials) != 1 || !strings.Contains(plan.Ended, "the leaf of trial-01 has no CompressedBytes to go by") {
		t.Errorf("%s: %s", course(plan), plan.Ended)
	}
}

func TestNetworksWithoutWeightsToShareEndTheSearch(t *testing.T) {
	plan := Next(Input{Spec: goal(nil), Layers: []sensitivity.Layer{{Name: "clustered", Weights: 5}}})
	if len(plan.Trials) > 0 || !strings.Contains(plan.Ended, "no layer has weights") {
		t.Errorf("%+v", plan)
	}
}

// The average layer is middle, with ten times as many weights as the others together.
func TestLayersThatTolerateLessHaveCheaperBits(t *testing.T) {
	tests := map[string]struct {
		of   allocation
		want string
	}{
		"one price for all":              {allocation{price: 10, tilt: 0, codes: 16}, ""},
		"one price for the output error": {allocation{price: 10, tilt: 1, codes: 16}, "middle 10.4, head 10.4, stem 0.104"},
		"between":                        {allocation{price: 10, tilt: 0.5, codes: 16}, "middle 10.2, head 10.2, stem 1.02"},
		"as dear as may be":              {allocation{price: 990, tilt: 1, codes: 16}, "middle 1000, head 1000, stem 10.3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := tt.of.cluster(layers)
			var got []string
			for _, r := range c.Rules {
				got = append(got, r.Layers+" "+string(*r.Entropy))
			}
			if text := strings.Join(got, ", "); text != tt.want || c.Clusters != 16 || c.Scope != "" {
				t.Errorf("%s, want %s; %+v", text, tt.want, c)
			}
		})
	}
}

// l63 has the price of the average layer.
func TestManyLayersHaveRulesForTheLargest(t *testing.T) {
	var many []sensitivity.Layer
	for i := range 100 {
		many = append(many, layer(fmt.Sprintf("l%d", i), i+1, 1))
	}
	c := allocation{price: 1, tilt: 1, codes: 32}.cluster(many)
	if len(c.Rules) != sensitivity.MostRules || c.Rules[0].Layers != "l99" || c.Rules[63].Layers != "l35" {
		t.Errorf("%d rules: %+v", len(c.Rules), c.Rules)
	}
}

func TestLayersOfOnePriceShareARule(t *testing.T) {
	kept := func(name string) sensitivity.Layer {
		l := layer(name, 100, 1e-2)
		l.Kept = true
		return l
	}
	tests := map[string]struct {
		layers []sensitivity.Layer
		want   string
	}{
		"the stage's own needs none":           {[]sensitivity.Layer{layer("a", 1, 1), layer("b", 1, 1)}, ""},
		"but where no stage touches a layer":   {[]sensitivity.Layer{layer("a", 1, 1), kept("b")}, "b 10"},
		"a pattern for all and no other":       {[]sensitivity.Layer{kept("block1/depthwise"), kept("block2/depthwise"), layer("block2/pointwise", 100, 1e-2)}, "block*/depthwise 10"},
		"one each where others would go by it": {[]sensitivity.Layer{kept("block1/depthwise"), kept("block2/depthwise"), layer("block3/depthwise", 100, 1e-2)}, "block1/depthwise 10, block2/depthwise 10"},
		"of letters of several bytes":          {[]sensitivity.Layer{kept("xä1ö"), kept("xé2ö"), layer("y", 100, 1e-2)}, "x*ö 10"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := allocation{price: 10, codes: 16}.cluster(tt.layers)
			var got []string
			for _, r := range c.Rules {
				got = append(got, r.Layers+" "+string(*r.Entropy))
			}
			if text := strings.Join(got, ", "); text != tt.want || *c.Entropy != "10" {
				t.Errorf("%s, want %s", text, tt.want)
			}
			for i, p := range Prices(tt.layers, []v1alpha1.Stage{{Cluster: c}}) {
				if p.Layer != tt.layers[i].Name || p.Entropy != "10" {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func TestTheManifestIsTheChainOfStagesThatMadeTheLeaf(t *testing.T) {
	spec := goal(nil)
	plan := played(t, spec, breaks(40, 100), 1)
	p := &v1alpha1.OptimizationPipeline{Spec: *spec}
	p.Name = "goal"
	for i := range plan.Trials {
		trial := plan.Trials[i].Stage
		m := Manifest(p, &plan, trial.Name)
		want := []v1alpha1.Stage{trial}
		if trial.Quantize != nil {
			want = []v1alpha1.Stage{plan.Trials[i-1].Stage, trial}
		}
		if diff := cmp.Diff(want, m.Spec.Stages); diff != "" || m.Spec.Search != nil || m.Name != "goal" {
			t.Errorf("%s: search %v:\n%s", trial.Name, m.Spec.Search, diff)
		}
		if s := m.Spec.Selection; s.Strategy != v1alpha1.SelectBest || s.Objective != v1alpha1.CompressedBytes {
			t.Errorf("selection %+v", s)
		}
	}
	p.Spec.Target.Runtime = "TFLM"
	if m := Manifest(p, &plan, plan.Trials[0].Stage.Name); m.Spec.Leaf.Names != v1alpha1.DropNames || p.Spec.Leaf.Names != "" {
		t.Errorf("names of leaves: %q, of the goal %q", m.Spec.Leaf.Names, p.Spec.Leaf.Names)
	}
	if m := Manifest(p, &plan, v1alpha1.BaselineStage); m != nil {
		t.Errorf("the baseline has a manifest: %+v", m)
	}
}

func TestPricesAreThoseOfTheLastClusterStage(t *testing.T) {
	a := allocation{price: 10, tilt: 1, codes: 32}
	chain := []v1alpha1.Stage{{Prune: &v1alpha1.Prune{}}, {Cluster: a.cluster(layers)}, {Quantize: &v1alpha1.Quantize{}}}
	var got []string
	for _, p := range Prices(layers, chain) {
		got = append(got, fmt.Sprintf("%s %.2g %s", p.Layer, p.Share, p.Entropy))
	}
	if text, want := strings.Join(got, ", "), "stem 96 0.104, middle 0.96 10.4, head 0.96 10.4"; text != want {
		t.Errorf("%s, want %s", text, want)
	}
	if got := Prices(layers, chain[:1]); got != nil {
		t.Errorf("without a cluster stage: %v", got)
	}
}

// A prune stage gives every layer the nearest whole number of zeros to its share, which may be too few in all.
func TestZerosThatAConstraintAsksForAreEnoughInAnyLayers(t *testing.T) {
	for _, least := range []string{"0.5", "0.7", "0.333333", "0.95", "0.0001"} {
		for first := range 40 {
			s := &search{Input: Input{Layers: []sensitivity.Layer{{Weights: 9, Kept: true}}}}
			sizes := []int{first + 20, 2*first + 33, 216, 501}
			for _, n := range sizes {
				s.Layers = append(s.Layers, sensitivity.Layer{Weights: n})
			}
			asked := s.sparsity(v1alpha1.Decimal(least))
			share, err := asked.Float(0)
			if err != nil {
				t.Fatal(err)
			}
			zeros, all := 0, 0
			for _, n := range sizes {
				zeros, all = zeros+prune.Count(n, share), all+n
			}
			if want, _ := strconv.ParseFloat(least, 64); float64(zeros) < want*float64(all) || float64(zeros) > want*float64(all)+float64(len(sizes))+1 {
				t.Errorf("%s of %v: sparsity %s, %d zeros of %d", least, sizes, asked, zeros, all)
			}
		}
	}
	for least, want := range map[string]v1alpha1.Decimal{"0": "0", "0.999": "0.999999", "1": "0.999999"} {
		s := &search{Input: Input{Layers: []sensitivity.Layer{{Weights: 100}}}}
		if got := s.sparsity(v1alpha1.Decimal(least)); got != want {
			t.Errorf("%s: sparsity %s, want %s", least, got, want)
		}
	}
}
