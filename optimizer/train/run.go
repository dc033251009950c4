package train

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
)

// Run trains from where the Trainer is to the end of the last epoch, an early stop, an error or the end of ctx, which it meets
// after the current step, in a state that Save can write: then it returns ctx's error and what was done so far.
func (t *Trainer) Run(ctx context.Context) (*Result, error) {
	t.start()
	defer t.hire()()
	r := &run{Trainer: t, began: time.Now(), reported: time.Now(), saved: time.Now()}
	if err := t.teach(); err != nil {
		return nil, err
	}
	if err := r.prepareRate(ctx); err != nil {
		return nil, err
	}
	r.trained = time.Now()
	err := r.epochs(ctx)
	if err == nil {
		err = r.conclude()
	}
	t.refresh()
	return r.result(), err
}

// run is the part of a Trainer's state that is about one call of Run.
type run struct {
	*Trainer
	began, reported, saved time.Time
	trained                time.Time // when its first step began
	samples                int
	ended                  *kept // what training ended with
}

func (r *run) epochs(ctx context.Context) error {
	perEpoch := r.stepsPerEpoch()
	if err := r.seek(r.step / perEpoch); err != nil {
		return err
	}
	for r.step < r.Steps() && !r.stopped {
		epoch := r.step / perEpoch
		src := dataset.Epoch(r.task.Train, r.config.Seed, epoch)
		order := r.order(epoch)
		var failed error
		for r.step < (epoch+1)*perEpoch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := r.one(src, order, r.step-epoch*perEpoch); err != nil {
				failed = fmt.Errorf("epoch %d, step %d: %w", epoch+1, r.step+1, err)
				break
			}
		}
		if failed == nil {
			failed = r.dead(src, order)
		}
		if failed == nil {
			failed = r.endEpoch(epoch)
		}
		if failed != nil {
			if err := r.goBack(epoch, failed); err != nil {
				return r.sized(err, src, order)
			}
		}
	}
	return nil
}

// one runs the next step, which is number k of its epoch.
func (r *run) one(src dataset.Source, order []int, k int) error {
	if hook := r.task.Hooks.BeforeStep; hook != nil {
		if err := hook(r.step, r.Steps()); err != nil {
			return err
		}
		for _, p := range r.params {
			p.regroup(r.sum.Param[p.index])
		}
	}
	first := k * r.config.BatchSize
	samples := order[first:min(first+r.config.BatchSize, len(order))]
	if err := r.refer(src, samples); err != nil {
		return err
	}
	sum, err := r.runStep(src, samples, r.rate(r.step))
	if err != nil {
		return err
	}
	if k == 0 {
		r.epochSum = tally{}
	}
	if r.step == 0 {
		r.firstLoss, r.begun = max(r.firstLoss, sum.score(r.heads[0]).Loss), true
	}
	r.epochSum.add(sum)
	r.step++
	r.samples += len(samples)
	if r.step%r.stepsPerEpoch() != 0 { // the end of an epoch reports and saves itself
		r.report(nil, false)
		return r.checkpoint()
	}
	return nil
}

// endEpoch scores the validation samples and decides whether to stop.
func (r *run) endEpoch(epoch int) error {
	r.lastEpoch = r.epochSum.score(r.heads[0])
	r.history = append(r.history, r.lastEpoch)
	if err := cmp.Or(r.overshot(r.lastEpoch.Loss), r.compare(r.lastEpoch.Loss)); err != nil {
		return err
	}
	r.keep(epoch)
	var score *Score
	if r.task.Validation != nil {
		var err error
		if r.validation, err = r.validate(epoch); err != nil {
			return err
		}
		score = &r.validation.Score
		r.judge(r.validation)
	}
	r.clock()
	if err := r.seek(epoch + 1); err != nil {
		return err
	}
	r.report(score, true)
	return r.checkpoint()
}

// report calls the progress hook if it is due.
func (r *run) report(score *Score, always bool) {
	hooks := &r.task.Hooks
	now := time.Now()
	if hooks.Progress == nil || !always && now.Sub(r.reported) < hooks.ProgressEvery {
		return
	}
	r.reported = now
	speed := float64(r.samples) / max(now.Sub(r.trained).Seconds(), 1e-9)
	mean := r.epochSum.score(r.heads[0])
	epochs := r.planned()
	if r.config.MaxTime > 0 && r.timed == 0 {
		epochs = r.fitting()
	}
	perEpoch, samples := r.stepsPerEpoch(), r.task.Train.Len()
	left := (epochs-r.step/perEpoch)*samples - r.step%perEpoch*r.config.BatchSize
	hooks.Progress(Progress{
		Epoch: r.step / perEpoch, Epochs: epochs, Step: r.step, Steps: epochs * perEpoch, Resumed: r.resumed,
		Loss: mean.Loss, Accuracy: mean.Accuracy, Rate: r.rate(r.step - 1), Test: r.test,
		SamplesPerSecond: speed, Remaining: time.Duration(float64(left) / speed * float64(time.Second)), Validation: score,
	})
}

func (r *run) checkpoint() error {
	hooks := &r.task.Hooks
	if hooks.Checkpoint == nil || time.Since(r.saved) < hooks.CheckpointEvery {
		return nil
	}
	r.saved = time.Now()
	if err := hooks.Checkpoint(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func (r *run) result() *Result {
	result := &Result{
		Epochs: r.step / r.stepsPerEpoch(), Steps: r.step, Training: r.lastEpoch, History: r.history, Stopped: r.stopped,
		Samples: r.samples, Elapsed: time.Since(r.began), RangeTest: r.test, Sought: r.sought,
	}
	result.Best = result.Epochs - 1
	if r.validation == nil {
		return result
	}
	result.Validation = &r.validation.Score
	if r.ended != nil && r.ended != r.validation {
		result.Best, result.Validation, result.Last = r.ended.Epoch, &r.ended.Score, result.Validation
	}
	return result
}
