package search

import (
	"fmt"
	"strconv"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// wide are layers that have channels, of which the last bear more.
func wide() []sensitivity.Layer {
	out := []sensitivity.Layer{layer("stem", 100, 1e-2), layer("middle", 10000, 1e-2), layer("head", 1000, 1e-3)}
	for i := range out[:2] {
		out[i].Multiplications = 1000
		for _, share := range sensitivity.Channels {
			out[i].Channels = append(out[i].Channels, sensitivity.Level{Level: share, Error: share * share / float64(1+99*i), Bits: 1 - share})
		}
	}
	return out
}

// narrow are leaves that answer well up to a share of the channels, another where something is trained, and a price, and that take arena by
// the channels.
func narrow(untrained, trained, price float64) device {
	lost := map[string]float64{}
	return func(t Trial) *v1alpha1.Leaf {
		own := t.Channels
		if t.Multiplications > 0 {
			own = 1 - t.Multiplications
		}
		share := max(own, lost[t.Stage.From])
		lost[t.Stage.Name] = share
		limit := trained
		if v1alpha1.Or(t.Stage.Training.Epochs, 1) == 0 {
			limit = untrained
		}
		drop := "0"
		if own > limit || t.Price > price {
			drop = "0.5"
		}
		l := leaf(drop, strconv.Itoa(int(1e6*(1-share)/max(t.Price, 1))), "32")
		number := fmt.Sprint(1000 * (1 - share))
		l.Metrics = append(l.Metrics, v1alpha1.MetricValue{Name: "ArenaBytes", Value: number}, v1alpha1.MetricValue{Name: "Multiplications", Value: number}, v1alpha1.MetricValue{Name: "FileBytes", Value: number}, v1alpha1.MetricValue{Name: "LatencyMicros", Value: number}, v1alpha1.MetricValue{Name: "cycles", Value: number})
		return l
	}
}

func TestASearchTakesChannelsOutWhereCodesDoNotHelp(t *testing.T) {
	minimize := func(m v1alpha1.Metric, epochs int32) func(s *v1alpha1.OptimizationPipelineSpec) {
		return func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.Minimize, s.Training.Epochs = m, number32(epochs)
		}
	}
	bound := func(m v1alpha1.Metric, max string, epochs int32) func(s *v1alpha1.OptimizationPipelineSpec) {
		return func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Constraints, s.Training.Epochs = append(s.Constraints, v1alpha1.Constraint{Metric: m, Max: decimal(max)}), number32(epochs)
		}
	}
	tests := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		of     device
		want   string // shares with c, prices, t with training, q in int8
		from   string // that the last trial works on
		ended  string
	}{
		"without training": {minimize(v1alpha1.FileBytes, 0), narrow(0.4, 0, 1), "0.25c 0.5c 0.375c 0.5c", "model",
			"share of the channels to take out 0.375 holds and 0.5 does not, which is as near as shares are tried"},
		"by multiplications": {minimize(v1alpha1.Multiplications, 0), narrow(0.4, 0, 1), "0.5m 0.707m 0.595m 0.648m 0.25c 0.5c 0.375c 0.5c", "model",
			"share of the multiplications to leave 0.648 holds and 0.595 does not, which is as near as shares are tried; share of the channels to take out 0.375 holds and 0.5 does not, which is as near as shares are tried"},
		"by multiplications, with training": {minimize(v1alpha1.Multiplications, 2), narrow(0.4, 0.6, 1), "0.5m 0.707m 0.595m 0.648m 0.324mt 0.324mq 0.459mt 0.386mt 0.386mq 0.42mt 0.375c 0.625c 0.5c 0.5c 0.625ct 0.625cq 0.5ct", "model",
			"share of the multiplications to leave 0.42 holds and 0.386 does not, which is as near as shares are tried; share of the channels to take out 0.5 holds and 0.625 does not, which is as near as shares are tried"},
		"no fewer multiplications": {minimize(v1alpha1.Multiplications, 0), narrow(0, 0, 1), "0.5m 0.707m 0.841m 0.25c 0.125c 0.125c", "model",
			"no share of the multiplications to leave holds, up to 0.841, and more than 0.87 is not tried; no share of the channels to take out holds, down to 0.125, and less than 0.125 is not tried"},
		"hardly any multiplications": {minimize(v1alpha1.Multiplications, 0), narrow(1, 0, 1), "0.5m 0.25m 0.125m 0.0625m 0.75c", "model",
			"share of the multiplications to leave 0.0625 holds, and less than 0.0625 is not tried; share of the channels to take out 0.75 holds, and more than 0.75 is not tried"},
		"a bound on multiplications, then codes on the leaf that lost least": {bound(v1alpha1.Multiplications, "600", 0), narrow(0.6, 0, 900), "0.6m 10 30 90 270 810 810s", "trial-01",
			"price of a bit 810 holds, and more than 900 is not tried"},
		"with training": {minimize(v1alpha1.ArenaBytes, 2), narrow(0.4, 0.5, 1), "0.25c 0.5c 0.375c 0.5c 0.625ct 0.625cq 0.5ct", "model",
			"share of the channels to take out 0.5 holds and 0.625 does not, which is as near as shares are tried"},
		"none may go": {minimize(v1alpha1.LatencyMicros, 0), narrow(0, 0, 1), "0.25c 0.125c 0.125c", "model",
			"no share of the channels to take out holds, down to 0.125, and less than 0.125 is not tried"},
		"all may go": {minimize(v1alpha1.ArenaBytes, 0), narrow(1, 0, 1), "0.25c 0.5c 0.75c", "model",
			"share of the channels to take out 0.75 holds, and more than 0.75 is not tried"},
		"a bound that the baseline misses, then codes on the leaf that lost least": {bound(v1alpha1.ArenaBytes, "500", 0), narrow(0.6, 0, 900), "0.25c 0.5c 0.75c 0.625c 0.625c 10 30 90 270 810 810s", "trial-02",
			"price of a bit 810 holds, and more than 900 is not tried"},
		"a bound that cannot be met": {bound(v1alpha1.ArenaBytes, "100", 0), narrow(0.4, 0, 900), "0.25c 0.5c 0.375c 0.5c", "model",
			"share of the channels to take out 0.375 holds and 0.5 does not, which is as near as shares are tried, and what holds does not meet the constraints on size"},
		"a bound on multiplications that takes training": {bound(v1alpha1.Multiplications, "250", 2), narrow(0.6, 0.75, 900), "0.25m 0.25mt 10 30 90 270 810 4c 2c 3c 810s", "trial-02",
			"price of a bit 810 holds without training, and more than 900 is not tried; 4 and 2 and 3 codes a layer hold with training"},
		"a bound on multiplications that cannot be met": {bound(v1alpha1.Multiplications, "300", 0), narrow(0.6, 0, 900), "0.3m 0.5c", "model",
			"no share of the multiplications to leave holds, up to 0.3, and more than 0.3 is not tried; share of the channels to take out 0.5 holds, and more than 0.5 is not tried, and what holds does not meet the constraints on size"},
		"trials run out": {func(s *v1alpha1.OptimizationPipelineSpec) {
			minimize(v1alpha1.ArenaBytes, 0)(s)
			s.Search.MaxTrials = number32(3)
		}, narrow(0.4, 0, 1), "0.25c 0.5c 0.375c", "model",
			"all 3 trials of maxTrials were made; share of the channels to take out 0.375 holds and 0.5 does not"},
		"a bound that the baseline meets": {bound(v1alpha1.ArenaBytes, "1000", 0), narrow(0.4, 0, 900), "10 30 90 270 810 810s", "model",
			"price of a bit 810 holds, and more than 900 is not tried"},
		"a measurement is lowered by both": {minimize("cycles", 0), narrow(0.3, 0, 40), "0.25c 0.5c 0.375c 0.375c 10 30 90 30s 52 39.5 45.3 45.3 45.3", "trial-01",
			"price of a bit 39.5 holds and 45.3 does not, which is as near as prices are tried"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			results := map[string]Result{walk.Baseline: {Leaf: tt.of(Trial{Stage: v1alpha1.Stage{Name: walk.Baseline}})}}
			plan := playedOn(t, Input{Spec: goal(tt.change), Layers: wide(), Results: results}, tt.of, 1)
			if got := course(plan); got != tt.want || plan.Ended != tt.ended {
				t.Errorf("tried %s, want %s; ended: %s, want %s", got, tt.want, plan.Ended, tt.ended)
			}
			if from := plan.Trials[len(plan.Trials)-1].Stage.From; from != tt.from {
				t.Errorf("the last trial works on %s, want %s", from, tt.from)
			}
		})
	}
}

