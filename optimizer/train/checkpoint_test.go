package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestTheResultDoesNotDependOnTheNumberOfWorkers(t *testing.T) {
	for _, mode := range []RangeMode{Frozen, Tracked, Learned} {
		t.Run(string(mode), func(t *testing.T) {
			var want []byte
			for _, workers := range []int{1, 2, 3, 8} {
				config := fastConfig()
				config.ClipNorm = 1
				trainer := newTrainer(t, quantizedTask(t, mode, workers), config)
				mustRun(t, trainer)
				got := outcome(t, trainer)
				if want == nil {
					want = got
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d workers give another result than 1", workers)
				}
			}
		})
	}
}

func TestSeedsMatter(t *testing.T) {
	results := map[string]bool{}
	for seed := range 3 {
		config := fastConfig()
		config.Epochs, config.Seed = 1, int64(seed)
		trainer := newTrainer(t, quantizedTask(t, Tracked, 2), config)
		mustRun(t, trainer)
		results[string(bytesOf(trainer.params[0].tensor.Latent))] = true
	}
	if len(results) != 3 {
		t.Errorf("three seeds give %d results", len(results))
	}
}

func TestAResumedTrainingGivesTheSameBytes(t *testing.T) {
	for _, optimizer := range []Optimizer{Adam, SGD} {
		for _, mode := range []RangeMode{Tracked, Learned} {
			config := fastConfig()
			config.Optimizer, config.EarlyStop = optimizer, EarlyStop{Patience: 2}
			if mode == Learned {
				config.FindRate, config.EarlyStop = true, EarlyStop{}
			}
			whole := newTrainer(t, quantizedTask(t, mode, 2), config)
			mustRun(t, whole)
			want := outcome(t, whole)
			for _, stop := range []int{1, 7, 10, 33} {
				t.Run(fmt.Sprintf("%s, ranges %s, after %d steps", optimizer, mode, stop), func(t *testing.T) {
					task := quantizedTask(t, mode, 2)
					ctx, cancel := context.WithCancel(context.Background())
					task.Hooks.BeforeStep = func(step, total int) error {
						if step == stop-1 {
							cancel() // Run ends after the step in progress
						}
						return nil
					}
					first := newTrainer(t, task, config)
					if _, err := first.Run(ctx); !errors.Is(err, context.Canceled) {
						t.Fatalf("got %v, want %v", err, context.Canceled)
					}
					if first.step != stop {
						t.Fatalf("stopped after %d steps, want %d", first.step, stop)
					}
					second := newTrainer(t, quantizedTask(t, mode, 1), config)
					if err := second.Load(bytes.NewReader(outcome(t, first))); err != nil {
						t.Fatal(err)
					}
					result := mustRun(t, second)
					if result.Steps != second.Steps() && !result.Stopped {
						t.Errorf("ended after %d of %d steps", result.Steps, second.Steps())
					}
					if !bytes.Equal(outcome(t, second), want) {
						t.Error("the result is another than without interruption")
					}
				})
			}
		}
	}
}

func TestForeignAndDamagedCheckpointsAreRefused(t *testing.T) {
	trainer := newTrainer(t, quantizedTask(t, Tracked, 1), fastConfig())
	mustRun(t, trainer)
	good := outcome(t, trainer)
	other := fastConfig()
	other.Seed = 99
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name   string
		data   []byte
		config Config
		want   string
	}{
		{"another configuration", good, other, "another training"},
		{"a flipped bit", flipped, fastConfig(), "damaged"},
		{"cut off", good[:len(good)/2], fastConfig(), "damaged"},
		{"empty", nil, fastConfig(), "not a checkpoint"},
		{"less than a checksum", good[:len(checkpointMagic)+31], fastConfig(), "not a checkpoint"},
		{"nothing else", good[:len(checkpointMagic)+32], fastConfig(), "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			trainer := newTrainer(t, quantizedTask(t, Tracked, 1), c.config)
			if err := trainer.Load(bytes.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A checkpoint that says what no training comes to is refused; it neither panics nor goes on without end.
func TestCheckpointsOfNoTrainingAreRefused(t *testing.T) {
	finding, seeking := findingConfig(), seekingConfig(9)
	for name, c := range map[string]struct {
		config Config
		change func(x *Trainer)
	}{
		"a step before the first":             {seeking, func(x *Trainer) { x.step = -5 }},
		"a step after the last":               {seeking, func(x *Trainer) { x.step = 1 << 40 }},
		"more good epochs than there were":    {finding, func(x *Trainer) { x.goodEpochs = 1000 }},
		"fewer good epochs than none":         {finding, func(x *Trainer) { x.goodEpochs = -2 }},
		"epochs since a best that is none":    {seeking, func(x *Trainer) { x.sinceBest = 2 }},
		"a best epoch that is to come":        {seeking, func(x *Trainer) { x.best = &kept{9, Score{}, make([]float32, x.task.Validation.Len()), x.snapshot()} }},
		"more epochs sought than allowed":     {seeking, func(x *Trainer) { x.sought = &Sought{All: 1 << 50} }},
		"more epochs timed than allowed":      {seeking, func(x *Trainer) { x.timed = 1 << 40 }},
		"a rate found that was given":         {seeking, func(x *Trainer) { x.test = &RangeTest{Rate: 1, Trials: []Trial{{}}} }},
		"a rate found without a trial":        {finding, func(x *Trainer) { x.test = &RangeTest{Rate: 1} }},
		"more ways back than there are":       {finding, func(x *Trainer) { x.test.Backs = make([]Back, mostBacks+1) }},
		"more epochs' losses than there were": {finding, func(x *Trainer) { x.history = make([]Score, 5) }},
	} {
		t.Run(name, func(t *testing.T) {
			task := quantizedTask(t, Tracked, 1)
			ctx, cancel := context.WithCancel(context.Background())
			task.Hooks.BeforeStep = func(int, int) error {
				cancel()
				return nil
			}
			changed := newTrainer(t, task, c.config)
			if _, err := changed.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.change(changed)
			if err := newTrainer(t, quantizedTask(t, Tracked, 1), c.config).Load(bytes.NewReader(outcome(t, changed))); err == nil || !strings.Contains(err.Error(), "no training") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Of a checkpoint no more is made in memory than the states of the weights, one after the other.
func TestACheckpointIsWrittenPieceByPiece(t *testing.T) {
	const outputs = 4096
	src := &memory{shape: []int{6, 6, 1}}
	for i := range uint64(4) {
		src.x, src.targets = append(src.x, numbers(i, 36, 1)), append(src.targets, numbers(i, outputs, 1))
	}
	task := Task{Train: src, Workers: 1}
	task.Network, task.Weights = compile(t, classifier(dense(outputs)))
	config := fastConfig()
	config.Epochs, config.BatchSize = 1, 4
	trainer := newTrainer(t, task, config)
	mustRun(t, trainer)
	var before, after runtime.MemStats
	written := &counter{}
	runtime.ReadMemStats(&before)
	if err := trainer.Save(written); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if made := int(after.TotalAlloc - before.TotalAlloc); written.n < 3*4*72*outputs || made > written.n+written.n/2 {
		t.Errorf("%d bytes were made to write %d", made, written.n)
	}
	if written.most > 4*72*outputs+1024 {
		t.Errorf("%d bytes were written at once", written.most)
	}
}

type counter struct{ n, most int }

func (c *counter) Write(data []byte) (int, error) {
	c.n, c.most = c.n+len(data), max(c.most, len(data))
	return len(data), nil
}
