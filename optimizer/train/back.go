package train

import (
	"errors"
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
)

// With a rate that was found, training that diverges goes back to the end of the last good epoch, or the start, with backFactor times
// less, at most mostBacks times. An epoch is not good if its mean loss exceeds that before the first step far, by overshoot times the
// sum of it and overshootFloor times a loss as good as none.
const (
	backFactor     = 4
	mostBacks      = 4
	overshoot      = 4
	overshootFloor = 10
)

func isDivergence(err error) bool {
	var diverged *DivergedError
	return errors.As(err, &diverged)
}

// keep remembers the state after a good epoch.
func (r *run) keep(epoch int) {
	if r.test != nil {
		r.good, r.goodEpochs = r.snapshot(), epoch+1
	}
}

// overshot reports an epoch's loss that is far above that of the start, where the learning rate was found. If the smallest rate does not help
// it was not the rate, but what the technique costs, and training goes on.
func (r *run) overshot(loss float64) error {
	if r.test == nil || len(r.test.Backs) == mostBacks || loss <= overshoot*(r.test.Start+overshootFloor*r.floor) {
		return nil
	}
	return &DivergedError{Loss: loss, From: r.test.Start, What: "loss"}
}

// dead reports an epoch after which the network answers all samples alike, where the learning rate was found and it did not before: a
// rate that is too high leaves units that are never active, and no gradient to wake them.
func (r *run) dead(src dataset.Source, order []int) error {
	if r.test == nil || len(r.test.Backs) == mostBacks {
		return nil
	}
	alike, err := r.alike(src, order)
	if err != nil || !alike {
		return err
	}
	now := r.snapshot()
	if err := r.restore(r.good); err != nil {
		return err
	}
	if alike, err = r.alike(src, order); err != nil || alike {
		return errors.Join(err, r.restore(now))
	}
	return &DivergedError{Loss: r.epochSum.score(r.heads[0]).Loss, What: same}
}

const (
	lookedAt = 64 // samples that tell whether a network answers all alike
	// Two answers are one if the sum of squares of what they differ by is less than indifferent of theirs. mostAlike is the share of samples
	// answered as the one before from which on all are taken to be: a few may still wake a unit.
	indifferent = 1e-10
	mostAlike   = 0.9
)

// alike reports whether the network gives nearly all of several samples one answer, by the loss tensor of its first output.
func (t *Trainer) alike(src dataset.Source, samples []int) (bool, error) {
	samples = samples[:min(len(samples), lookedAt)]
	if len(samples) < 2 {
		return false, nil
	}
	t.refresh()
	tensor := t.heads[0].tensor
	e := t.task.Network.NewForwardExec(append(t.workers[0].carried(), tensor)...)
	var last []float32
	repeated := 0
	for from := 0; from < len(samples); from += t.task.Network.MicroBatch {
		part := samples[from:min(from+t.task.Network.MicroBatch, len(samples))]
		if err := t.workers[0].read(t.heads, e, src, part); err != nil {
			return false, err
		}
		t.workers[0].last(e)
		for answer := range slices.Chunk(e.Tensor(tensor), len(e.Tensor(tensor))/len(part)) {
			if last != nil && isOne(last, answer) {
				repeated++
			}
			last = append(last[:0], answer...)
		}
	}
	return float64(repeated) >= mostAlike*float64(len(samples)-1), nil
}

// isOne reports whether two answers are the same.
func isOne(a, b []float32) bool {
	var differ, all float64
	for i, v := range a {
		d := float64(v) - float64(b[i])
		differ, all = differ+d*d, all+float64(v)*float64(v)
	}
	return differ <= indifferent*all
}

// goBack restores the last good state after a divergence, with a smaller rate. Any other error, and one too many, it returns.
func (r *run) goBack(epoch int, err error) error {
	var cause *DivergedError
	if r.test == nil || !errors.As(err, &cause) {
		return err
	}
	if cause.Backs = len(r.test.Backs); cause.Backs == mostBacks {
		return err
	}
	if err := r.restore(r.good); err != nil {
		return err
	}
	r.test.Rate /= backFactor
	r.test.Backs = append(r.test.Backs, Back{Epoch: epoch, Rate: r.test.Rate, Cause: cause.cause()})
	r.step = r.goodEpochs * r.stepsPerEpoch()
	r.history = r.history[:r.goodEpochs]
	r.epochSum = tally{}
	if hook := r.task.Hooks.Back; hook != nil {
		hook(r.step)
	}
	return nil
}

// String says what was found and what became of it.
func (t *RangeTest) String() string {
	last := t.Trials[len(t.Trials)-1]
	text := fmt.Sprintf("learning rate %.3g", t.found())
	text += fmt.Sprintf(", found by %d trials of %d steps from %.3g to %.3g, %d samples in %.1f s", len(t.Trials), t.Steps, t.Trials[0].Rate, last.Rate, t.Samples, t.Seconds)
	if t.Clip > 0 {
		text += fmt.Sprintf("; gradients clipped at norm %g", t.Clip)
	}
	for _, b := range t.Backs {
		text += fmt.Sprintf("; epoch %d diverged (%s) and was repeated with %.3g", b.Epoch+1, b.Cause, b.Rate)
	}
	return text
}

// found is the rate before training went back.
func (t *RangeTest) found() float64 {
	rate := t.Rate
	for range t.Backs {
		rate *= backFactor
	}
	return rate
}
