package train

import (
	"bytes"
	"math"
	"testing"
)

// A training whose last validation loss is no number ends with the best before it, and one that began so is not held to its beginning.
func TestLossesThatAreNoNumbersAreNotKept(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name   string
		losses []float64
		want   int
	}{
		{"NaN at the end", []float64{3, 2, nan}, 1},
		{"infinite at the end", []float64{3, 2, inf}, 1},
		{"NaN at the beginning", []float64{nan, 3, 2, 2.5}, 2},
		{"infinite at the beginning", []float64{inf, 3, 2, 2.5}, 2},
		{"NaN throughout", []float64{nan, nan}, 1},
	} {
		for _, seek := range []bool{false, true} {
			config := fastConfig()
			config.EarlyStop.Patience, config.Seek = 3, seek
			r := &run{Trainer: newTrainer(t, quantizedTask(t, Frozen, 1), config)}
			r.start()
			for epoch, loss := range c.losses {
				r.validation = &kept{Epoch: epoch, Score: Score{Loss: loss}, Losses: []float32{1, float32(loss)}}
				r.judge(r.validation)
			}
			if r.stopped {
				t.Errorf("%s: stopped", c.name)
			}
			if err := r.conclude(); err != nil {
				t.Fatal(err)
			}
			if r.ended.Epoch != c.want {
				t.Errorf("%s, seek %v: ends with epoch %d, want %d", c.name, seek, r.ended.Epoch, c.want)
			}
		}
	}
}

func TestCheckpointsOfOtherKeptStatesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		samples int
		change  func(k *kept)
	}{
		"other validation samples":   {40, func(*kept) {}},
		"losses of too many":         {90, func(k *kept) { k.Losses = append(k.Losses, 1) }},
		"no weights":                 {90, func(k *kept) { k.state = nil }},
		"weights of some parameters": {90, func(k *kept) { k.state.Params = k.state.Params[:1] }},
		"ranges of some groups":      {90, func(k *kept) { k.state.Ranges = k.state.Ranges[:1] }},
	} {
		config := fastConfig()
		config.EarlyStop.Patience = 3
		first := newTrainer(t, quantizedTask(t, Tracked, 1), config)
		mustRun(t, first)
		c.change(first.best)
		task := quantizedTask(t, Tracked, 1)
		task.Validation = blobs(5, c.samples, 4)
		if err := newTrainer(t, task, config).Load(bytes.NewReader(outcome(t, first))); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}
