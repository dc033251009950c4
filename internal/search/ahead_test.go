package search

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/sensitivity"
)

// crew plays a search beside which helpers make what Ahead says, every trial in one round.
type crew struct {
	t       *testing.T
	in      Input
	of      device
	made    map[string]Result
	helpers int
	wasted  int // trials that were made and never wanted
}

// played returns the plan and how many rounds it took.
func (c *crew) played() (Plan, int) {
	c.t.Helper()
	wanted := map[string]bool{}
	c.made = map[string]Result{}
	for rounds := 0; rounds < 100; {
		plan := Next(c.in)
		if plan.Ended != "" {
			for id := range c.made {
				if !wanted[id] {
					c.wasted++
				}
			}
			return plan, rounds
		}
		pending := plan.Trials[len(plan.Trials)-1]
		course := Course(&plan)
		id := course[len(course)-1].ID()
		wanted[id] = true
		if _, there := c.made[id]; !there {
			ahead := Ahead(c.in, c.made)
			for _, likely := range ahead[:min(c.helpers, len(ahead))] {
				stage := likely.Stages[len(likely.Stages)-1]
				if _, there := c.made[likely.ID()]; there || likely.ID() == id {
					c.t.Errorf("%s is made a second time", stage.Name)
				}
				c.made[likely.ID()] = Result{Leaf: c.of(trialOf(stage)), Seconds: 1}
			}
			c.made[id] = Result{Leaf: c.of(pending), Seconds: 1}
			rounds++
		}
		c.in.Results[pending.Stage.Name] = c.made[id]
	}
	c.t.Fatal("it does not end")
	return Plan{}, 0
}

// trialOf is what a device sees of a stage.
func trialOf(stage v1alpha1.Stage) Trial {
	t := Trial{Stage: stage}
	if stage.Cluster != nil {
		t.Price, _ = stage.Cluster.Entropy.Float(0)
	}
	if stage.Prune != nil {
		t.Channels, _ = stage.Prune.Channels.Float(0)
		t.Multiplications, _ = stage.Prune.Multiplications.Float(0)
	}
	return t
}

func TestWhatIsMadeAheadChangesNoPlan(t *testing.T) {
	untrained := func(s *v1alpha1.OptimizationPipelineSpec) { s.Training.Epochs = number32(0) }
	zeros := func(s *v1alpha1.OptimizationPipelineSpec) {
		untrained(s)
		s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.Sparsity, Min: decimal("0.5")})
	}
	// a leaf is told by its price as the manifest has it, since that is all that a helper sees
	price := func(limit float64) device {
		return func(t Trial) *v1alpha1.Leaf {
			seen := trialOf(t.Stage)
			l := breaks(limit, 2.5*limit)(seen)
			l.Metrics = append(l.Metrics, v1alpha1.MetricValue{Name: "Sparsity", Value: "0.6"})
			return l
		}
	}
	tests := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		of     device
		rounds [3]int // with 0, 2 and 7 helpers
		layers []sensitivity.Layer
	}{
		"channels go": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Search.Minimize = v1alpha1.ArenaBytes }, func(t Trial) *v1alpha1.Leaf {
			drop := "0"
			if trialOf(t.Stage).Channels > 0.4 {
				drop = "0.5"
			}
			l := leaf(drop, "1000", "32")
			l.Metrics = append(l.Metrics, v1alpha1.MetricValue{Name: "ArenaBytes", Value: "1000"})
			return l
		}, [3]int{9, 4, 3}, wide()},
		"without training":            {untrained, price(40), [3]int{9, 5, 3}, layers},
		"it begins too high":          {untrained, price(2), [3]int{9, 5, 3}, layers},
		"everything holds":            {untrained, price(1e9), [3]int{6, 3, 2}, layers},
		"with training":               {nil, price(40), [3]int{12, 5, 3}, layers},
		"a constraint asks for zeros": {zeros, price(40), [3]int{10, 6, 4}, layers},
		"trials fail": {untrained, func(t Trial) *v1alpha1.Leaf {
			if trialOf(t.Stage).Price > 20 {
				return nil
			}
			return leaf("0", "100", "32")
		}, [3]int{8, 4, 3}, layers},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var alone Plan
			for i, helpers := range []int{0, 2, 7} {
				c := &crew{t: t, in: Input{Spec: goal(tt.change), Layers: tt.layers, Results: map[string]Result{}}, of: tt.of, helpers: helpers}
				plan, rounds := c.played()
				if i == 0 {
					alone = plan
				}
				if diff := cmp.Diff(alone, plan); diff != "" {
					t.Errorf("%d helpers: another plan:\n%s", helpers, diff)
				}
				if rounds != tt.rounds[i] {
					t.Errorf("%d helpers: %d rounds, want %d; %d trials in vain", helpers, rounds, tt.rounds[i], c.wasted)
				}
			}
		})
	}
}