// Layers that bear less lose less, where the same share of all does not hold.
func TestChannelsGoByWhatLayersTolerate(t *testing.T) {
	s := &search{Input: Input{Layers: wide()}}
	even, by := s.cut(&frontier{scale: &shares}, 0.5), s.cut(&frontier{scale: &shares, tilt: 0.5}, 0.5)
	if len(even.Rules) > 0 || *even.Channels != "0.5" || !*even.Reconstruct {
		t.Errorf("%+v", even)
	}
	share := map[string]float64{}
	for _, l := range s.Layers[:2] {
		share[l.Name], _ = by.Channels.Float(0)
	}
	for _, r := range by.Rules {
		share[r.Layers], _ = r.Channels.Float(0)
	}
	if share["stem"] >= share["middle"] || share["stem"]+share["middle"] < 1 {
		t.Errorf("shares %v", share)
	}
}

// No trial asks for fewer multiplications than can be had, which would fail.
func TestNoFewerMultiplicationsAreAskedForThanCanBeHad(t *testing.T) {
	for least, want := range map[float64]string{0.3: "0.5m 0.25c 0.5c 0.75c", 0.6: "0.6m 0.25c 0.5c 0.75c", 0.9: "", 0: "0.5m 0.25m 0.125m 0.0625m 0.25c 0.5c 0.75c"} {
		spec := goal(func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Search.Minimize, s.Training.Epochs = v1alpha1.Multiplications, number32(0)
		})
		plan := playedOn(t, Input{Spec: spec, Layers: wide(), Least: least, Results: map[string]Result{}}, narrow(1, 0, 1), 1)
		if got := course(plan); got != want {
			t.Errorf("%g: %s, want %s; %s", least, got, want, plan.Ended)
		}
	}
}

func TestNetworksWithoutChannelsToTakeOutEndTheSearch(t *testing.T) {
	spec := goal(func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.Minimize = v1alpha1.ArenaBytes })
	if plan := Next(Input{Spec: spec, Layers: layers}); len(plan.Trials) > 0 || plan.Ended != "no channels can be taken out of this network, and nothing else takes less" {
		t.Errorf("%+v", plan)
	}
}
