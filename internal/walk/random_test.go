package walk

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

// situation makes a spec and facts at random, some of which no walk leads to.
func situation(r *rand.Rand) (*v1alpha1.OptimizationPipelineSpec, Facts) {
	spec := chain(parallel(1 + r.Int32N(4)))
	if r.IntN(4) > 0 {
		spec.Constraints = append(spec.Constraints, small)
	}
	if r.IntN(4) == 0 {
		spec.Constraints = append(spec.Constraints, flash)
	}
	if r.IntN(3) == 0 {
		best(spec)
	}
	spec.RunPolicy.Suspend = r.IntN(8) == 0
	facts := known(spec, versions, "baseline", "prune", "pqat", "cluster", "pcqat", "only")
	facts.Publish = r.IntN(2) == 0
	if r.IntN(2) == 0 {
		facts.Versions = nil
	}
	sizes := []string{"50", "100", "101", "300"}
	for _, name := range []string{"baseline", "prune", "pqat", "cluster", "pcqat", "only", "publish"} {
		f := facts.Stages[name]
		if r.IntN(3) > 0 && name == "baseline" {
			continue
		}
		hash := f.InputHash
		switch r.IntN(9) {
		case 0, 1, 2:
			f = leaf(sizes[r.IntN(len(sizes))], "0")
			f.Model = "sha256:" + name
		case 3:
			f = running
			f.Started = ago(time.Duration(r.IntN(48)) * time.Hour)
		case 4:
			f = stopping
		case 5:
			f = evicted(1+r.Int32N(5), time.Duration(r.IntN(60))*time.Second)
		case 6:
			f = []Fact{failure, changed}[r.IntN(2)]
		case 7:
			f = Fact{State: v1alpha1.StageQueued, Job: []string{"", "job"}[r.IntN(2)], Reason: "WaitingForVolume", Message: "m"}
		default:
			delete(facts.Stages, name)
			continue
		}
		f.InputHash = hash
		if r.IntN(8) == 0 {
			f.InputHash = "sha256:other"
		}
		if name == "publish" {
			f.Leaf, f.Model = nil, ""
		}
		facts.Stages[name] = f
	}
	return spec, facts
}

func TestNoSituationIsStuckOrContradictory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	reasons := map[string]int{}
	for range 5_000 {
		spec, facts := situation(r)
		d := Decide(spec, facts, noon)
		reasons[d.Reason]++
		coherent(t, &d)
		busy := len(d.Start) > 0 || !d.Again.IsZero() || d.Finished || d.Suspended
		for _, s := range d.Stages {
			busy = busy || s.inFlight() || s.State == v1alpha1.StageQueued
		}
		if !busy {
			t.Errorf("stuck: %s", d.Message)
		}
		if again := Decide(spec, facts, noon); !cmp.Equal(d.Start, again.Start) || d.Message != again.Message {
			t.Errorf("decided otherwise: %s, then %s", d.Message, again.Message)
		}
		if t.Failed() {
			t.Fatalf("spec %+v\nfacts %+v\ndecision %+v", spec, facts, d)
		}
	}
	for _, want := range []string{ReasonProgressing, ReasonConstraintsMet, ReasonNotMet, ReasonCannotBeMet, ReasonInputChanged, ReasonStopping, ReasonSuspended, ReasonPublishing, ReasonRetrying} {
		if reasons[want] == 0 {
			t.Errorf("no situation was %s: %v", want, reasons)
		}
	}
}

func TestEveryWalkEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		spec, facts := situation(r)
		spec.RunPolicy.Suspend = false
		now := noon
		var d Decision
		trail := []string{}
		for step := 0; ; step++ {
			if step > 200 {
				t.Fatalf("no end after %s", strings.Join(trail[len(trail)-10:], "; "))
			}
			d = Decide(spec, facts, now)
			if d.Finished {
				break
			}
			trail = append(trail, d.Message)
			now = play(r, &d, facts, now)
		}
		if d.Selected == "" && d.Ready {
			t.Errorf("ready without a leaf: %s", d.Message)
		}
	}
}

// play acts as a cluster would, with luck and bad luck, and returns the time then.
func play(r *rand.Rand, d *Decision, facts Facts, now time.Time) time.Time {
	if facts.Baseline == nil {
		facts.Baseline = &pinned
	}
	for _, name := range d.Stop {
		delete(facts.Stages, name)
	}
	for name, f := range facts.Stages {
		switch {
		case f.State == v1alpha1.StageQueued || f.State == v1alpha1.StageStopping:
			delete(facts.Stages, name)
		case f.State == v1alpha1.StageRunning && r.IntN(3) == 0:
			g := evicted(f.Attempt, noon.Sub(now))
			g.Failures, g.InputHash = f.Failures+1, f.InputHash
			facts.Stages[name] = g
		case f.State == v1alpha1.StageRunning:
			g := leaf([]string{"50", "300"}[r.IntN(2)], "0")
			g.InputHash, g.Model = f.InputHash, "sha256:"+name
			facts.Stages[name] = g
		}
	}
	for _, name := range d.Start {
		s := d.Stage(name)
		facts.Stages[name] = Fact{State: v1alpha1.StageRunning, Attempt: s.Attempt, Failures: facts.Stages[name].Failures, Job: "job", InputHash: s.InputHash, Started: ago(noon.Sub(now))}
	}
	if d.Again.After(now) {
		return d.Again
	}
	return now.Add(time.Second)
}
