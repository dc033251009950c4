package train

import (
	"bytes"
	"context"
	"math"
	"testing"
	"time"
)

func seekingConfig(most int) Config {
	c := fastConfig()
	c.Seek, c.Epochs = true, most
	return c
}

func seekingTask(t *testing.T, workers int) Task {
	task := quantizedTask(t, Tracked, workers)
	task.Validation = blobs(9, 60, 3)
	return task
}

func TestTheRateFallsOnceTheValidationLossDoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		losses   []float64 // of the validation, epoch by epoch
		most     int
		patience int
		from     int
		schedule Schedule
		want     Sought
	}{
		"it falls to the end":          {[]float64{9, 8, 7, 6, 5, 4}, 8, 0, 0, Cosine, Sought{All: 8, Most: 8, Full: 6}},
		"it rises":                     {[]float64{9, 8, 7, 8, 9}, 20, 0, 0, Cosine, Sought{All: 6, Most: 20, Full: 5, Best: 3}},
		"it hardly falls":              {[]float64{9, 8, 7, 6.99, 6.98}, 20, 0, 0, Cosine, Sought{All: 6, Most: 20, Full: 5, Best: 5}},
		"more patience":                {[]float64{9, 8, 7, 8, 9, 9, 9}, 20, 4, 0, Cosine, Sought{All: 9, Most: 20, Full: 7, Best: 3}},
		"before the masks are settled": {[]float64{1, 8, 7, 8, 6, 7, 7}, 20, 0, 1, Cosine, Sought{All: 9, Most: 20, Full: 7, Best: 5}},
		"the first that counts":        {[]float64{9, 1, 8, 8}, 20, 0, 1, Cosine, Sought{All: 5, Most: 20, Full: 4, Best: 2}},
		"one epoch":                    {nil, 1, 0, 0, Cosine, Sought{All: 1, Most: 1}},
		"two epochs":                   {[]float64{9}, 2, 0, 0, Cosine, Sought{All: 2, Most: 2, Full: 1}},
		"a rate that stays":            {[]float64{9, 8, 7, 8, 9}, 20, 0, 0, Constant, Sought{All: 5, Most: 20, Full: 5, Best: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			config := seekingConfig(c.most)
			config.EarlyStop, config.Schedule = EarlyStop{Patience: c.patience, From: c.from}, c.schedule
			trainer := newTrainer(t, seekingTask(t, 1), config)
			trainer.start()
			r := &run{Trainer: trainer}
			if err := r.seek(0); err != nil {
				t.Fatal(err)
			}
			for epoch, loss := range c.losses {
				if r.sought != nil {
					t.Fatalf("decided before epoch %d: %+v", epoch+1, *r.sought)
				}
				r.judge(&kept{Epoch: epoch, Score: Score{Loss: loss}})
				if err := r.seek(epoch + 1); err != nil {
					t.Fatal(err)
				}
			}
			if r.sought == nil || *r.sought != c.want {
				t.Errorf("got %+v, want %+v", r.sought, c.want)
			}
		})
	}
}

func TestTheRateStaysAndThenFallsToNothing(t *testing.T) {
	trainer := newTrainer(t, seekingTask(t, 1), seekingConfig(20))
	perEpoch, full := trainer.stepsPerEpoch(), trainer.config.LearningRate
	if got := trainer.rate(7 * perEpoch); got != full {
		t.Errorf("before it is decided the rate is %v, want %v", got, full)
	}
	trainer.sought = &Sought{All: 8, Most: 20, Full: 6, Best: 5}
	for step, want := range map[int]float64{6*perEpoch - 1: full, 6 * perEpoch: full, 7 * perEpoch: full / 2, 8 * perEpoch: 0} {
		if got := trainer.rate(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d of %d: %v, want %v", step, trainer.Steps(), got, want)
		}
	}
}