func TestATrialMadeAheadIsTheOneThatIsWantedLater(t *testing.T) {
	in := Input{Spec: goal(nil), Layers: layers, Results: map[string]Result{}}
	ahead := Ahead(in, nil)
	for outcome, drop := range map[string]string{"holds": "0", "does not": "0.5"} {
		in.Results = map[string]Result{"trial-01": {Leaf: leaf(drop, "1000", "32")}}
		plan := Next(in)
		course := Course(&plan)
		wanted := course[len(course)-1]
		i := slices.IndexFunc(ahead, func(l Likely) bool { return l.ID() == wanted.ID() })
		if i < 0 || i > 2 { // few codes are trained whatever came of it
			t.Fatalf("%s: it comes as number %d of those ahead", outcome, i)
		}
		if diff := cmp.Diff(wanted.Stages, ahead[i].Stages); diff != "" {
			t.Errorf("%s:\n%s", outcome, diff)
		}
	}
}

// A trial in int8 works on what the one before it made, whatever names both have.
func TestATrialIsToldByWhatItBuildsOn(t *testing.T) {
	on := func(from string, price float64) Plan {
		return Plan{Trials: []Trial{
			{Stage: v1alpha1.Stage{Name: "trial-01", From: v1alpha1.FromModel, Cluster: allocation{price: 1, tilt: 0, codes: 32}.cluster(layers)}},
			{Stage: v1alpha1.Stage{Name: from, From: v1alpha1.FromModel, Cluster: allocation{price: price, tilt: 0, codes: 32}.cluster(layers)}},
			{Stage: v1alpha1.Stage{Name: "trial-03", From: from, Quantize: &v1alpha1.Quantize{}}},
		}}
	}
	a, b, c := on("trial-02", 5), on("another", 5), on("trial-02", 6)
	last := func(p *Plan) Likely { return Course(p)[2] }
	if last(&a).ID() != last(&b).ID() || last(&a).ID() == last(&c).ID() || len(last(&a).Stages) != 2 || last(&a).IDs[0] != Course(&a)[1].ID() {
		t.Errorf("%v\n%v\n%v", last(&a).IDs, last(&b).IDs, last(&c).IDs)
	}
}

func TestHelpers(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		want   int32
	}{
		"none by default":    {func(*v1alpha1.OptimizationPipelineSpec) {}, 0},
		"one less than Jobs": {func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Parallelism = number32(3) }, 2},
		"a bound":            {func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Parallelism = number32(32) }, MostHelpers},
		"not of stages":      {func(s *v1alpha1.OptimizationPipelineSpec) { s.RunPolicy.Parallelism, s.Search = number32(3), nil }, 0},
		"not where time is less": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.RunPolicy.Parallelism, s.Search.Minimize = number32(3), v1alpha1.LatencyMicros
		}, 0},
		"not where time is bounded": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.RunPolicy.Parallelism = number32(3)
			s.Constraints = append(s.Constraints, v1alpha1.Constraint{Metric: v1alpha1.LatencyMicros, Max: decimal("10")})
		}, 0},
		"not beside programs that measure": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.RunPolicy.Parallelism, s.Measurements = number32(3), []v1alpha1.Measurement{{Name: "cycles"}}
		}, 0},
	} {
		if got := Helpers(goal(tt.change)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
