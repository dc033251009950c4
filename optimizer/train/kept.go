package train

import (
	"fmt"
	"math"
	"slices"
)

// kept is a state that training may end with, and what the losses of the validation samples say of it.
type kept struct {
	Epoch  int // from 0; −1: before the first
	Score  Score
	Losses []float32 // by sample
	state  *snapshot
}

// keepMargin is by how many standard errors of the difference, sample by sample, an earlier state has to have less loss than a later one, and
// no fewer right answers: the last is the one that the schedule of the learning rate aims at, the least of several is in part chance (Breiman's
// rule of one standard error), and a network that grows surer gains loss by its few errors while it makes fewer of them.
const keepMargin = 1

// outdoes reports whether a state is worth going back to from a later one.
func (k *kept) outdoes(later *kept) bool {
	return k.Score.Accuracy >= later.Score.Accuracy && k.better(later, keepMargin)
}

// better reports whether the mean loss is less than that of another state by more than margin standard errors. Any number is less than none.
func (k *kept) better(other *kept, margin float64) bool {
	if !other.finite() {
		return k.finite()
	}
	var sum, squares float64
	n := float64(len(k.Losses))
	for i, loss := range k.Losses {
		d := float64(other.Losses[i]) - float64(loss)
		sum, squares = sum+d, squares+d*d
	}
	mean := sum / n
	variance := max(0, squares/n-mean*mean) / max(1, n-1) // of the mean
	return mean > margin*math.Sqrt(variance)
}

// finite reports whether the losses are numbers.
func (k *kept) finite() bool {
	return !slices.ContainsFunc(k.Losses, func(loss float32) bool { return loss-loss != 0 })
}

// keeps reports whether training may end with another state than its last: where the rate is found and where epochs are, or stop early. A
// given rate for a given number of epochs is taken as it is.
func (r *run) keeps() bool { return r.test != nil || r.seeks() }

// byHeart reports whether validation samples are all answered rightly, at a loss that is as good as none. They are likely to be of those that the
// network given was made with: what it still knows of them says nothing of others, and training on others always loses some of it. Of answers
// that are a teacher's, nothing is known so.
func (r *run) byHeart(s Score) bool {
	taught := func(o *objective) bool { return o.kind == none }
	return s.Accuracy == 1 && s.Loss <= r.floor && !slices.ContainsFunc(r.heads, taught)
}

// KnowsByHeart reports whether the validation samples, though they are to decide what training at a rate that is found ends with, would decide
// nothing: the network as it is answers all of them rightly, at a loss that is as good as none. It changes nothing.
func (t *Trainer) KnowsByHeart() (known bool, err error) {
	r := &run{Trainer: t}
	if t.task.Validation == nil || !t.config.FindRate || r.seeks() {
		return false, nil
	}
	t.start()
	defer t.hire()()
	if t.floor, err = t.negligible(t.task.Train, []int{0}); err != nil {
		return false, err
	}
	s, err := r.score(t.task.Validation, nil)
	if err != nil {
		return false, fmt.Errorf("validation %w", err)
	}
	return r.byHeart(s), nil
}

// seeks reports whether the least loss decides when to end, and not only what to end with.
func (r *run) seeks() bool { return r.config.Seek || r.config.EarlyStop.Patience > 0 }

// validate scores the validation samples after an epoch.
func (r *run) validate(epoch int) (*kept, error) {
	k := &kept{Epoch: epoch, Losses: make([]float32, r.task.Validation.Len())}
	var err error
	if k.Score, err = r.score(r.task.Validation, k.Losses); err != nil {
		return nil, fmt.Errorf("validation %w", err)
	}
	return k, nil
}

// begin returns the weights before training, in the form that it ends with, and notes that they are what it has to be better than.
func (r *run) begin() (*snapshot, error) {
	start := r.snapshot()
	if r.task.Validation == nil {
		return start, nil
	}
	initial, err := r.validate(-1)
	if err != nil {
		return nil, err
	}
	initial.state, r.initial = start, initial
	return start, nil
}