func TestSoughtEpochsResumeToTheSameBytes(t *testing.T) {
	config := seekingConfig(30)
	config.FindRate = true
	whole := newTrainer(t, seekingTask(t, 1), config)
	result := mustRun(t, whole)
	if result.Sought == nil || result.Epochs != result.Sought.All || result.Sought.Best == 0 || result.Epochs == 30 {
		t.Fatalf("%d epochs: %v", result.Epochs, result.Sought)
	}
	for _, stop := range []int{3, result.Sought.Full*whole.stepsPerEpoch() + 1} {
		task := seekingTask(t, 2)
		ctx, cancel := context.WithCancel(context.Background())
		task.Hooks.BeforeStep = func(step, _ int) error {
			if step == stop {
				cancel()
			}
			return nil
		}
		first := newTrainer(t, task, config)
		if _, err := first.Run(ctx); err == nil {
			t.Fatal("it was not interrupted")
		}
		second := newTrainer(t, seekingTask(t, 1), config)
		if err := second.Load(bytes.NewReader(outcome(t, first))); err != nil {
			t.Fatal(err)
		}
		if again := mustRun(t, second); *again.Sought != *result.Sought {
			t.Errorf("interrupted at step %d: %v, want %v", stop, again.Sought, result.Sought)
		}
		for i, p := range second.params {
			if !bytes.Equal(p.state(), whole.params[i].state()) {
				t.Errorf("interrupted at step %d, %q is another", stop, p.param.Name)
			}
		}
	}
}

func TestATimeIsAsManyEpochsAsFit(t *testing.T) {
	config := seekingConfig(1000)
	config.FindRate, config.MaxTime = true, time.Nanosecond
	short := newTrainer(t, seekingTask(t, 1), config)
	result := mustRun(t, short)
	if result.Epochs != leastTimed || result.Sought.Most != leastTimed {
		t.Errorf("no time gives %d epochs: %v", result.Epochs, result.Sought)
	}
	config.Epochs, config.MaxTime = leastTimed, 0
	again := newTrainer(t, seekingTask(t, 1), config)
	mustRun(t, again)
	for i, p := range again.params {
		if !bytes.Equal(p.state(), short.params[i].state()) {
			t.Errorf("%q is another with as many epochs given", p.param.Name)
		}
	}
	config.Epochs, config.MaxTime = 4, time.Hour
	if result := mustRun(t, newTrainer(t, seekingTask(t, 1), config)); result.Sought.Most != 4 || result.Epochs > 4 {
		t.Errorf("an hour gives more than the 4 epochs that are allowed: %v", result.Sought)
	}
}

func TestSketchedStepsDoNotDependOnTheMost(t *testing.T) {
	c := DefaultConfig()
	if c.Epochs = 30; c.Sketched(640) != 300 {
		t.Errorf("a fixed number of epochs is sketched as %d steps", c.Sketched(640))
	}
	if c.Seek = true; c.Sketched(640) != 30 {
		t.Errorf("30 epochs at most are sketched as %d steps", c.Sketched(640))
	}
	timed := c // by a time that comes to the least there can be: the masks of maxEpochs of that number
	if timed.Epochs = leastTimed; timed.Sketched(640) != c.Sketched(640) {
		t.Errorf("%d epochs at most are sketched as %d steps, a time that comes to as many as %d", leastTimed, timed.Sketched(640), c.Sketched(640))
	}
}

// By the time of the first epoch as many epochs fit as what is left of the time allows, within bounds.
func TestEpochsThatFitTheTime(t *testing.T) {
	for name, c := range map[string]struct {
		most, from int
		total      time.Duration
		want       int
	}{
		"some":                            {100, 0, 65 * time.Second, 5}, // one done, 45 of 65 seconds left for epochs of 10
		"more than allowed":               {3, 0, 65 * time.Second, 3},
		"none":                            {100, 0, time.Second, leastTimed},
		"fewer than masks need to settle": {100, 7, 65 * time.Second, 8},
		"more than masks need to settle":  {100, 3, 65 * time.Second, 5},
	} {
		config := seekingConfig(c.most)
		config.MaxTime, config.EarlyStop.From = c.total, c.from
		r := &run{Trainer: newTrainer(t, seekingTask(t, 1), config)}
		r.trained, r.began = time.Now().Add(-10*time.Second), time.Now().Add(-20*time.Second)
		r.samples, r.step = r.task.Train.Len(), r.stepsPerEpoch()
		if r.clock(); r.timed != c.want {
			t.Errorf("%s: %d epochs, want %d", name, r.timed, c.want)
		}
	}
}
