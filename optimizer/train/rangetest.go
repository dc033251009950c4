package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
)

// Trial is one rate of a RangeTest.
type Trial struct {
	Rate float64 `json:"rate"`
	// Loss after the trial's steps; −1 if training diverged, or left a network that answers all samples alike.
	Loss float64 `json:"loss"`
	// Norm is the greatest of its gradients' norms.
	Norm float64 `json:"norm"`
}

// RangeTest is how a learning rate was found: every rate took the same few steps from the same start, in the manner of Smith's learning
// rate range test (arXiv 1506.01186), on the loss, the masks, the codes and the quantization that are trained.
type RangeTest struct {
	Rate    float64 `json:"rate"`              // found, and since divided by backFactor as often as training went back
	Clip    float64 `json:"clip"`              // bound on the norm of all gradients, where none was given
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
	// trialSteps is how many steps one trial takes, of a shorter training all. With fewer the loss has not recovered from the first steps,
	// in which Adam moves every weight as far as the rate lets it, and rates far below those that a training stands seem the best.
	trialSteps = 16
	// trialBatch bounds the samples of a trial's step.
	trialBatch = 64
	// trialScored is how many samples a trial's loss is of, at most one in scoredShare. They are others than those it trained on: of few samples
	// the highest rate learns most by heart.
	trialScored = 256
	scoredShare = 3
	// A loss of more than hopeless times the least ends the test: what comes down again beyond that does so by chance.
	hopeless = 1.5
	// The rate is foundShare of the greatest whose loss is within the share tolerance of the least: losses hardly tell the rates below
	// from each other, and a whole training wanders farther than a trial.
	tolerance  = 0.1
	foundShare = 0.5
	// Gradients are clipped at clipFactor times the greatest norm that trials of at most the chosen rate met: a batch of outliers, not
	// the ordinary run of things.
	clipFactor = 4
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

// chooseClip returns the bound on gradients' norms that trials speak for, to three digits; 0 if they met no gradient.
func chooseClip(trials []Trial, rate float64) float64 {
	most := 0.0
	for _, t := range trials {
		if t.Loss >= 0 && t.Rate*foundShare <= rate {
			most = max(most, t.Norm)
		}
	}
	clip, _ := strconv.ParseFloat(strconv.FormatFloat(clipFactor*most, 'g', 3, 64), 64)
	return clip
}

// clipNorm is the bound on the norm of gradients; 0: none.
func (t *Trainer) clipNorm() float64 {
	if t.config.ClipNorm == 0 && t.test != nil {
		return t.test.Clip
	}
	return t.config.ClipNorm
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
	start, err := r.begin()
	if err != nil {
		return err
	}
	src, order := dataset.Epoch(r.task.Train, r.config.Seed, 0), r.order(0)
	trained, scored := heldOut(order)
	test := &RangeTest{Steps: min(trialSteps, r.config.Sketched(r.task.Train.Len()))}
	if r.floor, err = r.negligible(src, scored); err != nil {
		return err
	}
	if test.Start, err = r.lossOf(src, scored); err != nil {
		return err
	}
	dull, err := r.alike(src, scored)
	if err != nil {
		return err
	}
	for _, rate := range triedRates {
		if hook := r.task.Hooks.Progress; hook != nil {
			hook(Progress{Epochs: r.config.Epochs, Steps: r.Steps(), Accuracy: -1, Rate: rate, Finding: true})
		}
		trial := Trial{Rate: rate}
		if err := r.trial(ctx, src, trained, scored, &trial, test); err != nil {
			return err
		}
		if trial.Loss >= 0 && !dull {
			dead, err := r.alike(src, scored)
			if err != nil {
				return err
			}
			if dead {
				trial.Loss = -1
			}
		}
		test.Trials = append(test.Trials, trial)
		if err := r.restore(start); err != nil {
			return err
		}
		if trial.Loss < 0 || trial.Loss > hopeless*max(leastLossOf(test.Trials), r.floor) {
			break
		}
	}
	test.Rate = choose(test.Trials, r.floor)
	test.Clip, test.Seconds = chooseClip(test.Trials, test.Rate), time.Since(began).Seconds()
	r.test = test
	return nil
}

// heldOut divides samples into those that trials train on and those that score them. Too few to divide are both.
func heldOut(order []int) (trained, scored []int) {
	n := len(order)
	held := min(trialScored, n/scoredShare)
	if held == 0 {
		return order, order
	}
	return order[:n-held], order[n-held:]
}

// trial takes a few steps down half a cosine from the trial's rate and notes the loss of other samples after them, −1 if it is no number.
func (r *run) trial(ctx context.Context, src dataset.Source, trained, scored []int, trial *Trial, test *RangeTest) (err error) {
	defer func() { r.step = 0 }()
	size := min(r.config.BatchSize, trialBatch, len(trained))
	c := Config{LearningRate: trial.Rate, Schedule: Cosine}
	samples := make([]int, size)
	trial.Loss = -1
	for r.step = range test.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range samples {
			samples[i] = trained[(r.step*size+i)%len(trained)]
		}
		_, err := r.runStep(src, samples, c.Rate(r.step, test.Steps, test.Steps))
		if isDivergence(err) {
			return nil
		}
		if err != nil {
			return err
		}
		trial.Norm = max(trial.Norm, r.norm)
		test.Samples += size
	}
	loss, err := r.lossOf(src, scored)
	if isFinite(loss) {
		trial.Loss = loss
	}
	return err
}

// lossOf is the mean over samples of the loss that training lowers.
func (t *Trainer) lossOf(src dataset.Source, samples []int) (float64, error) {
	t.refresh()
	sum, err := t.total(t.heads, src, samples, nil)
	return sum.score(t.heads[0]).Loss, err
}

// rate is the learning rate of a step.
func (t *Trainer) rate(step int) float64 {
	c := t.config
	if t.test != nil {
		c.LearningRate = t.test.Rate
	}
	if c.Seek {
		return t.soughtRate(c, step)
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
