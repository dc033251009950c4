package train

import (
	"errors"
	"fmt"
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
