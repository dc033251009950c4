package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
)

// Trial is one rate of a RangeTest.
type Trial struct {
	Rate float64 `json:"rate"`
	// Loss after the trial's steps; −1 if training diverged.
	Loss float64 `json:"loss"`
}

// RangeTest is how a learning rate was found: every rate took the same few steps from the same start, in the manner of Smith's learning
// rate range test (arXiv 1506.01186), on the loss, the masks, the codes and the quantization that are trained.
type RangeTest struct {
	Rate    float64 `json:"rate"`              // found, and since divided by backFactor as often as training went back
	Start   float64 `json:"start"`             // loss before any step
	Trials  []Trial `json:"trials"`            // rates ascending; rates above the last were not tried
	Steps   int     `json:"steps"`             // of every trial
	Samples int     `json:"samples"`           // that were trained on in all
	Seconds float64 `json:"seconds,omitempty"` // that it took
	Backs   []Back  `json:"backs,omitempty"`   // to smaller rates
}

// Back is a return to the last good state.
type Back struct {
	Epoch int     `json:"epoch"` // that diverged, from 0
	Rate  float64 `json:"rate"`  // that it was left with
	Cause string  `json:"cause"`
}

// triedRates are what a RangeTest tries, ascending.
var triedRates = [...]float64{1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1}

const (
	// trialShare is the part of the training's steps that one trial takes, within leastSteps and mostSteps: the longer training is,
	// the smaller is the rate that it stands.
	trialShare = 1.0 / 16
	leastSteps = 2
	mostSteps  = 16
	// trialBatch bounds the samples of a trial's step, trialScored is how many its loss is of.
	trialBatch  = 64
	trialScored = 256
	// A loss of more than hopeless times the least ends the test.
	hopeless = 2
	// The rate is foundShare of the greatest whose loss is within the share tolerance of the least: losses hardly tell the rates below
	// from each other, and a whole training wanders farther than a trial.
	tolerance  = 0.1
	foundShare = 0.5
)

// choose returns the learning rate that trials speak for; floor is a loss that is as good as none.
func choose(trials []Trial, floor float64) float64 {
	least := leastLossOf(trials)
	rate := triedRates[0]
	for _, t := range trials {
		if t.Loss >= 0 && t.Loss <= least+tolerance*max(least, floor) {
			rate = t.Rate
		}
	}
	return rate * foundShare
}

// leastLossOf is the least loss of the trials that did not diverge; +Inf if all did.
func leastLossOf(trials []Trial) float64 {
	least := math.Inf(1)
	for _, t := range trials {
		if t.Loss >= 0 {
			least = min(least, t.Loss)
		}
	}
	return least
}

// prepareRate finds the learning rate, unless it is given or was found before the checkpoint that was loaded.
func (r *run) prepareRate(ctx context.Context) (err error) {
	if !r.config.FindRate || r.Steps() == 0 {
		return nil
	}
	if r.test == nil {
		if err := r.findRate(ctx); err != nil {
			return fmt.Errorf("finding a learning rate: %w", err)
		}
	}
	if r.good == nil {
		r.good = r.snapshot()
	}
	return nil
}

// findRate tries rates, and leaves everything but the rate as it was.
func (r *run) findRate(ctx context.Context) (err error) {
	began, given := time.Now(), r.snapshot()
	defer func() { err = errors.Join(err, r.restore(given)) }()
	if hook := r.task.Hooks.BeforeTrials; hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	start := r.snapshot()
	src, order := dataset.Epoch(r.task.Train, r.config.Seed, 0), r.order(0)
	scored, trained := order[max(0, len(order)-trialScored):], order
	if len(order) >= 2*trialScored {
		trained = order[:len(order)-trialScored]
	}
	test := &RangeTest{Steps: min(max(int(trialShare*float64(r.Steps())), leastSteps), mostSteps)}
	if r.floor, err = r.negligible(src, scored); err != nil {
		return err
	}
	if test.Start, err = r.lossOf(src, scored); err != nil {
		return err
	}
	for _, rate := range triedRates {
		if hook := r.task.Hooks.Progress; hook != nil {
			hook(Progress{Epochs: r.config.Epochs, Steps: r.Steps(), Accuracy: -1, Rate: rate, Finding: true})
		}
		trial := Trial{Rate: rate}
		if trial.Loss, err = r.trial(ctx, src, trained, scored, rate, test); err != nil {
			return err
		}
		test.Trials = append(test.Trials, trial)
		if err := r.restore(start); err != nil {
			return err
		}
		if trial.Loss < 0 || trial.Loss > hopeless*max(leastLossOf(test.Trials), r.floor) {
			break
		}
	}
	test.Rate, test.Seconds = choose(test.Trials, r.floor), time.Since(began).Seconds()
	r.test = test
	return nil
}

// trial takes a few steps down half a cosine from a rate and returns the loss of other samples after them, −1 if it is no number.
func (r *run) trial(ctx context.Context, src dataset.Source, trained, scored []int, rate float64, test *RangeTest) (float64, error) {
	defer func() { r.step = 0 }()
	size := min(r.config.BatchSize, trialBatch, len(trained))
	c := Config{LearningRate: rate, Schedule: Cosine}
	samples := make([]int, size)
	for r.step = range test.Steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for i := range samples {
			samples[i] = trained[(r.step*size+i)%len(trained)]
		}
		_, err := r.runStep(src, samples, c.Rate(r.step, test.Steps, test.Steps))
		if isDivergence(err) {
			return -1, nil
		}
		if err != nil {
			return 0, err
		}
		test.Samples += size
	}
	loss, err := r.lossOf(src, scored)
	if !isFinite(loss) {
		return -1, err
	}
	return loss, err
}

// lossOf is the mean over samples of the loss that training lowers.
func (t *Trainer) lossOf(src dataset.Source, samples []int) (float64, error) {
	t.refresh()
	sum, err := t.total(t.heads, src, samples)
	return sum.score(t.heads[0]).Loss, err
}

// rate is the learning rate of a step.
func (t *Trainer) rate(step int) float64 {
	c := t.config
	if t.test != nil {
		c.LearningRate = t.test.Rate
	}
	return c.Rate(step, t.Steps(), t.stepsPerEpoch())
}

// restore goes back to a snapshot and forgets the optimizer's moments.
func (t *Trainer) restore(s *snapshot) error {
	for i, p := range t.params {
		if err := p.restore(s.Params[i]); err != nil {
			return err
		}
		p.regroup(t.sum.Param[p.index])
		for k := range p.first {
			clear(p.first[k])
			clear(p.second[k])
		}
	}
	t.sum.Reset()
	if r := t.task.Ranges; r != nil && r.Mode != Frozen {
		copy(r.Range, s.Ranges)
		for g := range r.Range {
			r.normalize(g)
		}
		clear(r.first)
		clear(r.second)
		r.apply()
	}
	return nil
}
