package train

import (
	"fmt"
	"time"
)

// With Config.Seek the rate stays where the warm-up leaves it until the validation loss no longer falls, or the most epochs are near,
// and then falls to 0 along half a cosine within annealShare of the epochs so far, as in the schedule of Hu et al. (arXiv 2404.06395):
// unlike a cosine over all epochs it needs not know how many there will be. The rate falls from the best weights.
const (
	// A loss is less than another if it is by more than the share enough of it.
	enough = 0.005
	// patience is how many epochs without less are one too many, where Config.EarlyStop says nothing.
	patience = 2
	// annealShare is the share of the epochs so far that the rate takes to fall.
	annealShare = 1.0 / 3
	// sketched are the epochs that a schedule of masks and a RangeTest reckon with.
	sketched = 3
	// leastTimed is how many epochs there are at least, whatever MaxTime: as many as are sketched, so that those that the time comes to give
	// the same when they are asked for.
	leastTimed = sketched
)

// Sketched is the number of steps that a schedule is drawn over before it is known how many there will be: all of a fixed number of
// epochs.
func (c *Config) Sketched(samples int) int {
	epochs := c.Epochs
	if c.Seek {
		epochs = min(epochs, sketched)
	}
	return Steps(epochs, c.BatchSize, samples)
}

// Sought is how many epochs Config.Seek came to.
type Sought struct {
	All  int `json:"all"`
	Most int `json:"most"` // that there could have been
	Full int `json:"full"` // before the rate fell
	Best int `json:"best"` // from 1, that it fell from; 0: as many as were allowed were trained
}

// String says what was found.
func (s *Sought) String() string {
	if s.Best == 0 {
		return fmt.Sprintf("%d epochs, as many as were allowed", s.All)
	}
	return fmt.Sprintf("%d epochs of at most %d: the validation loss was least after epoch %d and fell no further until %d", s.All, s.Most, s.Best, s.Full)
}

// anneal is the number of epochs that the rate takes to fall after so many; other schedules end where it would begin.
func (c *Config) anneal(epochs int) int {
	if c.Schedule != Cosine {
		return 0
	}
	return max(1, int(annealShare*float64(epochs)))
}

// seek decides after so many epochs whether the rate begins to fall.
func (r *run) seek(epochs int) error {
	if !r.config.Seek || r.sought != nil {
		return nil
	}
	most, wait := r.most(), r.config.EarlyStop.Patience
	if wait == 0 {
		wait = patience
	}
	last := epochs + r.config.anneal(epochs)
	stale := r.sinceBest >= wait
	if last < most && !stale {
		return nil
	}
	r.sought = &Sought{All: min(last, most), Most: most, Full: epochs}
	if !stale {
		return nil
	}
	r.sought.Best = r.best.Epoch + 1
	if err := r.restore(r.best.state); err != nil {
		return err
	}
	if r.test != nil {
		r.good, r.goodEpochs = r.best.state, epochs
	}
	return nil
}

// most is the greatest number of epochs.
func (t *Trainer) most() int {
	if t.timed > 0 {
		return t.timed
	}
	return t.config.Epochs
}

// planned is how many epochs there will be, as far as that is known.
func (t *Trainer) planned() int {
	if t.sought != nil {
		return t.sought.All
	}
	return t.most()
}

// soughtRate is the learning rate of a step where epochs are sought.
func (t *Trainer) soughtRate(c Config, step int) float64 {
	perEpoch := t.stepsPerEpoch()
	if c.Schedule == Cosine {
		c.Schedule = Constant
		if s := t.sought; s != nil && step >= s.Full*perEpoch {
			c.LearningRate *= halfCosine(float64(step-s.Full*perEpoch) / float64((s.All-s.Full)*perEpoch))
		}
	}
	return c.Rate(step, t.Steps(), perEpoch)
}

// clock fixes, after the first epoch, how many fit the time that there is.
func (r *run) clock() {
	if r.config.MaxTime > 0 && r.timed == 0 {
		r.timed = r.fitting()
	}
}

// fitting is how many epochs fit the time, by what was trained so far.
func (r *run) fitting() int {
	epoch := time.Since(r.trained).Seconds() / float64(max(r.samples, 1)) * float64(r.task.Train.Len())
	left := r.config.MaxTime - time.Since(r.began)
	fit := float64(r.step)/float64(r.stepsPerEpoch()) + left.Seconds()/epoch
	return min(max(int(fit), leastTimed, r.config.EarlyStop.From+1), r.config.Epochs)
}