// judge keeps the best epoch from which on masks change no more, and stops when none was better for long.
func (r *run) judge(now *kept) {
	e := r.config.EarlyStop
	if !r.keeps() || now.Epoch < e.From {
		return
	}
	loss := now.Score.Loss
	best := r.best == nil || loss < r.best.Score.Loss || now.finite() && !r.best.finite()
	fell := best
	if r.config.Seek {
		fell = r.best == nil || loss < (1-enough)*r.mark || now.finite() && !r.best.finite()
	}
	if r.sinceBest++; fell {
		r.mark, r.sinceBest = loss, 0
	}
	if best {
		r.best = &kept{now.Epoch, now.Score, now.Losses, r.snapshot()}
	}
	r.stopped = !r.config.Seek && e.Patience > 0 && r.sinceBest >= e.Patience
}

// conclude leaves training with the last state, unless one before is better.
func (r *run) conclude() error {
	last := r.validation
	if last == nil || !r.keeps() || last.Epoch < r.config.EarlyStop.From {
		return nil
	}
	r.ended = last
	if !r.seeks() && r.byHeart(last.Score) {
		return nil
	}
	if b := r.best; b != nil && (r.seeks() && b.better(last, 0) || b.outdoes(last)) {
		r.ended = b
	}
	if r.initial != nil && (r.initial.outdoes(r.ended) || r.task.Fitted && !r.ended.outdoes(r.initial)) {
		r.ended = r.initial
	}
	if r.ended == last {
		return nil
	}
	return r.putBack(r.ended.state)
}

// putBack has parameters and ranges be those of a snapshot.
func (t *Trainer) putBack(s *snapshot) error {
	for i, p := range t.params {
		if err := p.restore(s.Params[i]); err != nil {
			return err
		}
	}
	if r := t.task.Ranges; r != nil && r.Mode != Frozen {
		copy(r.Range, s.Ranges)
		r.apply()
	}
	return nil
}

// Undone reports whether the weights that training began with were kept.
func (r *Result) Undone() bool { return r.Last != nil && r.Best < 0 }

// Kept says which weights training ended with, where not the last; "" where it did.
func (r *Result) Kept() string {
	switch {
	case r.Last == nil:
		return ""
	case r.Best < 0 && r.Last.Loss < r.Validation.Loss: // only from a start that is Task.Fitted
		return fmt.Sprintf("the reconstructed weights stay, as training has to make them better by more than a standard error and with no more wrong answers: the validation loss was %.4g before it and is %.4g after; more training samples, augmentation or more epochs may help", r.Validation.Loss, r.Last.Loss)
	case r.Best < 0:
		more := "more training samples, augmentation or more epochs"
		switch {
		case r.Sought == nil:
		case r.Sought.Best == 0:
			more = "more training samples, augmentation or a larger bound on epochs (maxEpochs, maxMinutes)"
		default:
			more = "more training samples or augmentation"
		}
		return fmt.Sprintf("training is undone: the validation loss was %.4g before it and is %.4g after; %s may help", r.Validation.Loss, r.Last.Loss, more)
	}
	return fmt.Sprintf("the weights are those of epoch %d of %d: their validation loss is %.4g, that of the last %.4g", r.Best+1, r.Epochs, r.Validation.Loss, r.Last.Loss)
}

// fewSteps is how many steps are few for a stage, and falling the share of its loss that the last epoch of one that ended too early took off: by then
// the rate has come down, so that little still tells. Of twelve stages of MNIST's CNN on 180 to 2,000 samples, in 3 epochs, seven took off more: 8 epochs made
// six of them better, by 0.1 to 1.2 points, and the other five by 0.1 at most.
const (
	fewSteps = 100
	falling  = 0.05
	slight   = 1e-3 // a loss below which there is little left to gain
)

// Unfinished says that few steps were taken at the rate that was found, and that the loss still fell though there is something left to learn; ""
// if not so.
func (r *Result) Unfinished() string {
	n := len(r.History)
	if r.RangeTest == nil || r.Sought != nil || r.Stopped || r.Best < 0 || n < 2 || r.Steps >= fewSteps {
		return ""
	}
	last, before := r.History[n-1].Loss, math.Inf(1)
	for _, s := range r.History[:n-1] {
		before = min(before, s.Loss)
	}
	if !(last < (1-falling)*before) || last < slight || r.History[n-1].Accuracy >= 1 {
		return ""
	}
	return fmt.Sprintf("training ended after %d steps with its loss still falling, %.4g in the last epoch and %.4g at best before: maxEpochs in place of epochs has the validation loss decide",
		r.Steps, last, before)
}
